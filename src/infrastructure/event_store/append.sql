-- append_v1(commands) -> outcomes: one round trip, lock first and rows after.
--
-- Each command is independent of the others; each gets its own outcome, at the same place, as data:
--   {"outcome": "accepted", "position": n|null, "repeated": bool, "recorded_at": t, "windows": [...]}
--   {"outcome": "conflict"} {"outcome": "fenced"} {"outcome": "window_closed"}
--   {"outcome": "over_limit", "windows": [...]}
--   {"outcome": "too_many_in_flight", "whose": "user|all", "most": n, "in_flight": n}
--   {"outcome": "duplicate", "ref": id, "same_fingerprint": bool}
-- and "now", the time under the lock. "windows" has, of each that units were to be taken from, in the
-- order of the command, [units used before, limit|null]. A command checks everything before it writes anything.
-- The channel stored_events says that the log grew, the channel work that something became due or
-- somebody free.
--
--   {"events":      [{"id": uuid, "version": n, "topic": text, "state": text}],
--    "units":       {"units": n, "windows": [{"owner": uuid, "type", "starts_at", "ends_at", "limit"}]},
--    "idempotency": {"user": uuid, "key": text, "fingerprint": text, "ref": uuid, "keep": seconds,
--                    "sending": n|null, "arrived_at": t|null, "only_a_repeat": bool},
--    "work":        {"op": "open|claim|hold|release|close", "kind", "ref", ...},
--    "limits":      {"user": uuid, "units": {"daily"|"monthly": n|null}}}

CREATE FUNCTION lock_log_v1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- After the wait each statement must see what was committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'append_v1 needs READ COMMITTED, not %', current_setting('transaction_isolation');
    END IF;
    PERFORM pg_advisory_xact_lock(7232406001);
END $$;

-- The log's own time: never behind what is recorded, also when the machine's clock steps back.
CREATE FUNCTION log_now_v1() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT greatest(clock_timestamp(),
                    (SELECT recorded_at FROM stored_events ORDER BY notification_id DESC LIMIT 1))
$$;

-- Within its lease, and so given work by the dispatcher.
CREATE FUNCTION worker_takes_work_v1(worker uuid, moment timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM workers w WHERE w.incarnation = worker AND w.expires_at > moment)
$$;

-- An incarnation is open until the sweep, which takes the lock, or the worker itself closes it.
CREATE FUNCTION worker_is_open_v1(worker uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM workers w WHERE w.incarnation = worker)
$$;

CREATE FUNCTION already_recorded_v1(events jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    first   jsonb := events -> 0;
    last    jsonb := events -> -1;
    seen    bytea;
    closing record;
BEGIN
    SELECT state INTO seen FROM stored_events
     WHERE originator_id = (first ->> 'id')::uuid AND originator_version = (first ->> 'version')::bigint;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF seen <> convert_to(first ->> 'state', 'UTF8') THEN
        RETURN '{"outcome": "conflict"}';
    END IF;
    SELECT notification_id, recorded_at INTO closing FROM stored_events
     WHERE originator_id = (last ->> 'id')::uuid AND originator_version = (last ->> 'version')::bigint;
    RETURN jsonb_build_object('outcome', 'accepted', 'repeated', true,
        'position', closing.notification_id, 'recorded_at', closing.recorded_at);
END $$;

CREATE FUNCTION streams_continue_v1(events jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_and(
               highest - lowest + 1 = n AND n = different
               AND lowest = coalesce((SELECT max(originator_version) + 1 FROM stored_events
                                       WHERE originator_id = stream.id), least(lowest, 1))), true)
      FROM (SELECT id, min(version) AS lowest, max(version) AS highest,
                   count(*) AS n, count(DISTINCT version) AS different
              FROM jsonb_to_recordset(events) AS e(id uuid, version bigint) GROUP BY id) stream
$$;

-- Whether the units can be taken, as an outcome; and what their windows hold before. A user's own limit
-- wins over the one that comes with the command.
CREATE FUNCTION room_for_units_v1(wanted jsonb, moment timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
           'outcome', CASE WHEN bool_or(moment < w.starts_at OR moment >= w.ends_at) THEN 'window_closed'
                           WHEN bool_or(used.units + (wanted ->> 'units')::bigint > allowed.units) THEN 'over_limit'
                           ELSE 'accepted' END,
           'windows', jsonb_agg(jsonb_build_array(used.units, allowed.units) ORDER BY w.place))
      FROM ROWS FROM (jsonb_to_recordset(wanted -> 'windows')
                      AS (owner uuid, type text, starts_at timestamptz, ends_at timestamptz, "limit" bigint))
           WITH ORDINALITY AS w(owner, type, starts_at, ends_at, "limit", place)
      LEFT JOIN quota_counters c ON c.user_id = w.owner
                                AND c.window_type = w.type AND c.starts_at = w.starts_at
      LEFT JOIN quota_limits own ON own.user_id = w.owner AND own.window_type = w.type
     CROSS JOIN LATERAL (SELECT coalesce(c.units, 0)) used(units)
     CROSS JOIN LATERAL (SELECT CASE WHEN own.user_id IS NULL THEN w."limit" ELSE own.units END) allowed(units)
$$;

CREATE FUNCTION count_units_v1(taken jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO quota_counters AS c (user_id, window_type, starts_at, requests, units)
    SELECT w.owner, w.type, w.starts_at,
           CASE WHEN (taken ->> 'units')::bigint > 0 THEN 1 ELSE 0 END, (taken ->> 'units')::bigint
      FROM jsonb_to_recordset(taken -> 'windows') AS w(owner uuid, type text, starts_at timestamptz)
        ON CONFLICT (user_id, window_type, starts_at)
        DO UPDATE SET units = c.units + excluded.units, requests = c.requests + excluded.requests
$$;

-- From now on these are all limits of the user's own, for the next command of the same batch too.
CREATE FUNCTION set_limits_v1(given jsonb) RETURNS void LANGUAGE sql AS $$
    DELETE FROM quota_limits
     WHERE user_id = (given ->> 'user')::uuid AND NOT (given -> 'units') ? window_type;
    INSERT INTO quota_limits (user_id, window_type, units)
    SELECT (given ->> 'user')::uuid, l.window_type, l.units::bigint
      FROM jsonb_each_text(given -> 'units') AS l(window_type, units)
        ON CONFLICT (user_id, window_type) DO UPDATE SET units = excluded.units
$$;

-- Whether the work is this command's to change; if so, changes it.
CREATE FUNCTION change_work_v1(change jsonb, moment timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    its_kind   text := change ->> 'kind';
    its_ref    uuid := (change ->> 'ref')::uuid;
    its_worker uuid := (change ->> 'worker')::uuid;
BEGIN
    IF change ->> 'op' = 'open' THEN
        INSERT INTO work (kind, ref, user_id, due_at, deadline)
        VALUES (its_kind, its_ref, (change ->> 'user')::uuid, moment,
                moment + make_interval(secs => (change ->> 'deadline')::float))
            ON CONFLICT DO NOTHING;
        RETURN true;
    ELSIF change ->> 'op' = 'close' AND its_worker IS NULL THEN
        DELETE FROM work WHERE kind = its_kind AND ref = its_ref;
        RETURN true;
    ELSIF NOT worker_is_open_v1(its_worker) THEN
        RETURN false;
    END IF;
    CASE change ->> 'op'
    WHEN 'claim' THEN
        UPDATE work SET worker = its_worker, calls = calls + (change ->> 'calls')::int
         WHERE kind = its_kind AND ref = its_ref
           AND (worker = its_worker
                OR worker IS NULL AND due_at <= moment AND worker_takes_work_v1(its_worker, moment));
    WHEN 'hold' THEN
        IF (change ->> 'calls')::int > 0 THEN
            UPDATE work SET calls = calls + (change ->> 'calls')::int
             WHERE kind = its_kind AND ref = its_ref AND worker = its_worker;
        ELSE
            PERFORM FROM work WHERE kind = its_kind AND ref = its_ref AND worker = its_worker;
        END IF;
    WHEN 'release' THEN
        UPDATE work SET worker = NULL, due_at = (change ->> 'due_at')::timestamptz
         WHERE kind = its_kind AND ref = its_ref AND worker = its_worker;
    WHEN 'close' THEN
        DELETE FROM work WHERE kind = its_kind AND ref = its_ref AND worker = its_worker;
    END CASE;
    RETURN FOUND;
END $$;

-- What an earlier sending of the same request made; takes this one for it, and writes that it came. A
-- client numbers its sendings from 0. This one belongs to the latest request of which it did not come
-- yet. A first one is a request of its own, unless it was overtaken: what a later sending made since it
-- arrived may be its own.
CREATE FUNCTION sent_before_v1(sent jsonb, moment timestamptz) RETURNS uuid LANGUAGE sql AS $$
    UPDATE idempotency_keys SET sendings = sendings || (sent ->> 'sending')::smallint
     WHERE (user_id, key) = (
           SELECT k.user_id, k.key FROM idempotency_keys k
            WHERE k.user_id = (sent ->> 'user')::uuid AND k.fingerprint = sent ->> 'fingerprint'
              AND k.sendings IS NOT NULL AND (sent ->> 'sending')::smallint <> ALL (k.sendings)
              AND k.expires_at > CASE WHEN (sent ->> 'sending')::smallint > 0 THEN moment
                  ELSE (sent ->> 'arrived_at')::timestamptz + make_interval(secs => (sent ->> 'keep')::float) END
            ORDER BY k.expires_at DESC LIMIT 1)
    RETURNING ref
$$;

CREATE FUNCTION append_one_v1(command jsonb, moment timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    events      jsonb := command -> 'events';
    units       jsonb := command -> 'units';
    idempotency jsonb := command -> 'idempotency';
    change      jsonb := command -> 'work';
    limits      jsonb := command -> 'limits';
    refusal     jsonb;
    room        jsonb;
    known       record;
    sent_before uuid;
    last        bigint;
BEGIN
    IF events IS NOT NULL THEN
        refusal := already_recorded_v1(events);
        IF refusal IS NOT NULL THEN RETURN refusal; END IF;
        IF NOT streams_continue_v1(events) THEN RETURN '{"outcome": "conflict"}'; END IF;
    END IF;
    IF idempotency ->> 'sending' IS NOT NULL THEN
        sent_before := sent_before_v1(idempotency, moment);
        IF sent_before IS NOT NULL THEN
            RETURN jsonb_build_object('outcome', 'duplicate', 'ref', sent_before, 'same_fingerprint', true);
        END IF;
        IF (idempotency ->> 'only_a_repeat')::boolean THEN RETURN '{"outcome": "conflict"}'; END IF;
    ELSIF idempotency IS NOT NULL THEN
        SELECT ref, fingerprint INTO known FROM idempotency_keys
         WHERE user_id = (idempotency ->> 'user')::uuid AND key = idempotency ->> 'key' AND expires_at > moment;
        IF FOUND THEN
            RETURN jsonb_build_object('outcome', 'duplicate', 'ref', known.ref,
                'same_fingerprint', known.fingerprint = idempotency ->> 'fingerprint');
        END IF;
    END IF;
    IF (units ->> 'units')::bigint > 0 THEN
        room := room_for_units_v1(units, moment);
        IF room ->> 'outcome' <> 'accepted' THEN RETURN room; END IF;
    END IF;
    IF change ? 'most' THEN
        refusal := refused_in_flight_v1(change);
        IF refusal IS NOT NULL THEN RETURN refusal; END IF;
    END IF;
    -- The last check, and the first write.
    IF change IS NOT NULL AND NOT change_work_v1(change, moment) THEN
        RETURN '{"outcome": "fenced"}';
    END IF;
    IF units IS NOT NULL THEN
        PERFORM count_units_v1(units);
    END IF;
    IF limits IS NOT NULL THEN
        PERFORM set_limits_v1(limits);
    END IF;
    IF idempotency IS NOT NULL THEN
        INSERT INTO idempotency_keys (user_id, key, fingerprint, ref, expires_at, sendings)
        VALUES ((idempotency ->> 'user')::uuid, idempotency ->> 'key', idempotency ->> 'fingerprint',
                (idempotency ->> 'ref')::uuid, moment + make_interval(secs => (idempotency ->> 'keep')::float),
                CASE WHEN idempotency ->> 'sending' IS NOT NULL
                     THEN ARRAY[(idempotency ->> 'sending')::smallint] END)
            ON CONFLICT (user_id, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, ref = excluded.ref, expires_at = excluded.expires_at,
                sendings = excluded.sendings;
    END IF;
    IF events IS NOT NULL THEN
        WITH recorded AS (
            INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
            SELECT (e ->> 'id')::uuid, (e ->> 'version')::bigint, e ->> 'topic',
                   convert_to(e ->> 'state', 'UTF8'), moment
              FROM jsonb_array_elements(events) WITH ORDINALITY AS t(e, place) ORDER BY place
            RETURNING notification_id)
        SELECT max(notification_id) INTO last FROM recorded;
    END IF;
    RETURN jsonb_build_object('outcome', 'accepted', 'repeated', false, 'position', last, 'recorded_at', moment,
        'windows', room -> 'windows');
END $$;

-- Plans must not depend on statistics: a session may begin on empty tables and stay for weeks.
CREATE FUNCTION append_v1(commands jsonb[]) RETURNS jsonb[] LANGUAGE plpgsql
SET lock_timeout = '5s' SET enable_seqscan = off AS $$
DECLARE
    moment   timestamptz;
    command  jsonb;
    outcome  jsonb;
    outcomes jsonb[] := '{}';
    changed  boolean := false;
    due      boolean := false;
BEGIN
    PERFORM lock_log_v1();
    moment := log_now_v1();  -- so that position order is time order
    FOREACH command IN ARRAY commands LOOP
        outcome := append_one_v1(command, moment);
        outcomes := outcomes || (outcome || jsonb_build_object('now', moment));
        IF outcome ->> 'outcome' = 'accepted' THEN
            changed := changed OR command ? 'events';
            due := due OR command #>> '{work,op}' IN ('open', 'release', 'close');
        END IF;
    END LOOP;
    IF changed THEN
        NOTIFY stored_events;
    END IF;
    IF due THEN
        NOTIFY work;
    END IF;
    RETURN outcomes;
END $$;
