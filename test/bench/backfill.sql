-- Backfill: history that was there before the lifecycle. Variables: customers, events.
SELECT bench.create_customers('public.customers', :customers);
SELECT bench.create_events('public.events');
SELECT format($$ INSERT INTO events (customer_id, name, occurred_at, properties)
    SELECT 1 + bench.draw(i, 1, %s),
           ('{purchase,purchase,purchase,purchase,newsletter_signup,refund,page_view,page_view,page_view,login,login,login,search,search,
              search,logout,add_to_cart,email_open,share,app_start}'::text[])[1 + bench.draw(i, 2, 20)],
           timestamptz '2026-01-02 00:00+00' + i * interval '1 s', '{"amount": 42}'
      FROM generate_series(1::bigint, %s) AS i $$, :customers, :events) AS statement \gset
CALL bench.load('events', :'statement');
VACUUM (FREEZE, ANALYZE) customers, events;

-- What the rules of backfill_rules.sql come to, in one pass over a window: without a purchase a sign-up counts, else the last of purchase and
-- refund, refunds before the first purchase not counting; a customer's second purchase is retention.
CREATE VIEW bench.last_stage AS
SELECT customer_id,
       CASE WHEN purchases = 0 THEN CASE WHEN signups > 0 THEN 'consideration' ELSE 'awareness' END
            WHEN last_refund > last_purchase THEN 'inactive'
            WHEN purchases > 1 THEN 'retention'
            ELSE 'conversion' END AS stage
  FROM (SELECT customer_id,
               count(*) FILTER (WHERE name = 'purchase') OVER w AS purchases,
               count(*) FILTER (WHERE name = 'newsletter_signup') OVER w AS signups,
               max(occurred_at) FILTER (WHERE name = 'purchase') OVER w AS last_purchase,
               max(occurred_at) FILTER (WHERE name = 'refund') OVER w AS last_refund,
               lead(id) OVER w IS NULL AS is_last
          FROM events
         WHERE name IN ('purchase', 'newsletter_signup', 'refund')
        WINDOW w AS (PARTITION BY customer_id ORDER BY occurred_at, id)) AS history
 WHERE is_last;
