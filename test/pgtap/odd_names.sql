-- Odd names: everything that can be named is called by all the characters that somebody might forget to quote, and is as long as the server allows;
-- what differs only at the end of long names is kept apart.
\ir shop.psql
SELECT plan(81);

-- begin, filled up with letters to 63 bytes, and what comes last
CREATE FUNCTION long(begin text, last text DEFAULT '') RETURNS text LANGUAGE sql AS $$
    SELECT begin || repeat('z', 63 - octet_length(begin) - octet_length(last)) || last $$;
-- A string of Liquid has no escapes, so what templates read has one kind of quotes only.
SELECT long($$My "shop" \ 100%s %1$I %%L {{Ü}} -- /* $$) AS lc, long($$My "shop" \ 100%s %1$I %%L {{Ü}} -- /* $$, $$'$$) AS other_lc,
       long($$Sch"em'a \ 100%s %2$L É $body$ $$) AS schema,
       long($$Cust"om'ers \ 100%s %I Ö $$) AS shoppers,
       long($$I"d's \ 100%s %L ß $$) AS key,
       long($$Ma"il \ 100%s %1$I é $$) AS mail,
       long($$Na'me \ 100%s %2$L ñ $$) AS first,
       long($$Zo"ne's \ 100%s ø $$) AS zone,
       long($$Pla"n's \ 100%s %s %I å $$) AS plan, long($$Pla"n's \ 100%s %s %I å $$, '2') AS plan2 \gset
SELECT long($$Even"t's \ 100%s %1$I ç $$, '1') AS table1, long($$Even"t's \ 100%s %1$I ç $$, '2') AS table2,
       long($$Sour"ce's \ 100%s %1$I č $$, '1') AS source1, long($$Sour"ce's \ 100%s %1$I č $$, '2') AS source2,
       long($$Wh"o's \ 100%s %L ú $$) AS who, long($$Wh"at's \ 100%s %L ì $$) AS what, long($$Wh"en's \ 100%s %L ò $$) AS when,
       $$Bought "it's" \ 100%s of {{ it }}, ünd more of it than anybody could put into a name of 63 bytes$$ AS bought, $$Pa"id's \ $$ AS paid, $$Sto"p's % $$ AS stop \gset
SELECT long($$Sta"ge's \ 100%s %L ō $$, '1') AS stage1, long($$Sta"ge's \ 100%s %L ō $$, '2') AS stage2, long($$Sta"ge's \ 100%s %L ō $$, '3') AS stage3,
       long($$Sta"ge's \ 100%s %L ō $$, '4') AS stage4, long($$Sta"ge's \ 100%s %L ō $$, '5') AS stage5,
       long($$Ru"le's \ 100%s %1$I ī $$, '1') AS rule1, long($$Ru"le's \ 100%s %1$I ī $$, '2') AS rule2, long($$Ru"le's \ 100%s %1$I ī $$, '3') AS rule3,
       long($$Work"flow's \ 100%s %I ķ $$, '1') AS workflow1, long($$Work"flow's \ 100%s %I ķ $$, '2') AS workflow2,
       long($$La"bel's \ 100%s %I ļ $$, '1') AS label1, long($$La"bel's \ 100%s %I ļ $$, '2') AS label2, long($$La"bel's \ 100%s %I ļ $$, '3') AS label3,
       long($$Temp"late's \ 100%s %I ĺ $$) AS template, $$Rea"son's \ 100%s %I $$ AS reason, $$A"da's \ 100%s % é$$ AS ada, $$B"ob's \ 100%s % é$$ AS bob \gset
SELECT is((SELECT array_agg(DISTINCT octet_length(n)) FROM unnest(ARRAY[:'lc', :'other_lc', :'schema', :'shoppers', :'key', :'mail', :'first', :'zone', :'plan', :'plan2', :'table1',
    :'table2', :'source1', :'source2', :'who', :'what', :'when', :'stage1', :'stage5', :'rule1', :'rule3', :'workflow1', :'workflow2', :'label1', :'label3', :'template']) n),
    ARRAY[63], 'all names have 63 bytes');

-- definitions
CREATE TABLE :"shoppers" (:"key" text PRIMARY KEY, :"mail" text, :"first" text, :"zone" text, :"plan" text, :"plan2" int);
CREATE TABLE :"table1" (:"who" text, :"what" text, :"when" timestamptz, :"plan" text, :"plan2" int);
CREATE TABLE :"table2" (LIKE :"table1");
CREATE TABLE log (who text, what text);
SELECT is(define_lifecycle(:'lc', quote_ident(:'shoppers')::regclass, stages => ARRAY[:'stage1', :'stage2', :'stage3', :'stage4'], schema => :'schema', simulated => true,
    timezone => format('%I.%I', :'lc', :'zone'), phases => jsonb_build_object(:'stage1', :'reason')), 'created', 'a lifecycle');
SELECT is(define_lifecycle(:'other_lc', quote_ident(:'shoppers')::regclass, stages => ARRAY[:'stage1', :'stage2'], simulated => true), 'created', 'another one of the same table, with almost the same name');
SELECT is(define_event_source(:'lc', quote_ident(:'table1')::regclass, subject_column => :'who', name_column => :'what', time_column => :'when'), 'created', 'an event source');
SELECT is(define_event_source(:'lc', quote_ident(:'table2')::regclass, subject_column => :'who', name_column => :'what', time_column => :'when'), 'created', 'one of a table with almost the same name');
SELECT is(define_event_source(:'lc', quote_ident(:'table2')::regclass, subject_column => :'who', event_name => :'paid', time_column => :'when',
    becomes => format('event.%I > 0', :'plan2'), name => :'source1'), 'created', 'one with a condition on a table that is one already');
SELECT is(define_event_source(:'lc', quote_ident(:'table2')::regclass, subject_column => :'who', event_name => :'stop', time_column => :'when',
    becomes => format('event.%I < 0', :'plan2'), name => :'source2'), 'created', 'and another one of almost the same name');
SELECT is(define_event_source(:'other_lc', quote_ident(:'table1')::regclass, subject_column => :'who', name_column => :'what', time_column => :'when'), 'created', 'one for the other lifecycle');
SELECT is(define_transition(:'lc', ARRAY[:'stage1', :'stage4'], :'stage2', on_event => :'bought', source => :'table1', name => :'rule1',
    condition => format($$ %1$I.%2$I = event.%2$I AND event.%3$I = 1 $$, :'lc', :'plan', :'plan2')), 'created', 'a rule');
SELECT is(define_transition(:'lc', ARRAY[:'stage1', :'stage4'], :'stage3', on_event => :'bought', name => :'rule2',
    condition => format($$ %1$I.%2$I = event.%2$I AND event.%3$I = 2 AND EXISTS (SELECT FROM %4$I e WHERE e.%5$I = %1$I.%6$I) $$, :'lc', :'plan', :'plan2', :'table2', :'who', :'key')), 'created', 'one with almost the same name');
SELECT is(define_transition(:'lc', :'stage3', :'stage4', without_event => :'bought', after => '10 days', name => :'rule3'), 'created', 'one that waits');
SELECT is(define_transition(:'lc', :'stage3', :'stage2', on_event => :'paid', source => :'source1'), 'created', 'one whose name is made of all that');
SELECT is(define_transition(:'other_lc', :'stage1', :'stage2', on_event => :'bought', name => :'rule1'), 'created', 'one of the other lifecycle');
SELECT is(define_template(:'lc', :'template', subject_line => format($$ {{ ['%s']["%s"] }} $$, :'lc', :'first'),
    body => format($$ {{ ['%s']['%s'] | upcase }} {{ subject.stage }} {{ enrollment.workflow }} {{ event["%s"] | default: '-' }} $$, :'lc', :'mail', :'first'),
    html_body => format($$ <p>{{ subject.stage }} {{ ['%s']["%s"] }} $$, :'lc', :'first')), 'created', 'a template');
SELECT is(define_workflow(:'lc', :'workflow1', state => 'live', entry => triggers(on_stage(:'stage2'), on_event(:'bought', source => :'table2')),
    exit => on_event(:'stop', source => :'source2'), goal => goal(on_event(:'paid', format('event.%I > 1', :'plan2')), within => '14 days'),
    steps => steps(
        send(:'mail', :'template', label => :'label1'),
        delay('2 days', label => :'label2'),
        branch(format($$ %1$I.%2$I LIKE '%%100\%%s%%' AND subject.stage = %3$L $$, :'lc', :'key', :'stage2'), label => :'label3',
            yes => run_sql(format($$ INSERT INTO log SELECT %1$I.%2$I, enrollment.workflow $$, :'lc', :'key')),
            no => exit('no')),
        set_stage(:'stage4', only_if => format($$ %I.%I IS NOT NULL $$, :'lc', :'plan')),
        exit(:'reason'))), 'created', 'a workflow');
SELECT is(define_workflow(:'lc', :'workflow2', state => 'live', entry => on_stage(:'stage3'), exit => on_stage(:'stage4'), steps => delay('20 days')), 'created', 'one with almost the same name');
SELECT is((SELECT count(DISTINCT (tgrelid, tgname)) || ' ' || count(*) || ' ' || max(octet_length(tgname)) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE p.pronamespace = 'lifecycle'::regnamespace AND tgrelid IN (quote_ident(:'shoppers')::regclass, quote_ident(:'table1')::regclass, quote_ident(:'table2')::regclass)),
          '18 18 63', 'triggers for both lifecycles and all sources'); -- 2 * 4 on subjects, 2 on each of five sources
SELECT is(define_lifecycle(:'lc', quote_ident(:'shoppers')::regclass, stages => ARRAY[:'stage1', :'stage2', :'stage3', :'stage4'], schema => :'schema', simulated => true,
    timezone => format('%I.%I', :'lc', :'zone'), phases => jsonb_build_object(:'stage1', :'reason')), 'unchanged', 'the same lifecycle again');
SELECT is(define_event_source(:'lc', quote_ident(:'table2')::regclass, subject_column => :'who', event_name => :'stop', time_column => :'when',
    becomes => format('event.%I < 0', :'plan2'), name => :'source2'), 'unchanged', '… the same source');
SELECT is(define_transition(:'lc', ARRAY[:'stage1', :'stage4'], :'stage2', on_event => :'bought', source => :'table1', name => :'rule1',
    condition => format($$ %1$I.%2$I = event.%2$I AND event.%3$I = 1 $$, :'lc', :'plan', :'plan2')), 'unchanged', '… the same rule');

-- rows: one, several, by COPY
CREATE FUNCTION way(who text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE way text; BEGIN
    EXECUTE format('SELECT string_agg(right(to_stage::text, 1) || coalesce(right(rule, 1), ''''), '' '' ORDER BY seq) FROM %I.transitions WHERE subject_id = $1', (SELECT schema FROM lifecycles WHERE name LIKE 'My%z')) INTO way USING who;
    RETURN way; END $$;
INSERT INTO :"shoppers" VALUES (:'ada', :'mail', :'first', 'Europe/Berlin', :'plan', 1);
INSERT INTO :"shoppers" SELECT :'bob' || g, :'mail' || g, NULL, NULL, :'plan', g FROM generate_series(1, 3) g;
INSERT INTO :"table1" VALUES (:'ada', :'bought', '2026-01-01 09:00+00', :'plan', 1);
SELECT is(way(:'ada'), '1 21', 'one event');
INSERT INTO :"table2" (:"who", :"what") VALUES (:'bob' || 1, 'nothing'), (:'bob' || 2, 'nothing');
INSERT INTO :"table1" SELECT :'bob' || g, :'bought', '2026-01-01 09:00+00', :'plan', 2 FROM generate_series(1, 3) g;
SELECT is(way(:'bob' || 1) || ', ' || way(:'bob' || 2) || ', ' || way(:'bob' || 3), '1 32, 1 32, 1', 'several');
COPY :"table2" FROM stdin;
B"ob's \\ 100%s % é3	Bought "it's" \\ 100%s of {{ it }}, ünd more of it than anybody could put into a name of 63 bytes	2026-01-01 09:00+00	x	\N
\.
SELECT is(way(:'bob' || 3), '1', 'by COPY, in a source that no rule means');
SELECT is((SELECT array_agg(right(workflow, 1) || ' ' || right(subject_id, 1) ORDER BY id) FROM :"schema".enrollments), '{"1 é","2 1","2 2","1 3"}', '… but a workflow');
SELECT is((SELECT string_agg(stage::text, ', ' ORDER BY subject_id) FROM :"other_lc".subjects), concat_ws(', ', :'stage2', :'stage2', :'stage2', :'stage2'), 'the other lifecycle has its own');
SELECT is(move(:'lc', :'bob' || 3, :'stage3', reason => :'reason'), true, 'by hand');
SELECT is((SELECT reason || ': ' || to_stage FROM :"schema".transitions WHERE cause = 'manual'), :'reason' || ': ' || :'stage3', '… with a reason');

-- the workflow
SELECT run_due(:'lc') > 0 AS ran \gset
SELECT is((SELECT concat_ws('|', template, channel, status, address, subject_line, body, html_body) FROM :"schema".messages WHERE subject_id = :'ada'),
    concat_ws('|', :'template', :'mail', 'queued', :'mail', ' ' || :'first' || ' ', ' ' || upper(:'mail') || ' ' || :'stage2' || ' ' || :'workflow1' || ' - ',
        ' <p>' || replace(replace(:'stage2', '"', '&quot;'), '''', '&#39;') || ' ' || replace(:'first', '''', '&#39;') || ' '), 'a message');
SELECT is((SELECT status || ' ' || reason FROM :"schema".messages WHERE subject_id = :'bob' || 3), format($$failed ['%s']["%s"] has no value, and no "default" filter gives it one (line 1, column 2)$$, :'lc', :'first'), 'a value that is missing');
SELECT is((SELECT array_agg(finish_message(:'lc', id, token, 'failed', :'reason')) FROM claim_messages(:'lc', :'mail')), '{failed}', 'a message is claimed and finished');
SELECT is(advance_clock('3 days') > '2026-01-03', true, 'time passes');
SELECT is((SELECT string_agg(who || ': ' || what, ', ') FROM log), :'ada' || ': ' || :'workflow1', 'a branch and a statement');
SELECT is(way(:'ada') || ', ' || (SELECT exit_reason FROM :"schema".enrollments WHERE subject_id = :'ada'), '1 21 41, ' || :'reason', '… a stage that is set and an exit');
SELECT is((SELECT array_agg(st.label ORDER BY a.step) FROM :"schema".activity a JOIN workflow_steps st USING (version_id, step) WHERE a.subject_id = :'ada' AND st.label LIKE 'La"bel%'),
    ARRAY[:'label1', :'label3'], '… steps by their labels');
INSERT INTO :"table2" VALUES (:'bob' || 1, NULL, '2026-01-04 09:00+00', NULL, 2);
SELECT is((SELECT event_name || ': ' || to_stage FROM :"schema".transitions WHERE subject_id = :'bob' || 1 ORDER BY seq DESC LIMIT 1), :'paid' || ': ' || :'stage2', 'an event by a condition');
UPDATE :"table2" SET :"plan2" = -1, :"when" = '2026-01-04 09:00+00' WHERE :"plan2" = 2;
SELECT is((SELECT exit_reason FROM :"schema".enrollments WHERE subject_id = :'bob' || 1 AND workflow = :'workflow1'), 'exit', '… and one that ends a run');
SELECT is(advance_clock('8 days') > '2026-01-12', true, 'time passes');
SELECT is(way(:'bob' || 2), '1 32 43', 'a rule that waits');
SELECT is((SELECT exit_reason FROM :"schema".enrollments WHERE subject_id = :'bob' || 2), 'exit', '… and an exit by a stage');
SELECT isnt(enroll(:'lc', :'workflow2', :'ada'), NULL, 'enrolled by hand');
SELECT is(capture(:'lc', :'table1', (SELECT array_agg(e) FROM :"table1" e WHERE :"who" = :'ada')), 1::bigint, 'captured by hand');
SELECT is(way(:'ada'), '1 21 41 21', '… it counts');

-- reading
SELECT is((SELECT count(*) FROM :"schema".failures), 0::bigint, 'nothing has failed');
SELECT lives_ok(format('SELECT * FROM %I.%I', schemaname, viewname), 'view ' || viewname) FROM pg_views WHERE schemaname = :'schema' ORDER BY viewname;
SELECT is((SELECT string_agg(right(stage::text, 1) || subjects, ' ') FROM :"schema".stage_summary), '10 22 30 42', 'how many are where');
SELECT is((SELECT string_agg(right(what, 1), ' ' ORDER BY n) FROM explain(:'lc', :'ada') WITH ORDINALITY AS e (at, what, detail, n) WHERE what ~ '^(entered stage|moved)'), '1 2 4 2', 'explain tells the moves, in their order');
SELECT is((SELECT count(*) FROM explain(:'lc', :'ada') WHERE (what, detail) = (:'workflow1' || ': ' || :'label2', 'delay 2 days is over') OR detail = format('rule "%s"; event %s', :'rule1', :'bought')), 2::bigint, '… and what caused them');
SELECT pause(:'lc');
SELECT is((SELECT detail FROM status() WHERE lifecycle = :'lc' AND what = 'paused'), 'call lifecycle.resume(' || quote_literal(:'lc') || ')', 'status says what to type');
SELECT resume(:'lc');
SELECT throws_ok(format('SELECT drop_transition(%L, %L)', :'other_lc', :'rule3'), NULL, format('transition "%s" of lifecycle "%s" does not exist', :'rule3', :'other_lc'), 'an error names them');
SELECT is((SELECT string_agg(right(stage, 1) || subjects, ' ') FROM funnel(:'lc', ARRAY[:'stage1', :'stage2', :'stage4'])), '14 22 41', 'a funnel');
SELECT is((SELECT count(*) FROM status() WHERE lifecycle = :'lc' AND what = 'queue depth'), 1::bigint, 'status');
SELECT is((SELECT hits FROM rule_stats WHERE lifecycle = :'lc' AND rule = :'rule2'), 2::bigint, 'what a rule has done');
SELECT verified(:'lc');
SELECT verified(:'other_lc');

-- changes
ALTER TABLE :"shoppers" RENAME :"plan" TO "Oth""er's % \";
ALTER TABLE :"table1" RENAME TO "Oth""er's % \ 1";
ALTER TABLE :"table2" ALTER :"plan2" TYPE bigint, ADD "Oth""er's % \" text DEFAULT 'x';
SELECT is(add_stage(:'lc', :'stage5', after => :'stage2'), 'created', 'a stage more');
SELECT lives_ok(format('SELECT retire_stage(%L, %L)', :'lc', :'stage5'), '… and less');
SELECT lives_ok(format('SELECT rename_stage(%L, %L, %L)', :'lc', :'stage4', 'Oth"er''s % \'), '… and one by another name');
INSERT INTO :"shoppers" VALUES ('new', 'x', 'x', NULL, 'p', 1);
INSERT INTO "Oth""er's % \ 1" VALUES ('new', :'bought', now(:'lc'), 'p', 1);
SELECT is(way('new'), '1 21', 'rules know of it');
SELECT lives_ok(format('CALL backfill(%L)', :'lc'), 'a backfill');
SELECT verified(:'lc');

-- and all of it goes
SELECT lives_ok(format('SELECT drop_workflow(%L, %L)', :'lc', w), 'drop_workflow') FROM unnest(ARRAY[:'workflow1', :'workflow2']) w;
SELECT lives_ok(format('SELECT drop_template(%L, %L)', :'lc', :'template'), 'drop_template');
SELECT lives_ok(format('SELECT drop_transition(%L, %L)', lifecycle, name), 'drop_transition') FROM transition_rules WHERE lifecycle = :'lc' ORDER BY name DESC;
SELECT lives_ok(format('SELECT drop_event_source(%L, %L)', :'lc', s), 'drop_event_source') FROM unnest(ARRAY[:'source1', :'source2', :'table1', :'table2']) s;
SELECT is((SELECT string_agg(proname, ', ') FROM pg_proc WHERE pronamespace = quote_ident(:'schema')::regnamespace), '_timezone of the subject', 'of conditions the lifecycle''s own is left');
SELECT lives_ok(format('SELECT drop_lifecycle(%L)', l), 'drop_lifecycle') FROM unnest(ARRAY[:'lc', :'other_lc']) l;
SELECT is((SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE tgname LIKE 'lifecycle%' AND relname NOT IN ('customers', 'events')), 0::bigint, 'no trigger is left');
SELECT is((SELECT count(*) FROM pg_namespace WHERE nspname IN (:'schema', :'other_lc')), 0::bigint, 'nor a schema');
SELECT * FROM finish();
ROLLBACK;
