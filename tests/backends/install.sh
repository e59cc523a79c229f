#!/bin/sh
# Puts one back end into DIR, on a machine that has none of it. Says nothing but errors; safe to run again.
#
#   install.sh duckdb|chdb|rotel|prometheus|syslog-ng|rsyslog DIR
#
# duckdb, chdb and rotel are wheels and get a virtual environment of their own. Prometheus and syslog-ng are Debian's
# packages, unpacked into DIR without installing them. rsyslog and PostgreSQL are installed by apt (root needed), and no service is started.
set -eu
name=$1 dir=$2
[ -e "$dir/$name.done" ] && exit 0
mkdir -p "$dir"

venv() { # NAME WHEEL...: a virtual environment with these wheels
    env=$1
    shift
    "${PYTHON:-python3}" -m venv "$dir/$env"
    "$dir/$env/bin/pip" install --quiet --disable-pip-version-check --no-input "$@"
}

fresh_lists() { # apt knows no package before its first update; without root, the lists must be there already
    [ "$(id -u)" != 0 ] || apt-get update -qq -o DPkg::Lock::Timeout=300
}

unpacked() { # PACKAGE...: Debian's packages, unpacked into a folder
    fresh_lists
    rm -rf "$dir/$name" && mkdir "$dir/$name" && cd "$dir/$name"
    apt-get download -qq -o APT::Sandbox::User=root "$@"
    for package in *.deb; do dpkg-deb -x "$package" .; done
}

case $name in
duckdb) venv duckdb duckdb ;;
chdb) venv chdb chdb ;;
rotel) venv rotel --pre rotel "opentelemetry-sdk<2" "opentelemetry-exporter-otlp-proto-http<2" ;;
prometheus) unpacked prometheus ;;
syslog-ng) unpacked syslog-ng-core libivykis0 libnet1 libpcre3 libwrap0 libjson-c5 ;;
rsyslog)
    fresh_lists
    # 101 is "do not start it": this machine's own logging stays as it is
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
        trap 'rm -f $policy' EXIT
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        rsyslog rsyslog-pgsql postgresql postgresql-client >/dev/null
    ;;
*)
    echo "install.sh: no back end is called $name" >&2
    exit 2
    ;;
esac
touch "$dir/$name.done"
