-- What an operator asks, over JsonLines read by duckdb:
--   create view e as select * from read_json('events.jsonl', format = 'newline_delimited', sample_size = -1, union_by_name = true);

-- cold: which functions and keys did live calls find cold?
select callable, key, any_value(reason) as reason from e
where event = 'jitwarmup.coverage.missed' group by callable, key order by callable, key;

-- cost: what did the last warm-up of each function cost, and why?
unpivot (
    select callable, key, columns('ledger_.*') from e
    where event = 'jitwarmup.warmup.completed'
    qualify row_number() over (partition by callable order by timestamp desc) = 1
) on columns('ledger_.*') into name cause value seconds order by callable, seconds desc;

-- recompiled: which live calls recompiled, and for what reason?
select callable, key, reason, recompiles, duration_s from e
where event = 'jitwarmup.steady_state.lost' and recompiles > 0 order by timestamp;

-- traffic: how many timed calls ended well, and how many of them paid for one-time work?
select callable, sum(calls)::bigint as calls, sum(contaminated)::bigint as contaminated from (
    select callable, 1 as calls, contaminated::int as contaminated from e where event = 'jitwarmup.call' and outcome = 'ok'
) group by callable order by callable;

-- degraded: what is not read, not warmed or failed?
select event, callable, coalesce(reason, error_type) as reason from e
where event in ('jitwarmup.monitor.degraded', 'jitwarmup.warmup.failed', 'jitwarmup.validation.failed')
order by timestamp;
