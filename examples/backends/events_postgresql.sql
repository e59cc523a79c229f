-- The table of rsyslog.conf as the views that questions.sql asks, in PostgreSQL:
--   psql -U postgres -f events_postgresql.sql -f questions.sql
create view e as select
    doc ->> 'timestamp' as timestamp, doc ->> 'event' as event, doc ->> 'callable' as callable, doc ->> 'key' as key,
    doc ->> 'reason' as reason, doc ->> 'error_type' as error_type, doc ->> 'metric' as metric,
    (doc ->> 'duration_s')::float8 as duration_s, (doc ->> 'recompiles')::bigint as recompiles,
    (doc ->> 'contaminated')::boolean as contaminated, doc ->> 'outcome' as outcome,
    (doc ->> 'count')::bigint as count, (doc ->> 'errors')::bigint as errors,
    (doc ->> 'contaminated_count')::bigint as contaminated_count
from events;

create view costs as select
    doc ->> 'timestamp' as timestamp, doc ->> 'event' as event, doc ->> 'callable' as callable, doc ->> 'key' as key,
    pair.key as cause, pair.value::float8 as seconds
from events, jsonb_each_text(doc) as pair
where pair.key like 'ledger\_%' or pair.key like 'paid\_%';
