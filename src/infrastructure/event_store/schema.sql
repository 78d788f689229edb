-- The log of all decisions, and the tables that decisions depend on.
-- Only append_v1 and the functions beside it write here, under one lock.

CREATE TABLE log (
    identity   uuid        NOT NULL DEFAULT gen_random_uuid(),
    started_at timestamptz NOT NULL DEFAULT now(),
    made_of    text
);
INSERT INTO log DEFAULT VALUES;
COMMENT ON TABLE log IS 'One row: which log this is. Positions mean nothing in another one.';
COMMENT ON COLUMN log.made_of IS 'A hash of the scripts that made this database.';

-- eventsourcing's own table and column names, plus recorded_at.
CREATE TABLE stored_events (
    originator_id      uuid        NOT NULL,
    originator_version bigint      NOT NULL CHECK (originator_version >= 0),
    topic              text        NOT NULL,
    state              bytea       NOT NULL,
    notification_id    bigserial   NOT NULL,
    recorded_at        timestamptz NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX stored_events_notification_id_idx ON stored_events (notification_id);

-- What an event says; null when it cannot be read. A prompt may hold a NUL, jsonb may not: U+FFFD
-- stands in for it, as in read models.
CREATE FUNCTION event_v1(state bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    said text;
BEGIN
    said := convert_from(state, 'UTF8');
    IF position('\u0000' IN said) > 0 THEN
        said := regexp_replace(said, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g');
    END IF;
    RETURN said::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

CREATE VIEW events AS
SELECT notification_id AS position, recorded_at, originator_id, originator_version, topic,
       event_v1(state) AS event
  FROM stored_events;
COMMENT ON VIEW events IS 'The log for human eyes.';

CREATE TABLE quota_counters (
    user_id     uuid        NOT NULL,
    window_type text        NOT NULL CHECK (
                window_type IN ('daily', 'monthly', 'end-user-daily', 'end-user-monthly')),
    starts_at   timestamptz NOT NULL,
    requests    bigint      NOT NULL DEFAULT 0,
    units       bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, window_type, starts_at)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON COLUMN quota_counters.user_id IS 'Whose window it is: a user''s, or an end user''s (end_user_id).';

CREATE TABLE quota_limits (
    user_id     uuid   NOT NULL,
    window_type text   NOT NULL CHECK (
                window_type IN ('daily', 'monthly', 'end-user-daily', 'end-user-monthly')),
    units       bigint,
    PRIMARY KEY (user_id, window_type)
);
COMMENT ON COLUMN quota_limits.units IS 'Their own limit, null for none; without a row the configured one holds.';

CREATE VIEW rate_limits AS
SELECT user_id, requests AS request_count, starts_at AS window_start, window_type, units
  FROM quota_counters WHERE window_type IN ('daily', 'monthly');

CREATE VIEW end_user_rate_limits AS
SELECT user_id AS end_user_id, requests AS request_count, starts_at AS window_start,
       replace(window_type, 'end-user-', '') AS window_type, units
  FROM quota_counters WHERE window_type IN ('end-user-daily', 'end-user-monthly');

CREATE TABLE idempotency_keys (
    user_id     uuid        NOT NULL,
    key         text        NOT NULL,
    fingerprint text        NOT NULL,
    ref         uuid        NOT NULL,
    expires_at  timestamptz NOT NULL,
    sendings    smallint[], -- of a request that its client sends again by itself: which of them came
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
CREATE INDEX idempotency_keys_sendings_idx ON idempotency_keys (user_id, fingerprint, expires_at)
 WHERE sendings IS NOT NULL;

-- A worker incarnation: open while its row is here and its lease runs.
CREATE TABLE workers (
    incarnation uuid        PRIMARY KEY,
    slots       integer     NOT NULL CHECK (slots >= 0),
    started_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- What is due. Live rows only: closing deletes the row.
CREATE TABLE work (
    kind     text        NOT NULL,
    ref      uuid        NOT NULL,
    user_id  uuid        NOT NULL,
    due_at   timestamptz NOT NULL,
    calls    integer     NOT NULL DEFAULT 0,
    worker   uuid,
    deadline timestamptz NOT NULL,
    PRIMARY KEY (ref, kind)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000);
CREATE INDEX work_waiting_idx ON work (user_id, due_at, ref) WHERE worker IS NULL;
CREATE INDEX work_due_idx ON work (due_at) WHERE worker IS NULL;
CREATE INDEX work_deadline_idx ON work (deadline) WHERE worker IS NULL;
CREATE INDEX work_held_idx ON work (worker) WHERE worker IS NOT NULL;

-- How many generations of a user are in flight, and of all users together: in_flight.sql.
CREATE TABLE in_flight (
    user_id     uuid   PRIMARY KEY,
    generations bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Answered pictures that the image store did not take yet.
CREATE TABLE spool (
    key        text        PRIMARY KEY,
    data       bytea       NOT NULL,
    spooled_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE spool ALTER COLUMN data SET STORAGE EXTERNAL;

-- When API keys and sessions were used last, noted every few seconds.
CREATE TABLE last_uses (
    id      uuid        PRIMARY KEY,
    used_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- How far a duty has read the log. What it does behind its bookmark it may do twice, never not at all.
CREATE TABLE bookmarks (
    name     text   PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
