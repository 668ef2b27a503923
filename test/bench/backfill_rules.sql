-- Begins again: the lifecycle whose rules history is replayed through.
SELECT lifecycle.drop_lifecycle(name) FROM lifecycle.lifecycles;
SELECT lifecycle.define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,inactive}');
SELECT lifecycle.define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
SELECT lifecycle.define_transition('customer', 'awareness', 'consideration', on_event => 'newsletter_signup');
SELECT lifecycle.define_transition('customer', '{awareness,consideration}', 'conversion', on_event => 'purchase');
SELECT lifecycle.define_transition('customer', '{conversion,inactive}', 'retention', on_event => 'purchase');
SELECT lifecycle.define_transition('customer', '{conversion,retention}', 'inactive', on_event => 'refund');
