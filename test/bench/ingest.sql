-- Ingest: the same events into three tables: bare.events, ours.events (a source of the lifecycle) and hand.events (a trigger by hand).
-- Variables: customers, events.
CREATE SCHEMA bare;
CREATE SCHEMA ours;
CREATE SCHEMA hand;
SELECT bench.create_events(s || '.events') FROM unnest('{bare,ours,hand}'::text[]) AS s;
SELECT bench.create_customers('public.customers', :customers);

-- Every draw is of a name that nobody listens to; in hits each tenth row is a purchase, of a customer who has no other.
CREATE UNLOGGED TABLE bench.unlistened AS
SELECT 1 + bench.draw(i, 1, :customers) AS customer_id,
       ('{page_view,login,search,logout,add_to_cart,email_open,share,app_start}'::text[])[1 + bench.draw(i, 2, 8)] AS name,
       timestamptz '2026-01-02 00:00+00' + i * interval '1 s' AS occurred_at,
       jsonb_build_object('page', '/products/' || bench.draw(i, 3, 1000), 'amount', bench.draw(i, 4, 100)) AS properties
  FROM generate_series(1::bigint, :events) AS i;
CREATE UNLOGGED TABLE bench.hits AS
SELECT CASE WHEN i % 10 = 0 THEN 1 + (i / 10 * 7919) % :customers ELSE customer_id END AS customer_id,
       CASE WHEN i % 10 = 0 THEN 'purchase' ELSE name END AS name, occurred_at, properties
  FROM (SELECT row_number() OVER () AS i, * FROM bench.unlistened) AS numbered;
ANALYZE bench.unlistened, bench.hits;

SELECT lifecycle.define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,inactive}');
SELECT lifecycle.define_event_source('customer', 'ours.events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
-- Every purchase is a transition, whoever makes it; those who enter conversion are enrolled.
SELECT lifecycle.define_transition('customer', 'awareness', 'conversion', on_event => 'purchase', name => 'first');
SELECT lifecycle.define_transition('customer', 'consideration', 'retention', on_event => 'purchase', name => 'second');
SELECT lifecycle.define_transition('customer', 'conversion', 'awareness', on_event => 'purchase', name => 'third');
SELECT lifecycle.define_transition('customer', 'retention', 'consideration', on_event => 'purchase', name => 'fourth');
SELECT lifecycle.define_transition('customer', '{conversion,retention}', 'inactive', on_event => 'refund', name => 'fifth');
SELECT lifecycle.define_template('customer', 'hello', body => 'Hello {{ customer.first_name }}');
SELECT lifecycle.define_workflow('customer', 'onboarding', state => 'live', entry => lifecycle.on_stage('conversion'),
    steps => lifecycle.steps(lifecycle.delay('2 days'), lifecycle.send('email', 'hello')));
SELECT lifecycle.define_workflow('customer', 'win_back', state => 'live', entry => lifecycle.on_stage('inactive'),
    steps => lifecycle.steps(lifecycle.delay('7 days'), lifecycle.send('email', 'hello')));
SELECT lifecycle.define_workflow('customer', 'news', state => 'live', entry => lifecycle.on_event('newsletter_signup'),
    goal => lifecycle.goal(lifecycle.on_event('activated'), within => '14 days'), steps => lifecycle.steps(lifecycle.send('email', 'hello')));
SELECT lifecycle.waive_backfill('customer');
-- What is measured is the insert: the worker does not run.
SELECT lifecycle.pause();

CALL bench.copy_table('customer.subjects', 'hand.subjects');
CALL bench.copy_table('customer.transitions', 'hand.transitions');
CALL bench.copy_table('customer.enrollments', 'hand.enrollments');
CALL bench.copy_table('customer._due', 'hand._due');

-- Back to the start: everybody has entered a stage and nothing else has happened. Those with even keys will be enrolled by a purchase.
CREATE PROCEDURE bench.reset(events text, state text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('TRUNCATE %I.events', events);
    IF state IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('TRUNCATE %1$I.subjects, %1$I.transitions, %1$I.enrollments, %1$I._due', state);
    CALL bench.load(format('%I.subjects', state)::regclass, format(
        'INSERT INTO %I.subjects (subject_id, stage, seq, since)
         SELECT id, CASE id %% 2 WHEN 0 THEN ''awareness'' ELSE ''consideration'' END::customer.stage, 1, created_at FROM customers', state));
    CALL bench.load(format('%I.transitions', state)::regclass, format(
        'INSERT INTO %I.transitions (subject_id, seq, to_stage, at, event_at, cause)
         SELECT subject_id, 1, stage, since, since, ''entry'' FROM %1$I.subjects', state));
END $$;
