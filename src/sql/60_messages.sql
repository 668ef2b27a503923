-- Messages for applications that send them themselves. These functions need the rights of an ordinary query: SELECT and UPDATE on the lifecycle's table
-- of messages, and USAGE on its schema.

CREATE FUNCTION lifecycle.claim_messages(
    lifecycle    text,
    channel      text     DEFAULT NULL,
    max_messages integer  DEFAULT 100,
    lease        interval DEFAULT '5 minutes'
) RETURNS TABLE (
    id              bigint,
    token           uuid,
    subject_id      text,
    workflow        text,
    version         integer,
    step            integer,
    template        text,
    channel         text,
    address         text,
    subject_line    text,
    body            text,
    html_body       text,
    idempotency_key text,
    attempts        smallint,
    created_at      timestamptz,
    claimed_until   timestamptz
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_claim_messages';
COMMENT ON FUNCTION lifecycle.claim_messages(text, text, integer, interval) IS
'Takes messages that are to be sent, the oldest first, and gives them with a token to whoever calls: nobody else gets them before the lease is over. Finish each with lifecycle.finish_message.
channel: only of this one; NULL: of all. max_messages: 1 to 100,000. lease: how long the caller may take; a message that is not finished by then is given out again, so send with idempotency_key.
Messages that somebody else is claiming are passed over, without waiting. While everything is paused it gives none, and on a copy of the database, until lifecycle.resume(), and says so. Errors: a lifecycle that is not defined, an empty lease, no right to read or change the messages.';

CREATE FUNCTION lifecycle.finish_message(
    lifecycle text,
    message   bigint,
    token     uuid,
    outcome   text DEFAULT 'sent',
    error     text DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_finish_message';
COMMENT ON FUNCTION lifecycle.finish_message(text, bigint, uuid, text, text) IS
'Records what became of a claimed message. outcome: sent; failed (for good); retry (again later: after 30 seconds, then twice as long each time, 6 hours at most; lifecycle.max_attempts times). error: what went wrong, kept in last_error.
Returns the status that the message has now: sent, failed or queued. Errors: LC005 when the message is not claimed with this token (any more); an unknown outcome.';
