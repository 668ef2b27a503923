-- Claiming due rows in small batches: what is done is not walked over again and again, and nobody is forgotten or run twice.
\ir shop.psql
SELECT plan(11);

-- How many entries of the index on due_at this transaction has read.
CREATE FUNCTION entries_read() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT pg_stat_get_xact_tuples_returned(i.indexrelid)
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = 'customer._due'::regclass AND a.attname = 'due_at'); END $$;
CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, customer_id bigint, what text);
CREATE FUNCTION effects(what text) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(customer_id ORDER BY n) FROM effects WHERE effects.what = $1 $$;

-- 3,000 rows that are due at one instant
SELECT define_workflow('customer', 'wait', state => 'live', entry => on_event('go'),
    steps => steps(delay('1 day'), run_sql($$ INSERT INTO effects (customer_id, what) SELECT customer.id, 'wait' $$)));
SELECT customer(id) FROM generate_series(1, 3000) AS id;
INSERT INTO events (customer_id, name) SELECT id, 'go' FROM customers;
SELECT run_due() AS done \gset
SELECT is((SELECT count(DISTINCT due_at) FROM customer._due), 1::bigint, 'all are due at the same time');
SET lifecycle.clock = '2026-01-03 09:00+00';
SET lifecycle.batch_size = 1;
SELECT entries_read() AS before \gset
SELECT is(run_due('customer', 1), 1::bigint, 'a batch of one row');
SELECT cmp_ok(entries_read() - :before, '<', 4 * 3000::bigint, 'reads a bounded part of the queue');
SELECT is(run_due(), 2999::bigint, 'and one by one all the others');
SELECT cmp_ok(entries_read() - :before, '<', 10 * 3000::bigint, 'the entries of the index are read a few times, and not for each row');
SELECT is((SELECT (count(*), count(DISTINCT customer_id))::text FROM effects), '(3000,3000)', 'each is run once');

-- what falls due by running a row comes before those that were read ahead
SELECT forget();
TRUNCATE effects;
SELECT define_workflow('customer', 'early', state => 'live', entry => on_event('early'), exit => on_event('stop'), steps => steps(
    delay('1 hour'), run_sql($$ INSERT INTO effects (customer_id, what) SELECT customer.id, 'order' $$),
    delay('30 minutes'), run_sql($$ INSERT INTO effects (customer_id, what) SELECT customer.id + 100, 'order' $$)));
SELECT define_workflow('customer', 'late', state => 'live', entry => on_event('late'), exit => on_event('stop'), steps => steps(
    delay('2 hours'), run_sql($$ INSERT INTO effects (customer_id, what) SELECT customer.id, 'order' $$)));
SELECT event(1, 'early'), event(2, 'early'), event(3, 'late'), event(4, 'late');
SELECT run_due() AS done \gset
SET lifecycle.clock = '2026-01-04 09:00+00';
SELECT run_due() AS done \gset
SELECT is(effects('order'), '{1,2,101,102,3,4}'::bigint[], 'one by one in due order, also what became due meanwhile');

-- rows that were read ahead and are gone, and a place in the table that another row has taken
SELECT define_workflow('customer', 'stops', state => 'live', entry => on_event('first'), steps => steps(
    delay('1 hour'), run_sql($$ INSERT INTO events (customer_id, name) VALUES (12, 'stop') $$)));
SELECT event(11, 'first'), event(12, 'late'), event(13, 'late');
SELECT run_due() AS done \gset
SET lifecycle.clock = '2026-01-05 09:00+00';
SELECT run_due() AS done \gset
SELECT is(effects('order'), '{1,2,101,102,3,4,13}'::bigint[], 'who has left in the meantime is not run');
SELECT is(runs(12), 'wait: completed, late: exit', 'but has left');

-- the same under advance_clock
SELECT event(21, 'early'), event(22, 'late'), event(23, 'early');
SELECT advance_clock('1 day') AS now \gset
SELECT is((effects('order'))[8:], '{21,23,121,123,22}'::bigint[], 'a clock that is advanced keeps the order');
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
