-- events.jsonl as the views that questions.sql asks, in ClickHouse (clickhouse local, or a chdb Session).
create view e as select
    JSONExtractString(json, 'timestamp') as timestamp, JSONExtractString(json, 'event') as event,
    JSONExtract(json, 'callable', 'Nullable(String)') as callable, JSONExtract(json, 'key', 'Nullable(String)') as key,
    JSONExtract(json, 'reason', 'Nullable(String)') as reason,
    JSONExtract(json, 'error_type', 'Nullable(String)') as error_type,
    JSONExtract(json, 'metric', 'Nullable(String)') as metric,
    JSONExtract(json, 'duration_s', 'Nullable(Float64)') as duration_s,
    JSONExtract(json, 'recompiles', 'Nullable(Int64)') as recompiles,
    JSONExtract(json, 'contaminated', 'Nullable(Bool)') as contaminated,
    JSONExtract(json, 'outcome', 'Nullable(String)') as outcome, JSONExtract(json, 'count', 'Nullable(Int64)') as count,
    JSONExtract(json, 'errors', 'Nullable(Int64)') as errors,
    JSONExtract(json, 'contaminated_count', 'Nullable(Int64)') as contaminated_count
from file('events.jsonl', JSONAsString);

create view costs as select
    JSONExtractString(json, 'timestamp') as timestamp, JSONExtractString(json, 'event') as event,
    JSONExtract(json, 'callable', 'Nullable(String)') as callable, JSONExtract(json, 'key', 'Nullable(String)') as key,
    arrayJoin(JSONExtractKeys(json)) as cause, JSONExtractFloat(json, cause) as seconds
from file('events.jsonl', JSONAsString)
where cause like 'ledger\_%' or cause like 'paid\_%';
