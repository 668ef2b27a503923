-- Conditions that may be needed later are asked together; an error of one counts only when it is needed, and not where errors are raised.
\ir shop.psql
SELECT plan(11);
SELECT define_transition('customer', 'consideration', 'advocacy', on_event => 'buy', condition => $$ 10 / (event.properties->>'n')::int > 1 $$, name => 'later');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'buy', condition => $$ (event.properties->>'n')::int = 0 $$);
SELECT define_workflow('customer', 'w', state => 'live', entry => on_event('buy', $$ 10 / (event.properties->>'m')::int > 1 $$), steps => delay('1 day'));
CREATE FUNCTION buy(id bigint, n integer, m integer DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    INSERT INTO events (customer_id, name, properties) VALUES (id, 'buy', jsonb_build_object('n', n, 'm', m)) $$;
SELECT count(customer(id)) FROM generate_series(1, 300) id;

SELECT buy(1, 0);
SELECT is(path(1), 'awareness > consideration', 'from the first stage');
SELECT is_empty('TABLE customer.failures', 'the rule of the next one was not to be asked');
SELECT count(buy(id, 0)) FROM generate_series(2, 250) id;
SELECT is_empty('TABLE customer.failures', 'however often');
SELECT buy(1, 0);
SELECT is((SELECT string_agg(name || ' ' || sqlstate, ', ') FROM customer.failures), 'later 22012', 'there it is, and fails');
SELECT buy(2, 2);
SELECT is(path(2), 'awareness > consideration > advocacy', 'it is not in quarantine');
-- of one statement: the second event needs what the first did not
DELETE FROM customer.failures;
INSERT INTO events (customer_id, name, properties) SELECT 260, 'buy', '{"n": 0, "m": 1}' FROM generate_series(1, 2);
SELECT is((SELECT string_agg(name || ' ' || sqlstate, ', ') FROM customer.failures), 'later 22012', 'one that the second event needs fails once');
-- nor is a rule of lower priority to be asked
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'buy', condition => $$ 10 / (event.properties->>'n')::int > 1 $$, name => 'lower', priority => 200);
DELETE FROM customer.failures;
SELECT buy(270, 0);
SELECT is(path(270), 'awareness > consideration', 'the first of two');
SELECT is_empty('TABLE customer.failures', 'the second was not to be asked');
SET lifecycle.on_error = raise;
SELECT lives_ok('SELECT buy(271, 0)', 'where errors are raised too');
SELECT throws_ok('SELECT buy(271, 0)', '22012', NULL, 'that is one');
RESET lifecycle.on_error;
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
