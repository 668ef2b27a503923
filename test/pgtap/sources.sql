-- Event sources: several tables, one constant name, rows that become events by insert and by update, partitions, and every type of key.
\ir shop.psql
SELECT plan(115);

-- several sources, each with its own shape
CREATE TABLE payments (id int PRIMARY KEY, customer_id bigint, paid_at timestamptz, amount numeric);
CREATE TABLE tickets (id text PRIMARY KEY, customer_id bigint NOT NULL, status text NOT NULL, changed_on date NOT NULL);
CREATE TYPE click_kind AS ENUM ('open', 'click');
CREATE TABLE clicks (customer_id integer, kind click_kind, at timestamp);
SELECT define_event_source('customer', 'payments', subject_column => 'customer_id', event_name => 'payment', time_column => 'paid_at');
SELECT define_event_source('customer', 'tickets', subject_column => 'customer_id', event_name => 'solved', time_column => 'changed_on',
                           becomes => $$ event.status = 'solved' $$);
SELECT define_event_source('customer', 'clicks', subject_column => 'customer_id', name_column => 'kind', time_column => 'at', name => 'marketing');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'click');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'payment', condition => 'event.amount >= 10', source => 'payments', name => 'pays');
SELECT define_transition('customer', 'conversion', 'advocacy', on_event => 'solved', name => 'solved');
SELECT customer(id) FROM generate_series(1, 9) AS id;
INSERT INTO clicks VALUES (1, 'open', '2026-01-02 08:00'), (1, 'click', '2026-01-02 09:00');
SELECT is(path(1), 'awareness > consideration', 'a name column that is an enum, an integer that joins to a bigint');
SELECT is(since(1), '2026-01-02 09:00+00', 'a time without zone is UTC');
INSERT INTO payments VALUES (1, 1, '2026-01-03', 9.99), (2, 1, '2026-01-04', 10);
SELECT is(path(1), 'awareness > consideration > conversion', 'a source with one constant name and a condition over its row');
SELECT is((SELECT format('%s %s %s %s', event_source, event_name, event_id, event_at) FROM customer.transitions WHERE subject_id = 1 AND seq = 3),
    'payments payment 2 2026-01-04 00:00:00+00', 'the transition says which row of which source');
SELECT is((SELECT event_source FROM customer.transitions WHERE subject_id = 1 AND seq = 2), 'marketing', 'a source with a name of its own');
-- an event of that name from another source is not the one that the rule means
SELECT event(2, 'click'), event(2, 'payment');
SELECT is(path(2), 'awareness > consideration', 'an event of the same name from another source does not fit source => payments');
SELECT is(path(3), 'awareness', 'nothing happened to others');

-- becomes: by insert, by update, once
UPDATE payments SET amount = 99;
SELECT is(path(2), 'awareness > consideration', 'an update of a source without becomes is no event');
SELECT move('customer', id, 'conversion') FROM generate_series(1, 9) AS id WHERE id <> 1;
INSERT INTO tickets VALUES ('a', 1, 'open', '2026-01-05'), ('b', 2, 'solved', '2026-01-05'), ('c', 3, 'open', '2026-01-05'), ('d', 5, 'open', '2026-01-05');
SELECT is(path(1), 'awareness > consideration > conversion', 'becomes: not true at the insert');
SELECT is(path(2), 'awareness > consideration > conversion > advocacy', 'true at the insert');
UPDATE tickets SET status = 'waiting' WHERE id = 'a';
SELECT is(path(1), 'awareness > consideration > conversion', 'an update that does not make it true');
UPDATE tickets SET status = 'solved', changed_on = '2026-01-09' WHERE id IN ('a', 'c');
SELECT is(path(1) || '; ' || path(3), 'awareness > consideration > conversion > advocacy; awareness > conversion > advocacy', 'the update that makes it true');
SELECT move('customer', 1, 'conversion');
UPDATE tickets SET changed_on = '2026-01-10' WHERE id = 'a';
SELECT is((SELECT to_stage::text FROM customer.transitions WHERE subject_id = 1 ORDER BY seq DESC LIMIT 1), 'conversion', 'an update of a row that was true before is no event');
UPDATE tickets SET status = 'open' WHERE id = 'a';
UPDATE tickets SET status = 'solved' WHERE id = 'a';
SELECT is((SELECT to_stage::text FROM customer.transitions WHERE subject_id = 1 ORDER BY seq DESC LIMIT 1), 'advocacy', 'false and true again is one');
INSERT INTO tickets VALUES ('d', 5, 'solved', '2026-01-07') ON CONFLICT (id) DO UPDATE SET status = excluded.status;
SELECT is(path(5), 'awareness > conversion > advocacy', 'an upsert that makes it true');
-- a row that is given to another subject while it is true is that subject's event
UPDATE tickets SET customer_id = 6 WHERE id = 'b';
SELECT is(path(6), 'awareness > conversion', 'a true row that only changes its subject becomes nothing');
SELECT verified();

-- without_event over rows that become events
SELECT forget();
SELECT define_transition('customer', 'awareness', 'inactive', without_event => 'solved', after => '10 days');
SET lifecycle.clock = '2026-03-01 00:00+00';
SELECT customer(20), customer(21);
INSERT INTO tickets VALUES ('w20', 20, 'open', '2026-03-05'), ('w21', 21, 'solved', '2026-03-05');
SELECT advance_clock(until => '2026-03-11 00:00+00');
SELECT is(path(20), 'awareness > inactive', 'a row that has not become an event does not count');
SELECT is(path(21), 'awareness', 'one that has does');
SELECT advance_clock(until => '2026-03-15 00:00+00');
SELECT is(since(21), '2026-03-15 00:00+00', 'until ten days after it');
SELECT verified();

-- partitioned, through the parent
SELECT forget();
CREATE TABLE log (id bigint, customer_id bigint NOT NULL, name text NOT NULL, at timestamptz NOT NULL, extra text) PARTITION BY RANGE (at);
CREATE TABLE log_jan PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
-- a partition with its columns in another order, and one dropped
CREATE TABLE log_feb (gone int, name text NOT NULL, at timestamptz NOT NULL, extra text, customer_id bigint NOT NULL, id bigint);
ALTER TABLE log_feb DROP COLUMN gone;
ALTER TABLE log ATTACH PARTITION log_feb FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT define_event_source('customer', 'log', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'seen', source => 'log', condition => $$ event.extra = 'yes' $$, name => 'seen');
SELECT customer(id) FROM generate_series(30, 39) AS id;
INSERT INTO log VALUES (1, 30, 'seen', '2026-01-15', 'yes'), (2, 31, 'seen', '2026-02-15', 'yes'), (3, 32, 'seen', '2026-02-15', 'no'), (4, 33, 'other', '2026-02-15', 'yes');
SELECT is(path(30) || '; ' || path(31), 'awareness > consideration; awareness > consideration', 'partitioned, through the parent: also where columns are in another order');
SELECT is(path(32) || '; ' || path(33), 'awareness; awareness', 'and only what fits');
INSERT INTO log_feb (name, at, extra, customer_id, id) VALUES ('seen', '2026-02-16', 'yes', 34, 5);
SELECT is(path(34), 'awareness > consideration', 'straight into a partition');
CREATE TABLE log_mar PARTITION OF log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO log VALUES (6, 35, 'seen', '2026-03-15', 'yes');
SELECT is(path(35), 'awareness > consideration', 'into a partition that came later');
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'gone');
INSERT INTO log VALUES (7, 36, 'gone', '2026-03-15', NULL), (8, 37, 'unheard', '2026-03-15', NULL);
SELECT is(path(36), 'awareness > lost', 'a name that is listened to since');
SELECT is(path(37), 'awareness', 'and one that is not');
SELECT verified();

-- names in columns of every type that takes text
CREATE DOMAIN short AS char(12);
SELECT define_transition('customer', 'awareness', 'retention', on_event => 'said');
CREATE FUNCTION try_names(type text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE id bigint := 50 + hashtext(type) % 1000;
BEGIN
    EXECUTE format('CREATE TABLE said (customer_id bigint, name %s, at timestamptz)', type);
    PERFORM define_event_source('customer', 'said', subject_column => 'customer_id', name_column => 'name', time_column => 'at'), customer(id);
    EXECUTE format('INSERT INTO said VALUES (%1$s, ''unheard'', ''2026-01-02''), (%1$s, ''said'', ''2026-01-03''), (%1$s, NULL, ''2026-01-03'')', id);
    RETURN NEXT is(path(id), 'awareness > retention', 'names of type ' || type);
    PERFORM drop_event_source('customer', 'said');
    DROP TABLE said;
END $$;
SELECT try_names(type) FROM unnest('{text,varchar(8),char(12),name,short,"varchar COLLATE \"C\""}'::text[]) AS type;

-- a condition over the rows of several sources
SELECT define_transition('customer', 'awareness', 'advocacy', on_event => 'praise', condition => 'event.customer_id = customer.id AND customer.id < 40', name => 'praise');
SELECT event(37, 'praise');
INSERT INTO log VALUES (9, 33, 'praise', '2026-02-15', 'yes');
SELECT is(path(37) || '; ' || path(33), 'awareness > advocacy; awareness > advocacy', 'one condition that fits several sources');
SELECT verified();

-- a table that inherits from another, and is updated through that: no statement trigger of its own comes
SELECT forget();
CREATE TABLE papers (id bigint, status text);
CREATE TABLE bills (id bigint, status text, customer_id bigint, at timestamptz);
SELECT define_event_source('customer', 'bills', subject_column => 'customer_id', event_name => 'settled', time_column => 'at', becomes => $$ event.status = 'settled' $$);
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'settled');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'settled');
SELECT customer(id) FROM generate_series(60, 66) AS id;
INSERT INTO bills SELECT id, 'open', id, '2026-01-05' FROM generate_series(60, 66) AS id;
UPDATE bills SET status = 'settled' WHERE id = 60;
ALTER TABLE bills INHERIT papers;
UPDATE papers SET status = 'settled' WHERE id IN (61, 62);
SELECT is(path(61) || '; ' || path(62), 'awareness > consideration; awareness > consideration', 'updated through a table that it inherits from since');
UPDATE bills SET status = 'settled' WHERE id = 63;
INSERT INTO bills VALUES (67, 'settled', 64, '2026-01-07'), (68, 'settled', 64, '2026-01-06');
INSERT INTO papers VALUES (69, 'settled');
SELECT is(path(60) || '; ' || path(63) || '; ' || path(64), 'awareness > consideration; awareness > consideration; awareness > consideration > conversion', 'and by itself');
SELECT is((SELECT event_at FROM customer.transitions WHERE subject_id = 64 AND seq = 2), '2026-01-06 00:00+00', 'where rows that are inserted are folded whole');
ALTER TABLE bills NO INHERIT papers;
UPDATE bills SET status = 'settled';
SELECT is(path(65) || '; ' || path(62), 'awareness > consideration; awareness > consideration', 'and when it does not inherit any more');
-- a table that becomes a partition after it was defined
CREATE TABLE parts (id bigint, status text, customer_id bigint, at timestamptz) PARTITION BY RANGE (id);
ALTER TABLE parts ATTACH PARTITION bills FOR VALUES FROM (0) TO (1000);
INSERT INTO parts VALUES (80, 'settled', 65, '2026-01-08'), (81, 'open', 66, '2026-01-08');
SELECT is(path(65), 'awareness > consideration > conversion', 'through the partitioned table that it was attached to');
UPDATE parts SET status = 'settled' WHERE id = 81;
SELECT is(path(66), 'awareness > consideration > conversion', '… updated too');
SELECT verified();
SELECT drop_event_source('customer', 'bills');

-- lifecycle.capture counts when a row is written: switched in the middle of a statement, and by triggers behind it
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'gone');
SELECT customer(id) FROM generate_series(70, 89) AS id;
CREATE FUNCTION capturing(state text, id bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT set_config('lifecycle.capture', state, false); SELECT id $$;
INSERT INTO log SELECT id, capturing(CASE WHEN id < 73 THEN 'on' ELSE 'off' END, id), 'gone', '2026-02-15', NULL FROM generate_series(71, 74) AS id;
SELECT is(path(71) || '; ' || path(72) || '; ' || path(73) || '; ' || path(74), 'awareness > lost; awareness > lost; awareness; awareness', 'off in the middle: what was written before');
SET lifecycle.capture = on;
INSERT INTO log VALUES (75, 75, 'gone', '2026-02-15', NULL);
INSERT INTO log_feb (name, at, customer_id, id) VALUES ('gone', '2026-02-15', 76, 76);
SELECT is(path(75) || '; ' || path(76) || '; ' || path(73), 'awareness > lost; awareness > lost; awareness', 'later statements have their own rows');
SET lifecycle.capture = off;
INSERT INTO log SELECT id, capturing(CASE WHEN id < 78 THEN 'off' ELSE 'on' END, id), 'gone', '2026-02-15', NULL FROM generate_series(77, 78) AS id;
SELECT is(path(77) || '; ' || path(78), 'awareness; awareness > lost', 'on in the middle');
CREATE FUNCTION switch_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM capturing('off', 1); RETURN NULL; END $$;
CREATE TRIGGER zzz AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION switch_off();
CREATE TRIGGER zzz AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION switch_off();
INSERT INTO log SELECT id, id, 'gone', '2026-02-15', NULL FROM generate_series(79, 80) AS id;
SELECT is(path(79) || '; ' || path(80), 'awareness > lost; awareness > lost', 'off by a trigger: the whole statement');
SET lifecycle.capture = on;
INSERT INTO events (customer_id, name) VALUES (81, 'gone'), (82, 'gone');
SELECT is(path(81) || '; ' || path(82), 'awareness > lost; awareness > lost', '… into a table without partitions too');
INSERT INTO events (customer_id, name) VALUES (83, 'gone');
SELECT is(path(83), 'awareness', 'off is off');
SET lifecycle.capture = on;
DROP TRIGGER zzz ON log;
DROP TRIGGER zzz ON events;
SELECT verified();

-- one that logical replication will feed
SELECT forget();
SELECT define_event_source('customer', 'payments', subject_column => 'customer_id', event_name => 'payment', time_column => 'paid_at', replicated => true);
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'payment', condition => 'event.amount >= 10', source => 'payments');
INSERT INTO payments VALUES (101, 38, '2026-01-03', 9), (102, 38, '2026-01-04', 10), (103, 39, '2026-01-04', 9);
SELECT is(path(38) || '; ' || path(39), 'awareness > consideration; awareness', 'a replicated table');
SELECT set_config('session_replication_role', 'replica', true);
INSERT INTO payments VALUES (104, 39, '2026-01-05', 11);
SELECT set_config('session_replication_role', 'origin', true);
SELECT is(path(39), 'awareness > consideration', 'also what is replicated');
SELECT verified();

-- every type of key, joined by every type of column that joins to it
CREATE FUNCTION key_of(type text, n int) RETURNS text LANGUAGE sql AS $$
    SELECT CASE type WHEN 'uuid' THEN '00000000-0000-0000-0000-' || lpad(n::text, 12, '0') WHEN 'text' THEN 'né ''"' || n WHEN 'varchar(40)' THEN 'v ' || n ELSE n::text END $$;
CREATE FUNCTION try_keys(key text, reference text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    lifecycle text := 'k_' || left(regexp_replace(key || '_' || reference, '\W', '', 'g'), 30);
    paths text;
BEGIN
    EXECUTE format('CREATE TABLE %I (id %s PRIMARY KEY, email text)', lifecycle || '_s', key);
    EXECUTE format('CREATE TABLE %I (subject %s, name text, at timestamptz)', lifecycle || '_e', reference);
    PERFORM define_lifecycle(lifecycle, (lifecycle || '_s')::regclass, stages => '{a,b,c}', simulated => true);
    PERFORM define_event_source(lifecycle, (lifecycle || '_e')::regclass, subject_column => 'subject', name_column => 'name', time_column => 'at');
    PERFORM define_transition(lifecycle, 'a', 'b', on_event => 'go', condition => format('%I.email = ''yes''', lifecycle));
    PERFORM define_transition(lifecycle, 'b', 'c', without_event => 'go', after => '5 days');
    PERFORM define_template(lifecycle, 't', body => format('{{ %s.id }}', lifecycle));
    PERFORM define_workflow(lifecycle, 'w', state => 'live', entry => on_stage('b'), steps => steps(send('email', 't'), delay('1 day')));
    SET LOCAL lifecycle.clock = '2026-01-01 00:00+00';
    EXECUTE format('INSERT INTO %I SELECT key_of(%L, n)::%s, CASE WHEN n < 20 THEN ''yes'' ELSE ''no'' END FROM generate_series(1, 30) AS n', lifecycle || '_s', key, key);
    EXECUTE format('INSERT INTO %I SELECT key_of(%L, n)::%s, ''go'', ''2026-01-01'' FROM generate_series(40, 2, -1) AS n', lifecycle || '_e', key, reference);
    EXECUTE format('INSERT INTO %I SELECT key_of(%L, n)::%s, ''go'', ''2026-01-03'' FROM generate_series(1, 4) AS n', lifecycle || '_e', key, reference);
    PERFORM advance_clock(until => '2026-01-06 12:00+00');
    EXECUTE format('DELETE FROM %I WHERE id = key_of(%L, 6)::%s', lifecycle || '_s', key, key);
    PERFORM move(lifecycle, key_of(key, 7), 'a');
    EXECUTE format('SELECT string_agg(stage || '' '' || n, '', '' ORDER BY stage) FROM (SELECT stage, count(*) AS n FROM %I.subjects GROUP BY stage) AS s', lifecycle) INTO paths;
    RETURN NEXT is(paths, 'a 12, b 4, c 13', format('%s joined by %s: rules and timers', key, reference));
    EXECUTE format('SELECT count(*) || '' '' || max(body) FROM %I.messages', lifecycle) INTO paths;
    RETURN NEXT is(paths, '19 ' || (SELECT max(key_of(key, n)) FROM generate_series(1, 19) AS n), format('%s joined by %s: runs and messages', key, reference));
    RETURN NEXT verified(lifecycle);
END $$;
SELECT try_keys('smallint', 'smallint');
SELECT try_keys('smallint', 'integer');
SELECT try_keys('smallint', 'bigint');
SELECT try_keys('integer', 'smallint');
SELECT try_keys('integer', 'integer');
SELECT try_keys('integer', 'bigint');
SELECT try_keys('bigint', 'smallint');
SELECT try_keys('bigint', 'integer');
SELECT try_keys('bigint', 'bigint');
SELECT try_keys('uuid', 'uuid');
SELECT try_keys('text', 'text');
SELECT try_keys('text', 'varchar(40)');
SELECT try_keys('varchar(40)', 'varchar(40)');
SELECT try_keys('varchar(40)', 'text');
-- what does not fit the key's type is an event of nobody
INSERT INTO k_smallint_bigint_e VALUES (65536 + 7, 'go', '2026-01-08'), (7 - 65536, 'go', '2026-01-08'), (NULL, 'go', '2026-01-08');
SELECT is_empty($$ SELECT FROM k_smallint_bigint.transitions WHERE event_at > '2026-01-07' $$, 'a bigint that is no smallint does not wrap around');
SELECT throws_ok($$ SELECT try_keys('bigint', 'text') $$, '42804', NULL, 'a column that does not join to the key is refused');
SELECT throws_ok($$ SELECT try_keys('uuid', 'bigint') $$, '42804', NULL, 'so is another');

-- a source that is defined again on another table
CREATE TABLE calls (customer_id bigint, name text, at timestamptz);
CREATE TABLE visits (LIKE calls);
SELECT define_event_source('customer', 'calls', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'contacts');
SELECT is(define_event_source('customer', 'visits', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'contacts'), 'replaced',
    'a source may come to be on another table');
SELECT is_empty($$ SELECT FROM pg_trigger WHERE tgrelid = 'calls'::regclass $$, 'the former one is left alone');
SELECT isnt_empty($$ SELECT FROM pg_trigger WHERE tgrelid = 'visits'::regclass $$, 'the other one is captured');

-- a table that was dropped with all that used it, and is there again: what is said again is bound again
CREATE TABLE answers (customer_id bigint, name text, at timestamptz, grade int);
CREATE FUNCTION define_answers() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', define_event_source('customer', 'answers', subject_column => 'customer_id', name_column => 'name', time_column => 'at', becomes => 'event.grade > 0'),
        define_transition('customer', 'any', 'lost', on_event => 'graded', condition => 'event.grade > 1', source => 'answers', name => 'graded'),
        define_workflow('customer', 'graded', entry => on_event('graded', 'event.grade > 2', 'answers'),
            steps => branch('EXISTS (SELECT FROM answers a WHERE a.customer_id = customer.id)'))) $$;
SELECT is(define_answers(), 'created created created', 'defined');
SELECT is(define_answers(), 'unchanged unchanged unchanged', 'and again');
DROP TABLE answers CASCADE;
CREATE TABLE answers (customer_id bigint, name text, at timestamptz, grade int);
SELECT is(define_answers(), 'replaced replaced replaced', 'after its table has gone and come');
SELECT is_empty($$ SELECT FROM verify('customer') WHERE detail LIKE '%graded%' $$, 'all of it is there');
SELECT customer(9001);
INSERT INTO answers VALUES (9001, 'graded', '2026-01-10', 2);
SELECT matches(path(9001), 'lost$', 'and works');

-- a source that does not carry any more what is listened to
SELECT is_empty($$ SELECT FROM verify('customer') WHERE invariant = 'what is listened to can come' $$, 'what is listened to can come');
SELECT define_event_source('customer', 'answers', subject_column => 'customer_id', event_name => 'answered', time_column => 'at', becomes => 'event.grade > 0');
SELECT results_eq($$ SELECT detail FROM verify('customer') WHERE invariant = 'what is listened to can come' ORDER BY 1 $$,
    $$ VALUES ('transition "graded" listens to event "graded", which no event source can carry'), ('workflow "graded" listens to event "graded", which no event source can carry') $$,
    'verify says what cannot');
SELECT drop_workflow('customer', 'graded');
SELECT drop_transition('customer', 'graded');
SELECT is_empty($$ SELECT FROM verify('customer') WHERE invariant = 'what is listened to can come' $$, 'until nothing listens to it');

-- another table takes the place of one: what names its source goes on with it
CREATE TABLE marks (customer_id bigint, name text, at timestamptz, grade int);
SELECT define_event_source('customer', 'marks', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'marks');
SELECT define_transition('customer', 'lost', 'awareness', on_event => 'back', condition => 'event.grade > 1', source => 'marks', name => 'back');
SELECT define_workflow('customer', 'marked', state => 'live', entry => on_event('mark', 'event.grade > 2', 'marks'), exit => on_event('unmark', 'event.grade > 3', 'marks'), steps => delay('1 day'));
ALTER TABLE marks RENAME TO marks_old;
CREATE TABLE marks (customer_id bigint, name text, at timestamptz, grade int);
SELECT is(define_event_source('customer', 'marks', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'marks'), 'replaced', 'a table in the place of another');
INSERT INTO marks VALUES (9001, 'back', '2026-01-11', 1), (9001, 'back', '2026-01-11', 2), (9001, 'mark', '2026-01-12', 2), (9001, 'mark', '2026-01-12', 3);
SELECT matches(path(9001), 'lost > awareness$', 'a rule that names the source is bound to it');
SELECT is(runs(9001), 'marked: …', '… so is an entry');
INSERT INTO marks VALUES (9001, 'unmark', '2026-01-12', 3), (9001, 'unmark', '2026-01-12', 4);
SELECT is(runs(9001), 'marked: exit', '… and an exit');
CREATE TABLE other_marks (customer_id bigint, name text, at timestamptz);
SELECT throws_like($$ SELECT define_event_source('customer', 'other_marks', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'marks') $$,
    'condition of %does not fit event source "marks": %', 'a table that has not what they read is refused');
SELECT is(define_event_source('customer', 'marks', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'marks'), 'unchanged', 'and the other one stays');
SELECT * FROM finish();
ROLLBACK;
