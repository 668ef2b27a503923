-- Messages: who gets them, what they say, what is missing; deleted subjects and TRUNCATE.
\ir shop.psql
SELECT plan(61);
CREATE TABLE users (account_id bigint, email text, first_name text, role text);
CREATE TABLE accounts (id integer PRIMARY KEY, name text, phone text, owner_email text);
CREATE TABLE account_events (account_id integer, name text, at timestamptz DEFAULT lifecycle.now('account'), data jsonb);
SELECT define_lifecycle('account', 'accounts', stages => '{trial,paying,lost}', simulated => true, recipients => $$
    SELECT u.email AS address, u.first_name, u.role FROM users u WHERE u.account_id = account.id ORDER BY u.email $$);
SELECT define_event_source('account', 'account_events', subject_column => 'account_id', name_column => 'name', time_column => 'at');
SELECT define_template('account', 'hello', subject_line => 'For {{ account.name }}', body => 'Dear {{ recipient.first_name | default: "colleague" }}',
    html_body => '<b>{{ account.name }}</b>');
SELECT define_template('account', 'role', body => '{{ recipient.role }} {{ event.data.n }}');
SELECT define_workflow('account', 'w', state => 'live', entry => on_event('go'), reentry => 'always', steps => steps(
    send('email', 'hello', label => 'all'),
    send('email', 'role', label => 'admins', "to" => $$ SELECT u.email AS address, u.role FROM users u WHERE u.account_id = account.id AND u.role = 'admin' $$),
    send('email', 'hello', label => 'owner', "to" => $$ SELECT account.owner_email AS address $$),
    send('email', 'hello', label => 'none', "to" => $$ SELECT 'x' AS address WHERE false $$)));
CREATE FUNCTION mail(account int, step text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(concat_ws(' ', coalesce(address, '-'), m.status, coalesce(body, reason)), ', ' ORDER BY address NULLS FIRST)
      FROM account.messages m JOIN lifecycle.workflow_steps s ON s.step = m.step JOIN account.enrollments e ON e.subject_id = m.subject_id AND e.id = m.enrollment_id AND e.version_id = s.version_id
     WHERE m.subject_id = account AND s.label = mail.step); END $$;

INSERT INTO accounts VALUES (1, 'Big & Co', NULL, 'owner@big'), (2, 'Empty', NULL, NULL), (3, 'Dupes', NULL, '');
INSERT INTO users VALUES (1, 'ada@big', 'Ada', 'admin'), (1, 'bob@big', NULL, 'user'), (1, NULL, 'Nobody', 'user'), (3, 'x@y', 'One', 'admin'), (3, 'x@y', 'Two', 'admin'), (3, 'X@y', 'Three', NULL);
INSERT INTO account_events (account_id, name, data) VALUES (1, 'go', '{"n": 7}'), (2, 'go', '{"n": 7}'), (3, 'go', '{}');
SELECT run_due();
SELECT is(mail(1, 'all'), '- suppressed no address, ada@big queued Dear Ada, bob@big queued Dear colleague', 'one message for each recipient; one without an address says so');
SELECT is(mail(1, 'admins'), 'ada@big queued admin 7', 'to: its own recipients, and the event of the entry');
SELECT is(mail(1, 'owner'), 'owner@big queued Dear colleague', 'to: a column of the subject');
SELECT is(mail(1, 'none'), '- suppressed no recipients', 'to: nobody');
SELECT is(mail(2, 'all') || '; ' || mail(2, 'owner'), '- suppressed no recipients; - suppressed no address', 'no recipients and no address are told apart');
SELECT is((SELECT count(*) FROM account.messages WHERE subject_id = 3 AND address = 'x@y' AND template = 'hello'), 1::bigint, 'one message to one address');
SELECT is((SELECT count(*) FROM account.messages WHERE subject_id = 3 AND address = 'X@y' AND template = 'hello'), 1::bigint, 'addresses are compared as they are');
SELECT is(mail(3, 'admins'), 'x@y failed event.data.n has no value, and no "default" filter gives it one (line 1, column 22)', 'a missing value fails the message, with the reason');
SELECT is(mail(3, 'owner'), '- suppressed no address', 'an empty address is none');
SELECT results_eq($$ SELECT exit_reason, count(*) FROM account.enrollments GROUP BY 1 $$, $$ VALUES ('completed', 3::bigint) $$, 'the runs go on, whatever became of their messages');
SELECT is((SELECT format('%s|%s', subject_line, html_body) FROM account.messages WHERE address = 'ada@big' AND template = 'hello'), 'For Big & Co|<b>Big &amp; Co</b>', 'HTML is escaped, text is not');
SELECT is((SELECT count(DISTINCT idempotency_key) FROM account.messages), (SELECT count(*) FROM account.messages), 'idempotency keys are different');
SELECT results_eq($$ SELECT s.label, a.outcome, a.detail FROM account.activity a JOIN lifecycle.workflow_steps s USING (version_id, step) WHERE subject_id = 2 ORDER BY a.step $$,
    $$ VALUES ('all', 'suppressed', 'no recipients'), ('admins', 'suppressed', 'no recipients'), ('owner', 'suppressed', 'no address'), ('none', 'suppressed', 'no recipients') $$,
    'activity says what became of each send');
SELECT verified('account');

-- recipients that fail for one subject are that one's failure
SELECT define_workflow('account', 'w', state => 'live', entry => on_event('go'), reentry => 'always', steps => steps(
    send('email', 'hello', "to" => $$ SELECT u.email AS address FROM users u WHERE u.account_id = account.id AND account.name::int > 0 $$)));
UPDATE accounts SET name = id WHERE id <> 2;
INSERT INTO account_events (account_id, name, data) VALUES (1, 'go', '{}'), (2, 'go', '{}'), (3, 'go', '{}');
SELECT run_due();
SELECT is((SELECT string_agg(subject_id || ' ' || sqlstate, ', ') FROM account.failures), '2 22P02', 'recipients that fail for one fail for that one');
SELECT is((SELECT count(*) FROM account.enrollments WHERE ended_at IS NULL), 1::bigint, 'the others are done');
SELECT verified('account');

-- the subject's own column; sms goes to phone; a template that changes, that is dropped
SELECT define_template('customer', 'own', body => '{{ customer.email }} {{ subject.stage }} {{ enrollment.workflow }}');
SELECT define_workflow('customer', 'own', state => 'live', entry => on_event('go'), reentry => 'always', steps => steps(send('email', 'own'), delay('1 hour'), send('email', 'own')));
SELECT customer(1), customer(2);
UPDATE customers SET email = '' WHERE id = 2;
SELECT event(1, 'go'), event(2, 'go');
SELECT run_due();
SELECT is((SELECT body FROM customer.messages WHERE subject_id = 1), 'c1@example.com awareness own', 'the subject''s own column, and what a template may read');
SELECT is(sent(2), 'own suppressed', 'no address');
SELECT define_template('customer', 'own', body => 'changed');
UPDATE customers SET email = 'new@example.com' WHERE id = 1;
SELECT advance_clock('1 hour');
SELECT is((SELECT address || ' ' || body FROM customer.messages WHERE subject_id = 1 ORDER BY id DESC LIMIT 1), 'new@example.com changed', 'a changed template and a changed address count from now on');
SELECT throws_ok($$ SELECT drop_template('customer', 'own') $$, '2BP01', NULL, 'a template in use cannot be dropped');
-- a column that a template reads goes
SELECT define_template('customer', 'own', body => 'x {{ customer.first_name }}');
ALTER TABLE customers DROP COLUMN first_name;
SELECT event(1, 'go');
SELECT lives_ok($$ SELECT run_due() $$, 'a column that is gone is no error of the engine');
SELECT is((SELECT status FROM customer.messages WHERE subject_id = 1 ORDER BY id DESC LIMIT 1), 'failed', 'but a message that failed');
ALTER TABLE customers ADD COLUMN first_name text;
UPDATE customers SET first_name = 'back';
SELECT advance_clock('1 hour');
SELECT is((SELECT body FROM customer.messages WHERE subject_id = 1 ORDER BY id DESC LIMIT 1), 'x back', 'until it is there again');
SELECT verified();

-- an application takes them, but not while everything is paused
SELECT pause();
SELECT is_empty($$ SELECT id FROM claim_messages('customer') $$, 'while everything is paused no messages are given out');
SELECT resume();
SELECT is((SELECT string_agg(address, ', ' ORDER BY id) FROM claim_messages('customer', 'email', 2, '5 minutes')), 'c1@example.com, new@example.com', 'an application takes what is queued, in order');
SELECT is((SELECT count(*) FROM claim_messages('customer', 'email', 10, '5 minutes')), 1::bigint, 'nobody takes it again');
SELECT is((SELECT finish_message('customer', id, claim_token, 'sent')::text FROM customer.messages WHERE address = 'c1@example.com'), (SELECT finish_message('customer', id, claim_token, 'sent')::text FROM customer.messages WHERE body = 'changed'), 'and says how it went');
SELECT results_eq($$ SELECT status, count(*) FROM customer.messages GROUP BY 1 ORDER BY 1 $$, $$ VALUES ('claimed', 1::bigint), ('failed', 1), ('sent', 2), ('suppressed', 2) $$, 'which is recorded');
SELECT verified();

-- what somebody typed into his name begins no header of a mail, nor does an address
SELECT define_template('customer', 'injected', subject_line => E' \n{% if true %}\n  Hi {{ customer.first_name }} \n{% endif %}', body => E'two\nlines');
SELECT define_workflow('customer', 'injected', state => 'live', steps => send('email', 'injected'));
SELECT customer(id) FROM generate_series(5, 8) AS id;
UPDATE customers SET first_name = E'A  B\r\nBcc: x@y\t\x7fé' WHERE id = 5;
UPDATE customers SET email = E'a@b\nBcc: x@y' WHERE id = 6;
UPDATE customers SET email = '   ' WHERE id = 7;
SELECT enroll('customer', 'injected', id) FROM generate_series(5, 8) AS id;
SELECT run_due();
SELECT is((SELECT subject_line || '|' || body FROM customer.messages WHERE subject_id = 5), E'Hi A  B Bcc: x@y é|two\nlines', 'a subject line is one line');
SELECT is((SELECT status || ' ' || reason FROM customer.messages WHERE subject_id = 6), 'failed the address has a line break or another control character', 'an address with a line break is none');
SELECT is((SELECT status || ' ' || reason FROM customer.messages WHERE subject_id = 7), 'suppressed no address', 'nor is one of blanks');
SELECT is((SELECT subject_line FROM customer.messages WHERE subject_id = 8), 'Hi C8', 'the others are as they were');
SELECT is((SELECT detail FROM explain('customer', 6) WHERE detail LIKE 'send %'), 'send email injected: failed; email to a@b Bcc: x@y: failed (the address has a line break or another control character)',
    'explain says it on one line');
SELECT verified();

-- deleted subjects
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', after => '30 days');
SELECT define_workflow('customer', 'long', state => 'live', entry => on_event('go'), steps => steps(delay('1 day'), send('email', 'own'), delay('1 day')));
SELECT customer(id) FROM generate_series(10, 14) AS id;
SELECT event(id, 'go') FROM generate_series(10, 14) AS id;
SELECT run_due();
DELETE FROM customers WHERE id = 10;
SELECT is(path(10), 'awareness > -', 'a deleted row is a last transition, to nowhere');
SELECT is(causes(10), 'entry, delete', 'with its cause');
SELECT is(runs(10), 'long: subject_deleted', 'its runs end');
SELECT is_empty($$ SELECT FROM customer._due WHERE subject_id = 10 UNION ALL SELECT FROM customer.subjects WHERE subject_id = 10 $$, 'nothing of it stays');
SELECT lives_ok($$ INSERT INTO events (customer_id, name) VALUES (10, 'go') $$, 'its events are of nobody');
SELECT advance_clock('1 day');
SELECT is(sent(10), NULL, 'nothing is sent to it');
SELECT is(sent(11), 'own queued c11@example.com', 'the others go on');
-- the same key again
SELECT customer(10);
SELECT is(path(10), 'awareness > - > awareness', 'the same key again is a new beginning, numbered on');
SELECT event(10, 'go');
SELECT is(runs(10), 'long: subject_deleted', 'but once is once');
SELECT verified();
-- a changed key is one that goes and one that comes
UPDATE customers SET id = 110 WHERE id = 11;
SELECT is(path(11) || '; ' || path(110), 'awareness > -; awareness', 'a changed key');
SELECT verified();
-- deleted by a step of its own run
SELECT define_workflow('customer', 'forget me', state => 'live', entry => on_event('forget'), steps => steps(run_sql($$ DELETE FROM customers c WHERE c.id = customer.id $$), send('email', 'own')));
SELECT event(12, 'forget');
SELECT run_due();
SELECT is((SELECT exit_reason FROM customer.enrollments WHERE subject_id = 12 AND workflow = 'forget me'), 'subject_deleted', 'a step that deletes its subject ends its runs');
SELECT is_empty($$ SELECT FROM customer.failures $$, 'which is no failure');
SELECT verified();
-- TRUNCATE
TRUNCATE customers;
SELECT is((SELECT count(*) FROM customer.subjects), 0::bigint, 'TRUNCATE deletes all subjects');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE ended_at IS NULL), 0::bigint, 'ends all runs');
SELECT is_empty($$ SELECT FROM customer._due $$, 'leaves nothing due');
SELECT is(path(13), 'awareness > -', 'and is recorded for each');
SELECT verified();

-- recipients whose table was dropped
SELECT forget();
CREATE TABLE addresses (customer bigint, address text);
CREATE FUNCTION define_recipients() RETURNS text LANGUAGE sql AS $$
    SELECT define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,advocacy,inactive,lost}', simulated => true,
        recipients => 'SELECT a.address FROM addresses a WHERE a.customer = customer.id') $$;
SELECT define_recipients();
SELECT define_workflow('customer', 'everybody', state => 'live', steps => send('email', 'own'));
SELECT customer(201), enroll('customer', 'everybody', 201);
DROP TABLE addresses CASCADE;
SELECT results_eq($$ SELECT detail FROM verify('customer') $$, $$ VALUES ('function customer."_recipients of the subject" of the recipients query') $$, 'verify says that the query is gone');
SELECT run_due();
SELECT is((SELECT message FROM customer.failures WHERE subject_id = 201), 'function customer."_recipients of the subject" is missing, was replaced or has another owner than its lifecycle',
    'and so does the failure');
CREATE TABLE addresses (customer bigint, address text);
SELECT is(define_recipients(), 'replaced', 'defined as it was, it is bound again');

-- a lifecycle that is called what our statements might call the recipients
CREATE TABLE readers (id bigint PRIMARY KEY, email text);
SELECT define_lifecycle('_recipient', 'readers', stages => '{new}', simulated => true, recipients => 'SELECT "_recipient".email AS address');
SELECT define_template('_recipient', 'hello', body => 'Hello {{ _recipient.id }}');
SELECT define_workflow('_recipient', 'greet', state => 'live', entry => on_stage('new'), steps => send('email', 'hello'));
INSERT INTO readers VALUES (1, 'one@x');
SELECT run_due('_recipient');
SELECT is((SELECT address || ': ' || body FROM _recipient.messages), 'one@x: Hello 1', 'a lifecycle called _recipient');

SELECT * FROM finish();
ROLLBACK;
