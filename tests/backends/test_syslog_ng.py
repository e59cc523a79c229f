"""A file of JSON lines through syslog-ng to a listener: nothing is lost, nothing changed."""

from __future__ import annotations

import json
import os
import socketserver
import threading

import pytest

pytestmark = pytest.mark.backends


class Lines(socketserver.StreamRequestHandler):
    """Keeps each line that comes."""

    def handle(self) -> None:
        self.server.lines.extend(self.rfile)


def test_every_event_arrives_as_it_was_written(backends, thousand, tmp_path):
    folder = backends.installed("syslog-ng")
    (modules,) = (module.parent for module in folder.glob("usr/lib/syslog-ng/*/libaffile.so"))
    libraries = [*folder.glob("usr/lib/*-linux-gnu*"), *folder.glob("lib/*-linux-gnu*"), modules.parent]
    file, log = tmp_path / "events.jsonl", tmp_path / "syslog-ng.log"
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines) as listener:
        listener.lines = []
        config = (backends.examples / "syslog-ng.conf").read_text()
        for theirs, ours in {"/var/log/jitwarmup/events.jsonl": file, "5170": listener.server_address[1]}.items():
            assert theirs in config.partition("@version")[2]
            config = config.replace(theirs, str(ours))
        (tmp_path / "syslog-ng.conf").write_text(config)
        places = [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
        command = [folder / "usr/sbin/syslog-ng", "-F", "-f", tmp_path / "syslog-ng.conf", f"--module-path={modules}"]
        env = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
        file.touch()
        serving = threading.Thread(target=listener.serve_forever)
        serving.start()
        try:
            with backends.running(*command, *places, "--no-caps", log=log, env=env) as running:
                thousand.write(str(file))
                backends.until(lambda: len(listener.lines) >= 1000, log, running)
        finally:
            listener.shutdown()
            serving.join()
    assert b"".join(listener.lines) == file.read_bytes()
    events = [json.loads(line) for line in listener.lines]
    assert [event["event"] for event in events] == [name for name, _, _ in thousand.make()]
