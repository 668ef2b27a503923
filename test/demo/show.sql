-- What a person wants to see.
SET search_path = public, lifecycle;
SET lifecycle.clock = '2026-01-01 00:00+00';
\pset footer off
\pset null ''
\echo '== SELECT * FROM customer.stage_summary'
SELECT * FROM customer.stage_summary;
\echo '== SELECT * FROM customer.transition_matrix'
SELECT * FROM customer.transition_matrix;
\echo '== SELECT * FROM funnel(''customer'', ''{awareness,consideration,conversion,retention}'', within => ''90 days'')'
SELECT * FROM funnel('customer', '{awareness,consideration,conversion,retention}', within => '90 days');
\echo '== SELECT * FROM customer.workflow_summary'
\x on
SELECT * FROM customer.workflow_summary;
\x off
\echo '== SELECT * FROM explain(''customer'', …): one customer'
SELECT subject_id AS shown FROM customer.transitions WHERE to_stage = 'inactive' GROUP BY subject_id ORDER BY count(*) DESC, subject_id LIMIT 1 \gset
SELECT * FROM explain('customer', :'shown');
\echo '== a message'
\x on
SELECT created_at, channel, address, subject_line, body, status, idempotency_key FROM customer.messages WHERE subject_id = :shown ORDER BY id LIMIT 1;
\x off
\echo '== SELECT * FROM verify(''customer''): violations of invariants'
SELECT count(*) AS violations FROM verify('customer');
