-- Definitions are declarative and transactional: said again they are unchanged, rolled back or refused they leave nothing.
\ir shop.psql
SELECT plan(61);

CREATE TABLE deals (id uuid PRIMARY KEY, name text, value numeric, closes date, zone text, owner_email text);
CREATE TABLE deal_log (deal uuid, what text, at timestamptz, data jsonb);
CREATE TABLE quotes (id bigint PRIMARY KEY, deal uuid, status text, at timestamptz);

-- every kind of definition, with every argument
CREATE TABLE definitions (position int PRIMARY KEY, call text);
INSERT INTO definitions VALUES
(1, $$ define_lifecycle('deal', 'deals', stages => '{new,offered,won,lost}', key_column => 'id', schema => 'deal state', initial_stage => 'new',
       phases => '{"new": "lead_warming", "won": "engagement"}', timezone => 'coalesce(deal.zone, ''UTC'')',
       recipients => 'SELECT deal.owner_email AS address, deal.name', strict => true, simulated => true) $$),
(2, $$ define_event_source('deal', 'deal_log', subject_column => 'deal', name_column => 'what', time_column => 'at', enroll_within => '3 days') $$),
(3, $$ define_event_source('deal', 'quotes', subject_column => 'deal', event_name => 'accepted', time_column => 'at', name => 'quotes accepted', becomes => 'event.status = ''yes''') $$),
(4, $$ define_transition('deal', 'new', 'offered', on_event => 'offer', condition => 'event.data ? ''n'' AND deal.value > 0', source => 'deal_log', priority => 7, name => 'offer') $$),
(5, $$ define_transition('deal', '{new,offered}', 'won', on_event => 'accepted') $$),
(6, $$ define_transition('deal', ARRAY['new', 'offered'], 'lost', after => '30 days', condition => 'deal.value < 1000') $$),
(7, $$ define_transition('deal', 'any', 'lost', without_event => 'offer', after => '1 year 2 mons') $$),
(8, $$ define_transition('deal', 'offered', 'lost', on_date => 'deal.closes + 7') $$),
(9, $$ define_transition('deal', NULL, 'offered', condition => 'deal.value > 1e6') $$),
(10, $$ define_transition('deal', 'won', 'lost') $$),
(11, $$ define_template('deal', 'it''s "new"', subject_line => 'Hello {{ recipient.name | default: "you" }}', body => 'x {{ deal.value }}', html_body => '<p>{{ deal.name }}</p>') $$),
(12, $$ define_workflow('deal', 'follow up', state => 'live', entry => triggers(on_stage('offered', 'new'), on_event('offer', 'event.data ? ''x''', 'deal_log'), on_change('deal.value > 10')),
        exit => triggers(on_stage('{won,lost}'), on_change('deal.value < 0')), goal => goal(on_event('accepted'), within => '14 days', exit => true), reentry => '1 mon',
        steps => steps(send('email', 'it''s "new"', "to" => 'SELECT deal.owner_email AS address', label => 'hi', only_if => 'deal.value > 0'), delay('1 day 2 hours'),
            branch('deal.value > 5', yes => exit('rich'), no => steps(set_stage('lost'), run_sql('UPDATE deals d SET value = 0 WHERE d.id = deal.id'))), exit())) $$),
(13, $$ define_workflow('deal', 'by hand', steps => exit()) $$);

-- what a definition can leave: rows of definitions, and everything that the catalog knows
CREATE FUNCTION everything() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    query text;
    part text;
    whole text := '';
BEGIN
    FOREACH query IN ARRAY ARRAY['lifecycle.lifecycles', 'lifecycle.stages', 'lifecycle.event_sources', 'lifecycle.transition_rules', 'lifecycle.templates', 'lifecycle.workflows',
                                 'lifecycle.workflow_versions', 'lifecycle.workflow_triggers', 'lifecycle.workflow_steps', 'pg_namespace', 'pg_class', 'pg_type', 'pg_enum', 'pg_proc',
                                 'pg_trigger', 'pg_constraint', 'pg_description'] LOOP
        EXECUTE format('SELECT md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM (SELECT (CASE WHEN %L LIKE ''pg_class'' THEN to_jsonb(c) - ''{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,relhastriggers,relrowsecurity}''::text[] ELSE to_jsonb(c) END) AS t FROM %s c) AS t', query, query) INTO part;
        whole := concat(whole, query, ' ', part, E'\n');
    END LOOP;
    RETURN whole;
END $$;
CREATE FUNCTION said(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN EXECUTE 'SELECT ' || definition INTO answer; RETURN answer; END $$;
CREATE FUNCTION say(nth int) RETURNS text LANGUAGE sql AS $$ SELECT said(call) FROM definitions WHERE position = nth $$;
CREATE FUNCTION rehearse() RETURNS text LANGUAGE plpgsql AS $$
DECLARE answers text;
BEGIN
    SELECT string_agg(say(position), ' ' ORDER BY position) INTO answers FROM definitions;
    INSERT INTO deals (id, value) VALUES ('00000000-0000-0000-0000-000000000001', 2e6);
    RAISE EXCEPTION USING MESSAGE = answers;
EXCEPTION WHEN raise_exception THEN
    RETURN SQLERRM;
END $$;
CREATE FUNCTION refuses(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text;
BEGIN
    EXECUTE 'SELECT ' || definition;
    RETURN fail(definition || ' is refused');
EXCEPTION WHEN OTHERS THEN
    message := SQLERRM;
    RETURN ok(SQLSTATE <> 'XX000', 'refused: ' || message);
END $$;

-- rolled back, all of it together
SELECT everything() AS before \gset
SELECT is(rehearse(), rtrim(repeat('created ', 13)), 'a rehearsal says what would be');
SELECT is(everything(), :'before', 'and leaves nothing');
INSERT INTO deals (id) VALUES ('00000000-0000-0000-0000-000000000002');
SELECT is((SELECT count(*) FROM deals), 1::bigint, 'not even for this session, whose next row is captured by nobody');
TRUNCATE deals;

-- said, and said again
SELECT is(say(position), 'created', 'created: ' || split_part(btrim(call), '(', 1) || ' ' || position) FROM definitions ORDER BY position;
SELECT everything() AS before \gset
SELECT is(say(position), 'unchanged', 'unchanged: ' || split_part(btrim(call), '(', 1) || ' ' || position) FROM definitions ORDER BY position;
SELECT is(everything(), :'before', 'unchanged means that nothing changed');
SELECT verified('deal');

-- … in other words
SELECT is(define_transition('deal', '{new,offered}', 'lost', after => '30 days 0 hours', condition => 'deal.value < 1000'), 'unchanged', 'an array or its text, an interval in other words');
SELECT is(define_workflow('deal', 'by hand', steps => steps(steps(exit()), NULL)), 'unchanged', 'steps among steps');
SELECT is(define_event_source('deal', 'scenario.deal_log', subject_column => 'deal', name_column => 'what', time_column => 'at', enroll_within => '72 hours'), 'replaced', 'three days are not 72 hours');
SELECT is(say(2), 'replaced', 'back again');

-- refused: nothing is left
SELECT everything() AS before \gset
SELECT refuses($$ define_lifecycle('deal2', 'deals', stages => '{a,b}', timezone => 'deal2.nozone') $$);
SELECT refuses($$ define_lifecycle('deal2', 'deals', stages => '{a,b,a}') $$);
SELECT refuses($$ define_lifecycle('deal2', 'deals', stages => '{a,b}', schema => 'deal state') $$);
SELECT refuses($$ define_lifecycle('deal', 'deals', stages => '{new,won}') $$);
SELECT refuses($$ define_event_source('deal', 'quotes', subject_column => 'deal', event_name => 'x', time_column => 'at', name => 'y', becomes => 'event.nothing') $$);
SELECT refuses($$ define_transition('deal', 'new', 'won', on_event => 'offer', condition => 'deal.value = ''x''::nothing') $$);
SELECT refuses($$ define_template('deal', 'it''s "new"', body => '{{ deal.nothing }}') $$);
SELECT refuses($$ define_workflow('deal', 'follow up', state => 'live', steps => steps(delay('1 day'), send('email', 'nothing'))) $$);
SELECT refuses($$ define_workflow('deal', 'follow up', state => 'live', steps => steps(branch('true', yes => branch('deal.nothing')))) $$);
SELECT refuses($$ drop_event_source('deal', 'deal_log') $$);
SELECT refuses($$ retire_stage('deal', 'lost') $$);
SELECT is(everything(), :'before', 'what is refused leaves nothing');

-- dropped
SELECT drop_lifecycle('deal');
SELECT is_empty($$ SELECT FROM lifecycle.lifecycles WHERE name = 'deal' UNION ALL SELECT FROM lifecycle.stages WHERE lifecycle = 'deal' UNION ALL SELECT FROM lifecycle.event_sources WHERE lifecycle = 'deal'
    UNION ALL SELECT FROM lifecycle.transition_rules WHERE lifecycle = 'deal' UNION ALL SELECT FROM lifecycle.workflows WHERE lifecycle = 'deal' UNION ALL SELECT FROM lifecycle.workflow_versions WHERE lifecycle = 'deal'
    UNION ALL SELECT FROM lifecycle.workflow_steps WHERE lifecycle = 'deal' UNION ALL SELECT FROM lifecycle.templates WHERE lifecycle = 'deal' UNION ALL SELECT FROM lifecycle.workflow_triggers WHERE lifecycle = 'deal' $$,
    'a dropped lifecycle takes its definitions along');
SELECT hasnt_schema('deal state', 'its schema');
SELECT is_empty($$ SELECT FROM pg_trigger WHERE tgrelid IN ('deals'::regclass, 'deal_log'::regclass, 'quotes'::regclass) AND NOT tgisinternal $$, 'and its triggers');
SELECT lives_ok($$ INSERT INTO deals (id) VALUES ('00000000-0000-0000-0000-000000000003') $$, 'its table is as it was');
SELECT is(say(1), 'created', 'and may have a lifecycle again');
SELECT is((SELECT enrolls FROM lifecycle.lifecycles WHERE name = 'deal'), false, 'which enrolls nobody, since there are rows');
SELECT verified('deal');
SELECT verified();
-- the names of rules that were given none follow the stages
CREATE TABLE trips (id int PRIMARY KEY, start date, go boolean);
SELECT define_lifecycle('trip', 'trips', stages => '{planned,booked,over}');
CREATE FUNCTION define_trips(booked text) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ',
    define_transition('trip', 'planned', booked, condition => 'trip.go'),
    define_transition('trip', ARRAY['planned', booked], 'over', on_date => 'trip.start'),
    define_transition('trip', booked, 'over', after => '1 year', name => 'booked for long')) $$;
SELECT is(define_trips('booked'), 'created created created', 'rules');
SELECT rename_stage('trip', 'booked', 'sold');
SELECT is((SELECT string_agg(name, '; ' ORDER BY name COLLATE "C") FROM lifecycle.transition_rules WHERE lifecycle = 'trip'),
    'booked for long; planned to sold if condition; planned, sold to over on date', 'names that they were given stay, the others follow');
SELECT is(define_trips('sold'), 'unchanged unchanged unchanged', 'so that the script is still the same');
INSERT INTO trips VALUES (1, '2020-01-01', false), (2, NULL, true);
SELECT run_due('trip');
SELECT is((SELECT string_agg(stage::text, ', ' ORDER BY subject_id) FROM trip.subjects), 'over, sold', 'and they work');
SELECT define_transition('trip', 'over', 'planned', condition => 'false', name => 'planned to booked if condition');
SELECT rename_stage('trip', 'sold', 'booked');
SELECT is((SELECT string_agg(name, '; ' ORDER BY name COLLATE "C") FROM lifecycle.transition_rules WHERE lifecycle = 'trip'),
    'booked for long; planned to booked if condition; planned to sold if condition; planned, booked to over on date', 'a name that is taken is not given twice');
SELECT verified('trip');
SELECT * FROM finish();
ROLLBACK;
