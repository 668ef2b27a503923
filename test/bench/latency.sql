-- Latency: an event moves its customer into a stage whose workflow sends a message at once. Variable: customers.
SELECT bench.create_events('public.events'), bench.create_events('bench.bare');
SELECT bench.create_customers('public.customers', :customers);
SELECT lifecycle.define_lifecycle('customer', 'customers', stages => '{awareness,conversion}');
INSERT INTO customer.subjects (subject_id, stage, seq, since) SELECT id, 'awareness', 0, created_at FROM customers;
SELECT lifecycle.define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
SELECT lifecycle.define_transition('customer', 'awareness', 'conversion', on_event => 'purchase');
SELECT lifecycle.define_template('customer', 'welcome', subject_line => 'Welcome, {{ customer.first_name | default: "friend" }}',
    body => 'Thank you for your order of {{ event.properties.amount }}.');
SELECT lifecycle.define_workflow('customer', 'onboarding', state => 'live', entry => lifecycle.on_stage('conversion'),
    steps => lifecycle.steps(lifecycle.send('email', 'welcome')));
SELECT lifecycle.waive_backfill('customer');
CREATE SEQUENCE bench.next_customer;
VACUUM ANALYZE customers, customer.subjects;
