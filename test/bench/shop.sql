-- What all benches share: deterministic draws, and loading big tables without their indexes.
CREATE SCHEMA bench;

-- The i-th draw of a series, from 0 to n - 1.
CREATE FUNCTION bench.draw(i bigint, series integer, n bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashint8extended(i, series) & 9223372036854775807) % n;

-- Fills a table without its indexes and makes these again afterwards, as pg_restore would.
CREATE PROCEDURE bench.load(target regclass, statement text)
    LANGUAGE plpgsql AS $$
DECLARE
    redo text[];
    undo text[];
    command text;
BEGIN
    SELECT array_agg(CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                          ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, c.conname, pg_get_constraintdef(c.oid)) END),
           array_agg(CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
                          ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', target, c.conname) END)
      INTO redo, undo
      FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
     WHERE i.indrelid = target;
    FOREACH command IN ARRAY coalesce(undo, '{}') LOOP
        EXECUTE command;
    END LOOP;
    EXECUTE statement;
    FOREACH command IN ARRAY coalesce(redo, '{}') LOOP
        EXECUTE command;
    END LOOP;
END $$;

-- The same table once more, with its indexes and its storage parameters, as somebody would make it by hand.
CREATE PROCEDURE bench.copy_table(source regclass, target text)
    LANGUAGE plpgsql AS $$
DECLARE
    options text := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = source);
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', target, source);
    IF options IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s SET (%s)', target, options);
    END IF;
END $$;

CREATE FUNCTION bench.create_customers(target text, n bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %s (id bigint PRIMARY KEY, email text, first_name text, plan text NOT NULL DEFAULT ''free'',
                        timezone text NOT NULL DEFAULT ''UTC'', created_at timestamptz NOT NULL DEFAULT ''2026-01-01 00:00+00'')', target);
    EXECUTE format('INSERT INTO %s (id, email, first_name)
                    SELECT i, ''customer'' || i || ''@example.com'', (ARRAY[''Ada'', ''Grace'', ''Edsger'', ''Barbara'', ''Donald''])[1 + i %% 5]
                      FROM generate_series(1::bigint, %s) AS i', target, n);
    EXECUTE format('ANALYZE %s', target);
END $$;

CREATE FUNCTION bench.create_events(target text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL, name text NOT NULL,
                        occurred_at timestamptz NOT NULL DEFAULT now(), properties jsonb NOT NULL DEFAULT ''{}'')', target);
    EXECUTE format('CREATE INDEX ON %s (customer_id, occurred_at)', target);
END $$;
