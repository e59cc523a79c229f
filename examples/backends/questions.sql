-- What an operator asks of the events; the same in duckdb, PostgreSQL and ClickHouse, over the views of events_*.sql.

-- cold: which functions and keys are cold, and why?
with turns as (
    select callable, key, event, coalesce(reason, error_type) as why,
        row_number() over (partition by callable, key order by timestamp desc) as newest
    from e where event in ('jitwarmup.warmup.completed', 'jitwarmup.warmup.failed',
        'jitwarmup.validation.failed', 'jitwarmup.coverage.missed')
)
select callable, key, why from turns
where newest = 1 and event <> 'jitwarmup.warmup.completed' order by callable, key;

-- cost: what did the last warm-up of each function cost, and why?
with warmups as (
    select callable, timestamp, row_number() over (partition by callable order by timestamp desc) as newest
    from e where event = 'jitwarmup.warmup.completed'
)
select costs.callable as callable, costs.key as key, costs.cause as cause, costs.seconds as seconds
from costs join warmups on costs.callable = warmups.callable and costs.timestamp = warmups.timestamp
where warmups.newest = 1 and costs.event = 'jitwarmup.warmup.completed' order by callable, seconds desc;

-- recompiled: which live calls recompiled, and for what reason?
select timestamp, callable, key, reason, recompiles, duration_s from e
where event = 'jitwarmup.steady_state.lost' and recompiles > 0 order by timestamp;

-- traffic: how many live calls met a warm key (null: unknown, see README.md), and how many paid for one-time work?
with turns as (
    select callable, event, contaminated, count, errors, contaminated_count,
        max(case when event = 'jitwarmup.coverage.missed' then timestamp end) over so_far as missed_at,
        max(case when event = 'jitwarmup.warmup.completed' then timestamp end) over so_far as warmed_at
    from e
    window so_far as (partition by callable, key order by timestamp rows between unbounded preceding and current row)
), sums as (
    select callable,
        sum(case when event = 'jitwarmup.call' then 1 else 0 end) as single,
        sum(case when event = 'jitwarmup.call' and (missed_at is null or missed_at < warmed_at) then 1 else 0 end) as hits,
        sum(case when event = 'jitwarmup.summary' then count + errors else 0 end) as summed,
        sum(case when event = 'jitwarmup.coverage.missed' then 1 else 0 end) as keys_missed,
        sum(case when event = 'jitwarmup.call' and contaminated then 1
            when event = 'jitwarmup.summary' then contaminated_count else 0 end) as paid
    from turns group by callable
)
select callable, single + summed as calls, case when summed = 0 then hits when keys_missed = 0 then hits + summed end as warm, paid
from sums where single + summed > 0 order by callable;

-- degraded: what lost steady state with fewer than three clean calls since, failed, or cannot be read?
with turns as (
    select timestamp, event, callable, key, metric, coalesce(reason, error_type) as why,
        sum(case when event = 'jitwarmup.call' and outcome = 'ok' and not contaminated then 1 else 0 end) over back as clean,
        sum(case when event in ('jitwarmup.warmup.completed', 'jitwarmup.warmup.failed', 'jitwarmup.validation.failed',
            'jitwarmup.steady_state.reached', 'jitwarmup.steady_state.not_reached', 'jitwarmup.steady_state.lost',
            'jitwarmup.monitor.degraded') then 1 else 0 end) over back as newest
    from e
    window back as (partition by callable, key, metric order by timestamp desc
        rows between unbounded preceding and current row)
)
select event, callable, key, metric, why from turns
where newest = 1 and (event = 'jitwarmup.steady_state.lost' and clean < 3 or event in ('jitwarmup.warmup.failed',
    'jitwarmup.validation.failed', 'jitwarmup.steady_state.not_reached', 'jitwarmup.monitor.degraded'))
order by timestamp;
