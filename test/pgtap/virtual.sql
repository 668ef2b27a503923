-- Virtual generated columns, which PostgreSQL 18 brought: rows hold NULL for them. On state tables, in conditions, and where they are refused.
\ir shop.psql
SELECT current_setting('server_version_num')::int < 180000 AS before_18 \gset
\if :before_18
SELECT plan(1);
SELECT skip('there are no virtual generated columns before PostgreSQL 18', 1);
SELECT * FROM finish();
ROLLBACK;
\quit
\endif
SELECT plan(34);

-- on each of the state tables
ALTER TABLE customer.subjects ADD twice int GENERATED ALWAYS AS (nullif(seq, 3) * 2) NOT NULL;
ALTER TABLE customer.transitions ADD twice int GENERATED ALWAYS AS (seq * 2) NOT NULL;
ALTER TABLE customer.enrollments ADD flow text GENERATED ALWAYS AS ('flow ' || workflow);
ALTER TABLE customer.activity ADD twice bigint GENERATED ALWAYS AS (enrollment_id * 2);
ALTER TABLE customer.messages ADD line text GENERATED ALWAYS AS (upper(subject_line));
ALTER TABLE customer.failures ADD twice bigint GENERATED ALWAYS AS (id * 2);
ALTER TABLE customer._due ADD twice bigint GENERATED ALWAYS AS (enrollment_id * 2);
SELECT define_template('customer', 't', subject_line => 'hello', body => 'b');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'buy');
SELECT define_transition('customer', 'conversion', 'inactive', after => '3 days');
SELECT define_transition('customer', 'conversion', 'lost', on_event => 'fail', condition => $$ 1 / (length(customer.plan) - 4) > 0 $$, name => 'fails');
SELECT define_workflow('customer', 'w', state => 'live', entry => on_event('buy'), steps => steps(send('email', 't'), delay('1 day'), send('email', 't')));
SELECT customer(id) FROM generate_series(1, 2000) AS id;
INSERT INTO events (customer_id, name) SELECT id, 'buy' FROM generate_series(1, 2000) AS id;
SELECT run_due(), advance_clock('1 day');
SELECT event(1, 'fail');
SELECT results_eq('SELECT twice, count(*) FROM customer.transitions GROUP BY 1 ORDER BY 1', 'VALUES (2, 2000::bigint), (4, 2000)', 'transitions');
SELECT results_eq('SELECT twice, count(*) FROM customer.subjects GROUP BY 1', 'VALUES (4, 2000::bigint)', 'subjects');
SELECT results_eq('SELECT flow, count(*) FROM customer.enrollments GROUP BY 1', $$ VALUES ('flow w', 2000::bigint) $$, 'enrollments');
SELECT is((SELECT count(*) FROM customer.activity WHERE twice = enrollment_id * 2), 4000::bigint, 'activity');
SELECT results_eq('SELECT line, count(*) FROM customer.messages GROUP BY 1', $$ VALUES ('HELLO', 4000::bigint) $$, 'messages');
SELECT is((SELECT count(*) FROM customer.failures WHERE twice = id * 2), 1::bigint, 'failures');
SELECT isnt_empty('SELECT FROM customer._due', 'the queue');
SELECT is((SELECT count(*) FROM customer._due WHERE twice IS DISTINCT FROM enrollment_id * 2), 0::bigint, '… too');
SET LOCAL lifecycle.on_error = raise;
SELECT throws_ok($$ SELECT move('customer', 1, 'advocacy') $$, '23502', NULL, 'what is declared of one is checked');
ALTER TABLE customer.subjects ALTER twice DROP NOT NULL;
RESET lifecycle.on_error;
SELECT verified();
SELECT forget();

-- conditions over the subject's row: whatever a column is computed from asks them
ALTER TABLE customers ADD a int, ADD b int, ADD "sum of" bigint GENERATED ALWAYS AS (a + b) VIRTUAL,
    ADD big boolean GENERATED ALWAYS AS (a > 100) VIRTUAL, ADD own oid GENERATED ALWAYS AS (tableoid) VIRTUAL;
SELECT define_transition('customer', 'any', 'retention', condition => $$ customer."sum of" = 10 $$);
UPDATE customers SET a = 4 WHERE id = 2;
SELECT isnt((SELECT stage::text FROM customer.subjects WHERE subject_id = 2), 'retention', 'not yet');
UPDATE customers SET b = 6 WHERE id = 2;
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 2), 'retention', 'a rule is asked when one of them changes');
UPDATE customers SET b = 5 WHERE id = 3;
UPDATE customers SET a = 5 WHERE id = 3;
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 3), 'retention', 'or the other');
INSERT INTO customers (id, a, b) VALUES (2001, 1, 9);
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 2001), 'retention', 'or the row comes');
SELECT define_transition('customer', 'retention', 'lost', condition => $$ (to_jsonb(customer) ->> 'sum of')::int = 12 $$);
UPDATE customers SET b = 11 WHERE id = 2001;
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 2001), 'lost', 'also of the row as a whole');
SELECT verified();
SELECT forget();

-- the row before: on_change is not for what was true already
SELECT define_workflow('customer', 'w', state => 'live', reentry => 'always', entry => on_change($$ customer.big AND customer.own = 'customers'::regclass $$), steps => set_stage('advocacy'));
INSERT INTO customers (id, a) VALUES (3001, 1);
UPDATE customers SET a = 200 WHERE id = 3001;
SELECT run_due();
SELECT is(runs(3001), 'w: completed', 'it has become true');
UPDATE customers SET a = 300 WHERE id = 3001;
SELECT run_due();
SELECT is(runs(3001), 'w: completed', 'it was true already');
UPDATE customers SET a = CASE a WHEN 300 THEN 1 ELSE 300 END WHERE id IN (3, 3001);
UPDATE customers SET a = CASE a WHEN 300 THEN 1 ELSE 300 END WHERE id IN (3, 3001);
SELECT run_due();
SELECT is(runs(3001), 'w: completed, w: completed', 'it has become true again');
SELECT forget();
SELECT define_workflow('customer', 'whole', state => 'live', entry => on_change($$ (to_jsonb(customer) ->> 'sum of')::int > 5 $$), steps => set_stage('advocacy'));
INSERT INTO customers (id, a, b) VALUES (3002, 1, 1);
UPDATE customers SET a = 7, b = 7 WHERE id IN (3002, 2);
SELECT is(runs(3002), 'whole: …', 'of the row as a whole: it has become true');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE workflow = 'whole' AND subject_id = 2), 0::bigint, 'and was true already');
SELECT is_empty($$ SELECT FROM customer.failures WHERE subject_id > 1 $$, 'nothing fails');

-- refused: the rows of events do not hold them
CREATE TABLE visits (customer_id bigint, person bigint GENERATED ALWAYS AS (customer_id), name text, what text GENERATED ALWAYS AS (lower(name)),
    seconds bigint, at timestamptz, day date GENERATED ALWAYS AS ('2026-01-01'::date + seconds::int), n int, twice int GENERATED ALWAYS AS (n * 2));
CREATE FUNCTION refused(statement text, message text, what text) RETURNS text LANGUAGE sql AS $$ SELECT throws_ok(statement, '0A000', message, what) $$;
SELECT refused($$ SELECT define_event_source('customer', 'visits', 'person', 'at', 'name') $$, 'column "person" of table scenario.visits, given as subject_column, is a virtual generated column', 'as subject_column');
SELECT refused($$ SELECT define_event_source('customer', 'visits', 'customer_id', 'at', 'what') $$, 'column "what" of table scenario.visits, given as name_column, is a virtual generated column', 'as name_column');
SELECT refused($$ SELECT define_event_source('customer', 'visits', 'customer_id', 'day', 'name') $$, 'column "day" of table scenario.visits, given as time_column, is a virtual generated column', 'as time_column');
SELECT refused($$ SELECT define_event_source('customer', 'visits', 'customer_id', 'at', 'name', becomes => 'event.twice > 2') $$, 'argument becomes reads event.twice, a virtual generated column', 'in becomes');
CREATE TABLE things (id bigint PRIMARY KEY, other bigint GENERATED ALWAYS AS (id) NOT NULL);
SELECT refused($$ SELECT define_lifecycle('thing', 'things', key_column => 'other') $$, 'column "other" of table scenario.things, given as key_column, is a virtual generated column', 'as the key');
SELECT define_event_source('customer', 'visits', 'customer_id', 'at', 'name');
SELECT refused($$ SELECT define_transition('customer', 'any', 'lost', on_event => 'visit', source => 'visits', condition => 'event.n = 1 AND event.twice = 2') $$, 'condition of transition "any to lost on visit if condition" reads event.twice, a virtual generated column', 'in a rule');
SELECT refused($$ SELECT define_workflow('customer', 'v', entry => on_event('visit', 'event.twice = 2', source => 'visits'), steps => set_stage('lost')) $$, 'condition of entry 1 of workflow "v" reads event.twice, a virtual generated column', 'in an entry');
SELECT refused($$ SELECT define_workflow('customer', 'v', entry => on_event('visit', source => 'visits'), steps => set_stage('lost', only_if => 'event.twice = 2')) $$, 'only_if of step "set_stage_1" of workflow "v" reads event.twice, a virtual generated column', 'in a step');
SELECT lives_ok($$ SELECT define_transition('customer', 'any', 'lost', on_event => 'visit', source => 'visits', condition => 'event.n * 2 = 2') $$, 'what it is computed from is fine');
INSERT INTO visits (customer_id, name, at, n) VALUES (2, 'visit', '2026-02-01', 1);
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 2), 'lost', 'and works');
SELECT verified();

-- one that takes the place of a column of a source
ALTER TABLE visits DROP COLUMN at, ADD at timestamptz GENERATED ALWAYS AS (to_timestamp(seconds)) VIRTUAL;
SET LOCAL lifecycle.on_error = raise;
SELECT throws_ok($$ INSERT INTO visits (customer_id, name, n) VALUES (3, 'visit', 1) $$, '55000', 'changes cannot be captured for lifecycle "customer": column "at" of table scenario.visits is a virtual generated column now, which rows do not hold', 'in the place of a column of a source');
SELECT * FROM finish();
ROLLBACK;
