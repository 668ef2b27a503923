-- An online shop: 20,000 customers and what they did in the year 2025, the same on every machine: chance(a, b) is a hash, not random().
CREATE TABLE customers (
    id         bigint PRIMARY KEY,
    email      text,
    first_name text,
    plan       text NOT NULL DEFAULT 'free',
    timezone   text NOT NULL DEFAULT 'UTC',
    created_at timestamptz NOT NULL
);
CREATE TABLE events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers ON DELETE CASCADE,
    name        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    properties  jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON events (customer_id, occurred_at);

-- What will happen, waiting for its day.
CREATE SCHEMA script;
CREATE FUNCTION script.chance(a bigint, b text) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (('x' || substr(md5(a || b || :'seed'), 1, 8))::bit(32)::bigint & 4294967295) / 4294967296.0;

CREATE TABLE script.customers AS
SELECT i AS id, 'customer' || i || '@example.com' AS email,
       CASE WHEN script.chance(i, 'named') < 0.9 THEN (ARRAY['Ada','Grace','Edsger','Barbara','Alan','Frances','Donald','Margaret'])[1 + (i % 8)] END AS first_name,
       (ARRAY['UTC','Europe/Berlin','America/New_York','Asia/Tokyo'])[1 + (i % 4)] AS timezone,
       timestamptz '2025-01-01 00:00+00' + script.chance(i, 'joined') * interval '330 days' AS created_at,
       script.chance(i, 'loyalty') AS loyalty
  FROM generate_series(1, 20000) i;

CREATE TABLE script.events AS
-- everybody looks around
SELECT c.id AS customer_id, 'login' AS name, c.created_at + script.chance(c.id, 'login' || k) * interval '200 days' AS occurred_at, '{}'::jsonb AS properties
  FROM script.customers c, generate_series(1, 12) k
UNION ALL
SELECT c.id, 'page_view', c.created_at + script.chance(c.id, 'view' || k) * interval '300 days', jsonb_build_object('page', '/p/' || (c.id + k) % 500)
  FROM script.customers c, generate_series(1, 8) k
UNION ALL
-- some sign up, some of them buy, the loyal ones again and again
SELECT c.id, 'newsletter_signup', c.created_at + script.chance(c.id, 'signup') * interval '10 days', '{}'
  FROM script.customers c WHERE script.chance(c.id, 'signs') < 0.6
UNION ALL
SELECT c.id, 'purchase', c.created_at + (k * (10 + 60 * script.chance(c.id, 'pace')) + 5 * script.chance(c.id, 'buy' || k)) * interval '1 day',
       jsonb_build_object('amount', round((10 + 90 * script.chance(c.id, 'amount' || k))::numeric, 2) || ' EUR')
  FROM script.customers c, generate_series(1, 8) k
 WHERE c.loyalty > 0.5 AND k <= 1 + 14 * (c.loyalty - 0.5)
UNION ALL
SELECT c.id, 'activated', c.created_at + (15 + 60 * script.chance(c.id, 'pace')) * interval '1 day' + script.chance(c.id, 'active') * interval '20 days', '{}'
  FROM script.customers c WHERE c.loyalty > 0.5 AND script.chance(c.id, 'activates') < 0.7
UNION ALL
SELECT c.id, 'referral', c.created_at + (40 + 200 * script.chance(c.id, 'refers')) * interval '1 day', '{}'
  FROM script.customers c WHERE c.loyalty > 0.8;
DELETE FROM script.events WHERE occurred_at >= '2026-01-01 00:00+00';
CREATE INDEX ON script.events (occurred_at);
CREATE INDEX ON script.customers (created_at);
-- Not the empty tables: the check of the foreign key, planned once in the session, would go by their size and read all customers for each event.
ANALYZE script.customers, script.events;
