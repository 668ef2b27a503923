-- Plays the year day by day: the rows of the day are written, then the runner does what has fallen due, as the worker would.
SET search_path = public, lifecycle;
SELECT format($$
    SET lifecycle.clock = %1$L;
    INSERT INTO customers SELECT id, email, first_name, 'free', timezone, created_at FROM script.customers
     WHERE created_at >= %2$L AND created_at < %1$L;
    INSERT INTO events (customer_id, name, occurred_at, properties) SELECT customer_id, name, occurred_at, properties FROM script.events
     WHERE occurred_at >= %2$L AND occurred_at < %1$L ORDER BY occurred_at;
    INSERT INTO script.days SELECT %1$L, clock_timestamp(), run_due('customer'), clock_timestamp();
$$, day + interval '1 day', day) FROM generate_series(timestamptz '2025-01-01 00:00+00', '2025-12-31 00:00+00', '1 day') day \gexec
