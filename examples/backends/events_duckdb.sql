-- events.jsonl as the views that questions.sql asks, in duckdb:
--   duckdb -c '.read events_duckdb.sql' -c '.read questions.sql'
create view e as select
    json ->> 'timestamp' as timestamp, json ->> 'event' as event, json ->> 'callable' as callable, json ->> 'key' as key,
    json ->> 'reason' as reason, json ->> 'error_type' as error_type, json ->> 'metric' as metric,
    (json ->> 'duration_s')::double as duration_s, (json ->> 'recompiles')::bigint as recompiles,
    (json ->> 'contaminated')::boolean as contaminated, json ->> 'outcome' as outcome,
    (json ->> 'count')::bigint as count, (json ->> 'errors')::bigint as errors,
    (json ->> 'contaminated_count')::bigint as contaminated_count
from read_ndjson_objects('events.jsonl');

create view costs as select
    json ->> 'timestamp' as timestamp, json ->> 'event' as event, json ->> 'callable' as callable, json ->> 'key' as key,
    cause, (json ->> cause)::double as seconds
from (select json, unnest(json_keys(json)) as cause from read_ndjson_objects('events.jsonl'))
where cause like 'ledger\_%' escape '\' or cause like 'paid\_%' escape '\';
