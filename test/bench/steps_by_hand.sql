-- The competitor of figure 4: the wake time is an indexed column of the enrollment, a batch is claimed as an array of ctids, and each wake-up
-- writes the same activity row and the same message, into tables with the same indexes. One backend, SQL only, a commit for each batch.
CREATE SCHEMA hand;
CREATE TABLE hand.enrollments (
    id         bigint NOT NULL,
    subject_id bigint NOT NULL,
    version_id integer NOT NULL,
    version    integer NOT NULL,
    workflow   text NOT NULL,
    entered_at timestamptz NOT NULL,
    step       integer NOT NULL,
    wake_at    timestamptz NOT NULL,
    PRIMARY KEY (subject_id, id)
) WITH (fillfactor = 90);
CREATE INDEX ON hand.enrollments (wake_at);
CALL bench.copy_table('customer.activity', 'hand.activity');
CALL bench.copy_table('customer.messages', 'hand.messages');

CREATE PROCEDURE bench.arm_by_hand(n bigint)
    LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE hand.enrollments, hand.activity, hand.messages;
    CALL bench.load('hand.enrollments', format($arm$
        INSERT INTO hand.enrollments
        SELECT id, subject_id, version_id, version, workflow, entered_at, 1, now() - bench.draw(id, 1, 3600000000) * interval '1 us'
          FROM customer.enrollments WHERE workflow = 'one' LIMIT %s $arm$, n));
END $$;

CREATE PROCEDURE hand.run(batch integer)
    LANGUAGE plpgsql AS $$
DECLARE
    claimed tid[];
    low_water timestamptz := '-infinity';
BEGIN
    LOOP
        SELECT array_agg(ctid), max(wake_at) INTO claimed, low_water
          FROM (SELECT ctid, wake_at FROM hand.enrollments
                 WHERE wake_at >= low_water AND wake_at <= now() ORDER BY wake_at LIMIT batch FOR UPDATE SKIP LOCKED) AS due;
        EXIT WHEN claimed IS NULL;
        WITH woken AS (
            UPDATE hand.enrollments SET wake_at = now() + interval '30 days', step = 3
             WHERE ctid = ANY (claimed)
            RETURNING id, subject_id, version_id, version, workflow
        ), recorded AS (
            INSERT INTO hand.activity (subject_id, enrollment_id, version_id, step, waited, at, outcome)
            SELECT subject_id, id, version_id, 2, 1, now(), 'sent' FROM woken
        )
        INSERT INTO hand.messages (subject_id, enrollment_id, version, step, workflow, template, channel, address, subject_line, body,
                                   status, idempotency_key, created_at)
        SELECT w.subject_id, w.id, w.version, 2, w.workflow, 'welcome', 'email', c.email,
               'Welcome, ' || coalesce(c.first_name, 'friend'),
               'Hello ' || c.first_name || ', thank you for being with us on the ' || c.plan || ' plan.',
               'queued', 'customer/' || w.id || '/2/' || to_hex(hashtextextended(c.email, 0)), now()
          FROM woken w JOIN customers c ON c.id = w.subject_id;
        COMMIT;
    END LOOP;
END $$;
