-- What the events say of the tables that decisions depend on, where the tables say otherwise, and the
-- mending of that. The rules are the domain's: an event carries the units and windows it takes or gives
-- back, the deadline, the key. Here they are summed and compared. Which events are read, in which
-- version, stands in check.py: a new version of one of them needs its place here.
--
-- Comparing reads one snapshot and locks nothing. Mending takes the append's lock, says again what the
-- events say by then, and writes only what differs.

-- `problem`: missing, unexplained, differs, owner, deadline, worker, late; unknown is a newer release's
-- business, and unreadable nobody can mend.
CREATE TYPE difference_v1 AS (part text, user_id uuid, problem text, place jsonb, found jsonb, expected jsonb);

-- The owner of a generation, of webhooks or of a delivery; null where there is none.
CREATE FUNCTION owner_v1(stream uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (event_v1(state) ->> 'user_id')::uuid FROM stored_events
     WHERE originator_id = stream
       AND topic IN ('generation.requested@1', 'delivery.due@1', 'webhook.opened@1')
$$;

-- Quota ---------------------------------------------------------------------------------------------

-- Whose window it is, of a user's generation for an end user or for none.
CREATE FUNCTION owner_of_window_v1(window_type text, user_id uuid, end_user_id uuid)
RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN window_type LIKE 'end-user-%' THEN end_user_id ELSE user_id END
$$;

-- What each event takes from or gives back to each window.
CREATE VIEW explained_units_v1 AS
SELECT asked.notification_id AS position, owner_of_window_v1(w.type, said.user_id, said.end_user_id) AS user_id,
       w.type AS window_type, w.starts_at, 1 AS requests, said.units
  FROM stored_events asked
 CROSS JOIN LATERAL jsonb_to_record(event_v1(asked.state))
            AS said(user_id uuid, end_user_id uuid, units bigint, windows jsonb)
 CROSS JOIN LATERAL jsonb_to_recordset(said.windows) AS w(type text, starts_at timestamptz)
 WHERE asked.topic = 'generation.requested@1'
UNION ALL
SELECT closing.notification_id, owner_of_window_v1(w.type, said.user_id, said.end_user_id),
       w.type, w.starts_at, 0, -closing.units
  FROM (SELECT originator_id, notification_id, (event_v1(state) ->> 'units_returned')::bigint AS units
          FROM stored_events
         WHERE topic IN ('generation.completed@1', 'generation.failed@1', 'generation.cancelled@1')) closing
  JOIN stored_events asked ON asked.originator_id = closing.originator_id
                          AND asked.topic = 'generation.requested@1'
 CROSS JOIN LATERAL jsonb_to_record(event_v1(asked.state)) AS said(user_id uuid, end_user_id uuid, windows jsonb)
 CROSS JOIN LATERAL jsonb_to_recordset(said.windows) AS w(type text, starts_at timestamptz)
 WHERE closing.units <> 0;

CREATE FUNCTION unit_differences_v1() RETURNS SETOF difference_v1 LANGUAGE sql STABLE AS $$
    SELECT 'quota', user_id,
           CASE WHEN kept.units IS NULL THEN 'missing' WHEN said.units IS NULL THEN 'unexplained' ELSE 'differs' END,
           jsonb_build_object('window_type', window_type, 'starts_at', starts_at),
           CASE WHEN kept.units IS NOT NULL THEN jsonb_build_object('requests', kept.requests, 'units', kept.units) END,
           CASE WHEN said.units IS NOT NULL THEN jsonb_build_object('requests', said.requests, 'units', said.units) END
      FROM quota_counters kept
      FULL JOIN (SELECT user_id, window_type, starts_at, sum(requests)::bigint AS requests, sum(units)::bigint AS units
                   FROM explained_units_v1 GROUP BY user_id, window_type, starts_at) said
     USING (user_id, window_type, starts_at)
     WHERE (kept.requests, kept.units) IS DISTINCT FROM (said.requests, said.units)
$$;

-- What events behind one position and up to another took and gave back.
CREATE FUNCTION units_between_v1(behind bigint, up_to bigint)
RETURNS TABLE (user_id uuid, window_type text, starts_at timestamptz, requests bigint, units bigint)
LANGUAGE plpgsql STABLE
-- By the log's index, whatever the statistics say.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY
    SELECT e.user_id, e.window_type, e.starts_at, sum(e.requests)::bigint, sum(e.units)::bigint
      FROM explained_units_v1 e WHERE e.position > behind AND e.position <= up_to
     GROUP BY e.user_id, e.window_type, e.starts_at;
END $$;

-- Limits --------------------------------------------------------------------------------------------

-- All limits of their own that a user was given at last.
CREATE FUNCTION explained_limits_v1(its_user uuid) RETURNS TABLE (window_type text, units bigint)
LANGUAGE sql STABLE AS $$
    SELECT l.window_type, l.units::bigint
      FROM (SELECT event_v1(state) -> 'limits' AS limits FROM stored_events
             WHERE originator_id = its_user AND topic = 'user.quota_changed@1'
             ORDER BY originator_version DESC LIMIT 1) changed
     CROSS JOIN LATERAL jsonb_each_text(changed.limits) AS l(window_type, units)
$$;

-- Whose limits there are, and whose some may be missing.
CREATE VIEW limit_places_v1 AS
SELECT user_id FROM quota_limits
UNION
SELECT originator_id FROM stored_events WHERE topic = 'user.quota_changed@1';

-- What is wrong with the limits of one user.
CREATE FUNCTION limit_differences_v1(its_user uuid) RETURNS SETOF difference_v1 LANGUAGE sql STABLE AS $$
    SELECT 'limits', its_user,
           CASE WHEN kept.user_id IS NULL THEN 'missing' WHEN NOT coalesce(said.is_there, false) THEN 'unexplained'
                ELSE 'differs' END,
           jsonb_build_object('window_type', window_type),
           CASE WHEN kept.user_id IS NOT NULL THEN jsonb_build_object('units', kept.units) END,
           CASE WHEN said.is_there THEN jsonb_build_object('units', said.units) END
      FROM (SELECT * FROM quota_limits WHERE user_id = its_user) kept
      FULL JOIN (SELECT true AS is_there, * FROM explained_limits_v1(its_user)) said USING (window_type)
     WHERE (kept.user_id IS NOT NULL, kept.units) IS DISTINCT FROM (coalesce(said.is_there, false), said.units)
$$;

-- Work ----------------------------------------------------------------------------------------------

-- The work that may be there for one generation, by kind; `is_needed` where it must be. An open one
-- has work, and so has an ended one with a call whose outcome nobody has recorded. An ended one may
-- have some left to tidy up: when it was cancelled after a call, when an outcome was lost or came
-- late, or when it stored more than it published. A deadline of null may be any.
CREATE FUNCTION explained_work_v1(generation uuid)
RETURNS TABLE (kind text, user_id uuid, deadline timestamptz, is_needed boolean) LANGUAGE sql STABLE AS $$
    WITH trail AS MATERIALIZED (
        SELECT split_part(split_part(topic, '@', 1), '.', 2) AS decision, recorded_at,
               event_v1(state) AS event
          FROM stored_events WHERE originator_id = generation),
    calls AS (
        SELECT coalesce(bool_or(outcomes = 0), false) AS one_is_open,
               coalesce(bool_or(were_unknown > 0), false) AS one_was_unknown, count(*) AS n
          FROM (SELECT count(*) FILTER (WHERE decision <> 'call_started') AS outcomes,
                       count(*) FILTER (WHERE decision IN ('call_lost', 'call_answered_late')) AS were_unknown
                  FROM trail WHERE decision LIKE 'call\_%' GROUP BY event -> 'call') call),
    stored AS (
        SELECT count(DISTINCT image ->> 'key') AS n FROM trail CROSS JOIN jsonb_array_elements(event -> 'images') image
         WHERE decision IN ('call_answered', 'call_answered_late')),
    ended AS (
        SELECT bool_or(decision IN ('completed', 'failed', 'cancelled')) AS it_is,
               bool_or(decision = 'cancelled') AS by_cancelling, bool_or(decision = 'deleted') AS and_deleted,
               coalesce(sum(jsonb_array_length(event -> 'images')) FILTER (WHERE decision = 'completed'), 0) AS published
          FROM trail)
    SELECT work.kind, (asked.event ->> 'user_id')::uuid, work.deadline, work.is_needed
      FROM trail asked CROSS JOIN calls CROSS JOIN stored CROSS JOIN ended
     CROSS JOIN LATERAL (
        SELECT 'generate',
               CASE WHEN NOT ended.it_is
                    THEN asked.recorded_at + make_interval(secs => (asked.event ->> 'deadline_seconds')::float) END,
               NOT ended.it_is OR calls.one_is_open
         WHERE NOT ended.it_is OR calls.one_is_open OR calls.one_was_unknown
            OR ended.by_cancelling AND calls.n > 0 OR stored.n > ended.published
        UNION ALL
        SELECT 'delete', NULL, false WHERE ended.and_deleted) work(kind, deadline, is_needed)
     WHERE asked.decision = 'requested'
$$;

-- Where work is, and where some may be missing: a superset, found without looking into the events.
CREATE VIEW work_places_v1 AS
SELECT kind, ref FROM work
UNION
SELECT 'generate', originator_id FROM stored_events WHERE topic LIKE 'generation.%'
 GROUP BY originator_id
HAVING count(*) FILTER (WHERE topic IN ('generation.completed@1', 'generation.failed@1', 'generation.cancelled@1')) = 0
    OR count(*) FILTER (WHERE topic = 'generation.call_started@1')
       > count(*) FILTER (WHERE topic IN ('generation.call_answered@1', 'generation.call_failed@1', 'generation.call_lost@1'));

-- What is wrong at one such place. Deadlines may differ by what clocks do, and one that has passed is
-- as good as another; nothing waits for long behind its deadline.
CREATE FUNCTION work_differences_v1(its_kind text, its_ref uuid, moment timestamptz)
RETURNS SETOF difference_v1 LANGUAGE sql STABLE AS $$
    SELECT 'work', coalesce(said.user_id, kept.user_id), problem,
           jsonb_build_object('kind', its_kind, 'ref', its_ref),
           CASE WHEN kept.ref IS NOT NULL THEN jsonb_build_object('user_id', kept.user_id,
               'due_at', kept.due_at, 'worker', kept.worker, 'deadline', kept.deadline) END,
           CASE WHEN said.user_id IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
               'user_id', said.user_id, 'deadline', said.deadline)) END
      FROM (SELECT * FROM work w WHERE w.kind = its_kind AND w.ref = its_ref) kept
      FULL JOIN (SELECT * FROM explained_work_v1(its_ref) e WHERE e.kind = its_kind) said USING (kind)
     CROSS JOIN LATERAL (SELECT CASE
           WHEN its_kind NOT IN ('generate', 'delete') THEN 'unknown'
           WHEN kept.ref IS NULL THEN CASE WHEN said.is_needed THEN 'missing' END
           WHEN said.user_id IS NULL THEN 'unexplained'
           WHEN kept.user_id <> said.user_id THEN 'owner'
           WHEN said.deadline IS NOT NULL AND kept.deadline NOT BETWEEN said.deadline - interval '10 s'
                AND greatest(said.deadline, moment) + interval '10 s' THEN 'deadline'
           WHEN kept.worker IS NOT NULL AND NOT worker_is_open_v1(kept.worker) THEN 'worker'
           WHEN kept.due_at > greatest(said.deadline, moment) + interval '10 min' THEN 'late'
           END) AS p(problem)
     WHERE problem IS NOT NULL
$$;

-- In flight -----------------------------------------------------------------------------------------

-- Where a counter is not how much work of generations is open. No row is as good as one of none.
CREATE VIEW in_flight_differences_v1 AS
SELECT 'in-flight' AS part, user_id,
       CASE WHEN kept.user_id IS NULL THEN 'missing' WHEN said.user_id IS NULL THEN 'unexplained' ELSE 'differs' END AS problem,
       jsonb_build_object('whose', CASE WHEN user_id = everybody_v1() THEN 'all' ELSE 'user' END) AS place,
       CASE WHEN kept.user_id IS NOT NULL THEN jsonb_build_object('generations', kept.generations) END AS found,
       CASE WHEN said.user_id IS NOT NULL THEN jsonb_build_object('generations', said.generations) END AS expected
  FROM in_flight kept
  FULL JOIN (SELECT coalesce(w.user_id, everybody_v1()) AS user_id, count(*) AS generations
               FROM work w WHERE w.kind = 'generate'
              GROUP BY GROUPING SETS ((w.user_id), ()) HAVING count(*) > 0) said USING (user_id)
 WHERE coalesce(kept.generations, 0) <> coalesce(said.generations, 0);

-- Idempotency ---------------------------------------------------------------------------------------

-- The keys that events carry, with the row that each once made.
CREATE VIEW explained_keys_v1 AS
SELECT e.notification_id AS position, e.recorded_at,
       coalesce(said.user_id, owner_v1(e.originator_id), said.by) AS user_id,
       k.key, k.fingerprint, e.originator_id AS ref,
       e.recorded_at + make_interval(secs => k.keep_seconds) AS expires_at, k.sending
  FROM stored_events e
 CROSS JOIN LATERAL jsonb_to_record(event_v1(e.state)) AS said(metadata jsonb, user_id uuid, by uuid)
 CROSS JOIN LATERAL jsonb_to_record(said.metadata -> 'idempotency')
            AS k(key text, fingerprint text, keep_seconds double precision, sending smallint)
 WHERE position('"idempotency":{'::bytea IN e.state) > 0;

-- What is wrong with a key's row, given what an event says of it, or none does. A command that found
-- nothing to decide leaves a key without an event: its `ref` explains it. Later sendings that came leave
-- no event either.
CREATE FUNCTION key_problem_v1(kept idempotency_keys, said explained_keys_v1, moment timestamptz)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN kept.key IS NULL THEN 'missing'
                WHEN said.key IS NOT NULL
                THEN CASE WHEN (kept.ref, kept.fingerprint, kept.expires_at)
                               <> (said.ref, said.fingerprint, said.expires_at)
                            OR (said.sending = ANY (kept.sendings)) IS NOT TRUE
                               AND (said.sending IS NOT NULL OR kept.sendings IS NOT NULL) THEN 'differs' END
                WHEN kept.expires_at > moment AND owner_v1(kept.ref) IS DISTINCT FROM kept.user_id
                     AND NOT EXISTS (SELECT FROM stored_events  -- it is no one user's
                                      WHERE originator_id = kept.ref AND topic = 'provider.listed@1')
                THEN 'unexplained' END
$$;

CREATE FUNCTION key_difference_v1(kept idempotency_keys, said explained_keys_v1, problem text)
RETURNS difference_v1 LANGUAGE sql STABLE AS $$
    SELECT 'idempotency', coalesce(said.user_id, kept.user_id), problem,
           jsonb_build_object('key', coalesce(said.key, kept.key), 'ref', coalesce(said.ref, kept.ref)),
           CASE WHEN kept.key IS NOT NULL THEN jsonb_build_object('ref', kept.ref,
               'fingerprint', kept.fingerprint, 'expires_at', kept.expires_at, 'sendings', kept.sendings) END,
           CASE WHEN said.key IS NOT NULL THEN jsonb_build_object('ref', said.ref,
               'fingerprint', said.fingerprint, 'expires_at', said.expires_at, 'sending', said.sending) END
$$;

-- `longest` is how long any key is kept: older events are not looked into.
CREATE FUNCTION key_differences_v1(moment timestamptz, longest interval)
RETURNS SETOF difference_v1 LANGUAGE sql STABLE AS $$
    SELECT (key_difference_v1(kept, said, key_problem_v1(kept, said, moment))).*
      FROM idempotency_keys kept
      FULL JOIN (SELECT DISTINCT ON (e.user_id, e.key) e.* FROM explained_keys_v1 e
                  WHERE e.recorded_at > moment - longest AND e.expires_at > moment
                  ORDER BY e.user_id, e.key, e.position DESC) said
             ON said.user_id = kept.user_id AND said.key = kept.key
     WHERE key_problem_v1(kept, said, moment) IS NOT NULL
$$;

-- Mending -------------------------------------------------------------------------------------------

-- Counters that were seen to be wrong, `expected` being what the events up to `behind` say.
CREATE FUNCTION mend_units_v1(its_user uuid, seen difference_v1[], behind bigint)
RETURNS SETOF difference_v1 LANGUAGE plpgsql AS $$
DECLARE
    wrong difference_v1;
BEGIN
    FOR wrong IN
        SELECT 'quota', its_user,
               CASE WHEN kept.units IS NULL THEN 'missing' WHEN said.requests = 0 THEN 'unexplained' ELSE 'differs' END,
               said.place,
               CASE WHEN kept.units IS NOT NULL THEN jsonb_build_object('requests', kept.requests, 'units', kept.units) END,
               CASE WHEN said.requests > 0 THEN jsonb_build_object('requests', said.requests, 'units', said.units) END
          FROM (SELECT f.place, place ->> 'window_type' AS window_type, (place ->> 'starts_at')::timestamptz AS starts_at,
                       coalesce((expected ->> 'requests')::bigint, 0) + coalesce(since.requests, 0) AS requests,
                       coalesce((expected ->> 'units')::bigint, 0) + coalesce(since.units, 0) AS units
                  FROM unnest(seen) f
                  LEFT JOIN units_between_v1(behind, (SELECT max(notification_id) FROM stored_events)) since
                         ON since.user_id = its_user AND since.window_type = place ->> 'window_type'
                        AND since.starts_at = (place ->> 'starts_at')::timestamptz
                 WHERE f.part = 'quota') said
          LEFT JOIN quota_counters kept ON kept.user_id = its_user AND kept.window_type = said.window_type
                                       AND kept.starts_at = said.starts_at
         WHERE (coalesce(kept.requests, 0), coalesce(kept.units, 0)) <> (said.requests, said.units)
            OR (kept.units IS NULL) <> (said.requests = 0)
    LOOP
        IF wrong.expected IS NULL THEN
            DELETE FROM quota_counters WHERE user_id = its_user AND window_type = wrong.place ->> 'window_type'
               AND starts_at = (wrong.place ->> 'starts_at')::timestamptz;
        ELSE
            INSERT INTO quota_counters (user_id, window_type, starts_at, requests, units)
            VALUES (its_user, wrong.place ->> 'window_type', (wrong.place ->> 'starts_at')::timestamptz,
                    (wrong.expected ->> 'requests')::bigint, (wrong.expected ->> 'units')::bigint)
                ON CONFLICT (user_id, window_type, starts_at)
                DO UPDATE SET requests = excluded.requests, units = excluded.units;
        END IF;
        RETURN NEXT wrong;
    END LOOP;
END $$;

CREATE FUNCTION mend_limits_v1(its_user uuid, seen difference_v1[])
RETURNS SETOF difference_v1 LANGUAGE plpgsql AS $$
DECLARE
    wrong difference_v1;
BEGIN
    FOR wrong IN SELECT d.* FROM limit_differences_v1(its_user) d
                  WHERE d.place IN (SELECT place FROM unnest(seen) WHERE part = 'limits') LOOP
        IF wrong.expected IS NULL THEN
            DELETE FROM quota_limits WHERE user_id = its_user AND window_type = wrong.place ->> 'window_type';
        ELSE
            INSERT INTO quota_limits (user_id, window_type, units)
            VALUES (its_user, wrong.place ->> 'window_type', (wrong.expected ->> 'units')::bigint)
                ON CONFLICT (user_id, window_type) DO UPDATE SET units = excluded.units;
        END IF;
        RETURN NEXT wrong;
    END LOOP;
END $$;

-- Work that is opened, taken from nobody or late is due at once; what somebody holds stays theirs.
CREATE FUNCTION mend_work_v1(seen difference_v1[], moment timestamptz)
RETURNS SETOF difference_v1 LANGUAGE plpgsql AS $$
DECLARE
    wrong difference_v1;
BEGIN
    FOR wrong IN SELECT d.* FROM unnest(seen) f
                  CROSS JOIN LATERAL work_differences_v1(f.place ->> 'kind', (f.place ->> 'ref')::uuid, moment) d
                  WHERE f.part = 'work' AND d.problem <> 'unknown' LOOP
        IF wrong.expected IS NULL THEN
            DELETE FROM work WHERE kind = wrong.place ->> 'kind' AND ref = (wrong.place ->> 'ref')::uuid;
        ELSE
            INSERT INTO work AS w (kind, ref, user_id, due_at, deadline)
            VALUES (wrong.place ->> 'kind', (wrong.place ->> 'ref')::uuid, (wrong.expected ->> 'user_id')::uuid,
                    moment, coalesce((wrong.expected ->> 'deadline')::timestamptz, moment))
                ON CONFLICT (ref, kind) DO UPDATE
                SET user_id = excluded.user_id,
                    due_at = CASE WHEN w.worker IS NOT NULL AND NOT worker_is_open_v1(w.worker) OR w.due_at
                                       > greatest((wrong.expected ->> 'deadline')::timestamptz, moment) + interval '10 min'
                                  THEN least(w.due_at, moment) ELSE w.due_at END,
                    deadline = coalesce((wrong.expected ->> 'deadline')::timestamptz, w.deadline),
                    worker = CASE WHEN worker_is_open_v1(w.worker) THEN w.worker END;
        END IF;
        RETURN NEXT wrong;
    END LOOP;
END $$;

-- After the work: mending that counts, as everything does.
CREATE FUNCTION mend_in_flight_v1(its_user uuid, seen difference_v1[])
RETURNS SETOF difference_v1 LANGUAGE plpgsql AS $$
DECLARE
    wrong difference_v1;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(seen) WHERE part = 'in-flight') THEN
        RETURN;
    END IF;
    FOR wrong IN SELECT d.* FROM in_flight_differences_v1 d WHERE d.user_id = its_user LOOP
        INSERT INTO in_flight (user_id, generations)
        VALUES (its_user, coalesce((wrong.expected ->> 'generations')::bigint, 0))
            ON CONFLICT (user_id) DO UPDATE SET generations = excluded.generations;
        RETURN NEXT wrong;
    END LOOP;
END $$;

-- Of a key both what the snapshot found and what its row points to by now is asked; the later counts.
CREATE FUNCTION mend_keys_v1(its_user uuid, seen difference_v1[], moment timestamptz)
RETURNS SETOF difference_v1 LANGUAGE plpgsql AS $$
DECLARE
    place jsonb;
    kept  idempotency_keys;
    said  explained_keys_v1;
    wrong difference_v1;
BEGIN
    FOR place IN SELECT f.place FROM unnest(seen) f WHERE f.part = 'idempotency' LOOP
        SELECT * INTO kept FROM idempotency_keys WHERE user_id = its_user AND key = place ->> 'key';
        SELECT * INTO said FROM explained_keys_v1 e
         WHERE e.ref IN ((place ->> 'ref')::uuid, kept.ref) AND e.user_id = its_user
           AND e.key = place ->> 'key' AND e.expires_at > moment
         ORDER BY e.position DESC LIMIT 1;
        wrong := key_difference_v1(kept, said, key_problem_v1(kept, said, moment));
        CONTINUE WHEN wrong.problem IS NULL OR kept.key IS NULL AND said.key IS NULL;
        IF wrong.expected IS NULL THEN
            DELETE FROM idempotency_keys WHERE user_id = its_user AND key = kept.key;
        ELSE
            INSERT INTO idempotency_keys (user_id, key, fingerprint, ref, expires_at, sendings)
            VALUES (its_user, said.key, said.fingerprint, said.ref, said.expires_at,
                    CASE WHEN said.sending IS NOT NULL THEN ARRAY[said.sending] END)
                ON CONFLICT (user_id, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, ref = excluded.ref, expires_at = excluded.expires_at,
                    sendings = excluded.sendings;
        END IF;
        RETURN NEXT wrong;
    END LOOP;
END $$;

-- Mends, of what was found wrong for one user, what is still wrong under the lock; returns that.
CREATE FUNCTION mend_user_v1(its_user uuid, seen jsonb, behind bigint) RETURNS SETOF difference_v1 LANGUAGE plpgsql
SET lock_timeout = '5s' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    wrong  difference_v1[];
    moment timestamptz;
BEGIN
    PERFORM lock_log_v1();
    moment := log_now_v1();
    wrong := ARRAY(SELECT d FROM jsonb_populate_recordset(NULL::difference_v1, seen) d);
    RETURN QUERY SELECT * FROM mend_units_v1(its_user, wrong, behind);
    RETURN QUERY SELECT * FROM mend_limits_v1(its_user, wrong);
    RETURN QUERY SELECT * FROM mend_keys_v1(its_user, wrong, moment);
    RETURN QUERY SELECT * FROM mend_work_v1(wrong, moment);
    IF FOUND THEN
        NOTIFY work;
    END IF;
    RETURN QUERY SELECT * FROM mend_in_flight_v1(its_user, wrong);
END $$;
