-- The lifecycle of the shop's customers: stages, rules, templates and two workflows.
CREATE EXTENSION lifecycle;
SET search_path = public, lifecycle;

SELECT define_lifecycle('customer', on_table => 'customers', timezone => 'customer.timezone', simulated => true);
SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'newsletter_signup');
SELECT define_transition('customer', '{awareness,consideration}', 'conversion', on_event => 'purchase');
SELECT define_transition('customer', 'conversion', 'retention', on_event => 'purchase');
SELECT define_transition('customer', 'retention', 'advocacy', on_event => 'referral');
SELECT define_transition('customer', '{conversion,retention,advocacy}', 'inactive', without_event => 'purchase', after => '60 days');
SELECT define_transition('customer', 'inactive', 'retention', on_event => 'purchase');
SELECT define_transition('customer', 'inactive', 'lost', after => '90 days');

SELECT define_template('customer', 'welcome', subject_line => 'Welcome, {{ customer.first_name | default: "friend" }}',
    body => 'Thank you for your order of {{ event.properties.amount }}.');
SELECT define_template('customer', 'tips', subject_line => 'Three tips', body => 'Hello {{ customer.first_name | default: "friend" }}, here are three tips.');
SELECT define_template('customer', 'come_back', subject_line => 'We kept your seat',
    body => 'Hello {{ customer.first_name | default: "friend" }}, we have not seen you since {{ subject.since | date: "%d %B %Y" }}.');
SELECT define_template('customer', 'voucher', subject_line => '10 % for you', body => 'Your code is BACK-{{ customer.id }}.');

SELECT define_workflow('customer', 'onboarding', state => 'live',
    entry => on_stage('conversion'),
    goal  => goal(on_event('activated'), within => '14 days'),
    steps => steps(
        send('email', 'welcome'),
        delay('2 days'),
        branch($$ EXISTS (SELECT FROM events e WHERE e.customer_id = customer.id
                          AND e.name = 'login' AND e.occurred_at BETWEEN enrollment.entered_at AND lifecycle.now('customer')) $$,
            yes => send('email', 'tips'),
            no  => send('email', 'come_back'))));

SELECT define_workflow('customer', 'win_back', state => 'live', reentry => 'always',
    entry => on_stage('inactive'),
    goal  => goal(on_event('purchase'), within => '60 days', exit => true),
    steps => steps(
        send('email', 'come_back'),
        delay('14 days'),
        send('email', 'voucher'),
        delay('30 days'),
        exit('gave up')));
