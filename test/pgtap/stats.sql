-- What rule_stats says about rules whose every call, row, hit and error is known. Not a test of pg_regress: the counters need a server that has
-- preloaded the extension.
\ir shop.psql
SELECT plan(11);

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'order', condition => $$ (event.properties->>'amount')::int > 10 $$, name => 'big');
SELECT define_transition('customer', 'awareness', 'inactive', on_event => 'bye', name => 'plain');
SELECT define_transition('customer', 'consideration', 'lost', condition => $$ customer.plan = 'none' $$, name => 'plan');
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'never', condition => 'true', name => 'never');
CREATE FUNCTION stats(rule text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT format('%s calls, %s rows, %s hits, %s errors', s.calls, s.rows, s.hits, s.errors) FROM rule_stats s WHERE s.rule = stats.rule); END $$;
SELECT customer(id) FROM generate_series(1, 6) AS id;
SELECT is(stats('big'), '0 calls, 0 rows, 0 hits, 0 errors', 'nothing yet');

SET client_min_messages = error;
INSERT INTO events (customer_id, name, properties)
SELECT id, 'order', jsonb_build_object('amount', amount) FROM (VALUES (1, '5'), (2, '20'), (3, '30'), (4, 'x'), (5, '7')) AS v (id, amount);
SELECT is(stats('big'), '1 calls, 5 rows, 2 hits, 1 errors', 'a statement with five events, two that hit and one that fails');
SELECT ok(milliseconds > 0, 'takes some time') FROM rule_stats WHERE rule = 'big';
SELECT cmp_ok((SELECT last_error_at FROM rule_stats WHERE rule = 'big'), '>', now(), 'and says when it failed');
INSERT INTO events (customer_id, name, properties) VALUES (1, 'order', '{"amount": "11"}'), (1, 'nothing', '{}');
SELECT is(stats('big'), '2 calls, 6 rows, 3 hits, 1 errors', 'a second one adds to it');
SELECT is((SELECT errors_in_a_row FROM rule_stats WHERE rule = 'big'), 0::bigint, 'with no error in a row any more');
SELECT event(id, 'bye') FROM generate_series(5, 6) AS id;
SELECT is(stats('plain'), '2 calls, 0 rows, 2 hits, 0 errors', 'a rule without a condition has no rows to evaluate');
SELECT is(stats('plan'), '2 calls, 3 rows, 0 hits, 0 errors', 'a rule of a stage is asked about each of the three that enter it');
SELECT is(stats('never'), '0 calls, 0 rows, 0 hits, 0 errors', 'a rule that no event concerned');
SAVEPOINT before;
UPDATE customers SET plan = 'none' WHERE id IN (1, 2);
ROLLBACK TO before;
SELECT is(stats('plan'), '3 calls, 5 rows, 2 hits, 0 errors', 'what is rolled back has been done');
SELECT reset_stats();
SELECT is(stats('big') || '; ' || stats('plan'), '0 calls, 0 rows, 0 hits, 0 errors; 0 calls, 0 rows, 0 hits, 0 errors', 'reset_stats begins again');
SELECT * FROM finish();
ROLLBACK;
