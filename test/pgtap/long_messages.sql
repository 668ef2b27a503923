-- Messages so long that those of a batch do not fit into memory: what becomes of them is what becomes of short ones.
\ir shop.psql
SELECT plan(16);
CREATE TABLE seen (what text, n bigint);
CREATE FUNCTION letter(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT chr(65 + (id % 26)::integer) $$;
SELECT define_template('customer', 'long', subject_line => 'To {{ customer.id }}', body => 'text', html_body => '{{ customer.first_name }}');
SELECT define_template('customer', 'short', body => 'b {{ customer.id }}');
SELECT define_workflow('customer', 'long', state => 'live', entry => on_event('long'), steps => steps(
    send('email', 'long', "to" => $$ SELECT a || customer.id AS address FROM unnest('{a,b,a}'::text[]) AS a $$),
    run_sql($$ INSERT INTO seen SELECT 'bytes', sum(total_bytes) FROM pg_backend_memory_contexts $$, only_if => 'customer.id = 90'),
    run_sql($$ INSERT INTO seen SELECT 'messages', count(*) FROM customer.messages $$, only_if => 'customer.id = 90'),
    send('email', 'short')));
SELECT customer(id) FROM generate_series(1, 90) AS id;
UPDATE customers SET first_name = repeat(letter(id), 400000);
SELECT event(id, 'long') FROM generate_series(1, 90) AS id;
SELECT is(run_due(), 90::bigint, 'all are run');
SELECT cmp_ok((SELECT n FROM seen WHERE what = 'bytes'), '<', 50000000::bigint, '72 MB of messages are not held in memory');
SELECT is((SELECT n FROM seen WHERE what = 'messages'), 0::bigint, 'and not seen before the end of the round');
SELECT is((SELECT string_agg(DISTINCT status, ', ') || ' ' || count(*) || ' ' || count(DISTINCT id) FROM customer.messages), 'queued 270 270', 'each address got one');
SELECT is_empty($$ SELECT FROM customer.messages m WHERE m.template = 'long' AND (m.subject_line <> 'To ' || m.subject_id OR m.body <> 'text'
    OR m.html_body IS DISTINCT FROM repeat(letter(m.subject_id), 400000) OR m.address NOT IN ('a' || m.subject_id, 'b' || m.subject_id)) $$, 'its own');
SELECT is_empty($$ SELECT FROM customer.messages m WHERE m.template = 'short' AND (m.body <> 'b ' || m.subject_id OR num_nulls(m.subject_line, m.html_body) <> 2
    OR m.address <> 'c' || m.subject_id || '@example.com') $$, 'short ones behind them too');
SELECT cmp_ok((SELECT max(id) FROM customer.messages WHERE template = 'long'), '<', (SELECT min(id) FROM customer.messages WHERE template = 'short'), 'in their order');
SELECT verified();

-- a step that fails takes the message of its run with it, and no other
CREATE FUNCTION fail(id bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF id = 77 THEN RAISE 'not her'; END IF; END $$;
SELECT define_workflow('customer', 'fails', state => 'live', entry => on_event('fail'), steps => steps(
    send('email', 'long'), run_sql('SELECT fail(customer.id)')));
SELECT event(id, 'fail') FROM generate_series(1, 90) AS id;
SELECT is(run_due(), 90::bigint, 'all are run');
SELECT is((SELECT string_agg(subject_id || ' ' || message, ', ') FROM customer.failures), '77 not her', 'one fails');
SELECT is((SELECT count(*) || ' ' || count(DISTINCT subject_id) FROM customer.messages WHERE workflow = 'fails'), '89 89', 'and leaves no message');
SELECT is_empty($$ SELECT FROM customer.messages m WHERE m.workflow = 'fails' AND (m.subject_id = 77 OR m.html_body IS DISTINCT FROM repeat(letter(m.subject_id), 400000)) $$,
    'the others have theirs');

-- nor does a run that had ended before it was run
SELECT define_workflow('customer', 'ends', state => 'live', entry => on_event('end'), steps => send('email', 'long'));
SELECT event(id, 'end') FROM generate_series(1, 90) AS id;
UPDATE customer.enrollments SET ended_at = entered_at, exit_reason = 'exit' WHERE workflow = 'ends' AND subject_id = 45;
SELECT is(run_due(), 90::bigint, 'all are run');
SELECT is((SELECT count(*) || ' ' || count(DISTINCT subject_id) FROM customer.messages WHERE workflow = 'ends'), '89 89', 'one that had ended sends nothing');
SELECT is_empty($$ SELECT FROM customer.messages m WHERE m.workflow = 'ends' AND (m.subject_id = 45 OR m.html_body IS DISTINCT FROM repeat(letter(m.subject_id), 400000)) $$,
    'the others have theirs');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
