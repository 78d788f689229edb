-- Workers and the work they do: leases, sweeps, whose turn it is. What a command changes in the work
-- table stands in append.sql.

CREATE FUNCTION free_abandoned_work_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE freed integer;
BEGIN
    UPDATE work SET worker = NULL, due_at = log_now_v1()
     WHERE worker IS NOT NULL
       AND NOT EXISTS (SELECT FROM workers WHERE incarnation = work.worker);
    GET DIAGNOSTICS freed = ROW_COUNT;
    IF freed > 0 THEN
        NOTIFY work;
    END IF;
    RETURN freed;
END $$;

-- Closes incarnations whose lease had ended at a moment seen before, and frees what they held. Not
-- by the clock: this statement may itself have waited while PostgreSQL stood still.
CREATE FUNCTION sweep_workers_v1(moment timestamptz) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM workers WHERE expires_at <= moment) THEN
        RETURN 0;
    END IF;
    PERFORM lock_log_v1();
    DELETE FROM workers WHERE expires_at <= moment;
    RETURN free_abandoned_work_v1();
END $$;

CREATE FUNCTION retire_worker_v1(worker uuid) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM lock_log_v1();
    DELETE FROM workers WHERE incarnation = worker;
    RETURN free_abandoned_work_v1();
END $$;

-- Generations' work whose deadline has passed, the longest first: what waits and is due after `grace`,
-- what somebody holds after `margin`.
CREATE FUNCTION overdue_v1(moment timestamptz, grace interval, margin interval, most integer)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
BEGIN
    RETURN QUERY
    SELECT overdue.ref FROM (
        (SELECT w.ref, w.deadline FROM work w
          WHERE w.worker IS NULL AND w.kind = 'generate' AND w.due_at <= moment
            AND w.deadline <= moment - grace
          ORDER BY w.deadline LIMIT most)
        UNION ALL  -- held by somebody: no more than there are slots, but no look through the primary key
        SELECT w.ref, w.deadline FROM work w
         WHERE w.worker IS NOT NULL AND w.kind || '' = 'generate' AND w.deadline <= moment - margin) overdue
     ORDER BY overdue.deadline LIMIT most;
END $$;

-- Gives up to `most` pieces of overdue work to a worker incarnation without slots, which opens with it;
-- again what it was given before, since its answer may have been lost.
CREATE FUNCTION take_overdue_v1(taker uuid, lease interval, grace interval, margin interval, most integer)
RETURNS SETOF uuid LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE moment timestamptz := log_now_v1();
BEGIN
    IF NOT EXISTS (SELECT FROM overdue_v1(moment, grace, margin, 1))
       AND NOT EXISTS (SELECT FROM work WHERE worker = taker) THEN
        RETURN;
    END IF;
    PERFORM lock_log_v1();
    INSERT INTO workers (incarnation, slots, started_at, expires_at)
    VALUES (taker, 0, moment, moment + lease)
        ON CONFLICT (incarnation) DO UPDATE SET expires_at = excluded.expires_at;
    UPDATE work SET worker = taker
     WHERE kind = 'generate' AND ref = ANY (ARRAY(SELECT * FROM overdue_v1(
               moment, grace, margin, most - (SELECT count(*) FROM work w WHERE w.worker = taker)::integer)));
    RETURN QUERY SELECT ref FROM work WHERE worker = taker;
END $$;

CREATE FUNCTION sweep_idempotency_keys_v1(most integer) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE removed integer;
BEGIN
    IF NOT EXISTS (SELECT FROM idempotency_keys WHERE expires_at <= clock_timestamp()) THEN
        RETURN 0;
    END IF;
    PERFORM lock_log_v1();
    DELETE FROM idempotency_keys WHERE (user_id, key) IN (
        SELECT user_id, key FROM idempotency_keys WHERE expires_at <= clock_timestamp() LIMIT most);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;

-- A piece of work in one word: a generation may have one of each kind at a time.
CREATE FUNCTION piece_v1(kind text, ref uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT kind || ':' || ref
$$;

-- The first due piece of a user behind (due_at, ref) that was not handed over: one index look-up.
CREATE FUNCTION due_of_user_v1(its_user uuid, moment timestamptz, handed_over text[],
                               behind timestamptz DEFAULT '-infinity',
                               behind_ref uuid DEFAULT '00000000-0000-0000-0000-000000000000')
RETURNS work LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
DECLARE due work;
BEGIN
    SELECT * INTO due FROM work w
     WHERE w.worker IS NULL AND w.user_id = its_user AND (w.due_at, w.ref) > (behind, behind_ref)
       AND w.due_at <= moment AND piece_v1(w.kind, w.ref) <> ALL (handed_over)
     ORDER BY w.due_at, w.ref LIMIT 1;
    RETURN due;
END $$;

-- Up to `most` waiting pieces in turn by user, beginning behind `after_user`: one index look-up for
-- each piece and each user without due work, however much waits.
CREATE FUNCTION next_due_v1(after_user uuid, most integer, handed_over text[])
RETURNS TABLE (kind text, ref uuid, user_id uuid) LANGUAGE plpgsql VOLATILE
-- Plans must not depend on statistics: this table is empty one minute and full the next.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
DECLARE
    moment  timestamptz := log_now_v1();
    turn    uuid := after_user;
    wrapped boolean := false;
    latest  work[] := '{}';  -- of each user in this round, the piece that was found
    earlier work[];
    due     work;
    found_n integer := 0;
BEGIN
    IF most < 1 OR NOT EXISTS (SELECT FROM work w WHERE w.worker IS NULL AND w.due_at <= moment) THEN
        RETURN;
    END IF;
    LOOP  -- the first round, in which the users are found
        SELECT w.user_id INTO turn FROM work w WHERE w.worker IS NULL AND w.user_id > turn
         ORDER BY w.user_id LIMIT 1;
        IF turn IS NULL THEN
            EXIT WHEN wrapped;
            wrapped := true;
            turn := '00000000-0000-0000-0000-000000000000';
            CONTINUE;
        END IF;
        EXIT WHEN wrapped AND turn > after_user;
        due := due_of_user_v1(turn, moment, handed_over);
        CONTINUE WHEN due.ref IS NULL;
        kind := due.kind; ref := due.ref; user_id := due.user_id;
        RETURN NEXT;
        found_n := found_n + 1;
        IF found_n = most THEN RETURN; END IF;
        latest := latest || due;
    END LOOP;
    WHILE cardinality(latest) > 0 LOOP
        earlier := latest;
        latest := '{}';
        FOREACH due IN ARRAY earlier LOOP
            due := due_of_user_v1(due.user_id, moment, handed_over, due.due_at, due.ref);
            CONTINUE WHEN due.ref IS NULL;
            kind := due.kind; ref := due.ref; user_id := due.user_id;
            RETURN NEXT;
            found_n := found_n + 1;
            IF found_n = most THEN RETURN; END IF;
            latest := latest || due;
        END LOOP;
    END LOOP;
END $$;

-- Free slots of open incarnations less what was handed over and still waits, and which those are.
CREATE FUNCTION credits_v1(handed_over text[])
RETURNS TABLE (free bigint, waiting text[]) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE moment timestamptz := log_now_v1();
BEGIN
    SELECT coalesce(sum(greatest(slots - held.pieces, 0)), 0) INTO free
      FROM workers CROSS JOIN LATERAL
           (SELECT count(*) AS pieces FROM work WHERE worker = incarnation) held
     WHERE expires_at > moment;
    SELECT coalesce(array_agg(piece), '{}') INTO waiting
      FROM unnest(handed_over) piece CROSS JOIN LATERAL
           (SELECT FROM work
             WHERE ref = split_part(piece, ':', 2)::uuid AND kind = split_part(piece, ':', 1)
               AND worker IS NULL AND due_at <= moment
             LIMIT 1) waits;  -- the limit: one look-up each, whatever the planner believes
    free := greatest(free - cardinality(waiting), 0);
    RETURN NEXT;
END $$;

-- Up to `most` generations that nobody holds and that wait for their time, the soonest first.
CREATE FUNCTION put_off_v1(most integer) RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
DECLARE moment timestamptz := log_now_v1();
BEGIN
    RETURN QUERY
    SELECT ref FROM work WHERE worker IS NULL AND due_at > moment AND kind = 'generate'
     ORDER BY due_at LIMIT most;
END $$;

-- What a dispatcher needs to know: free slots, what of the handed over still waits, as much due work
-- as may be started, and, when that was all, the seconds until something that waits for its time.
CREATE FUNCTION look_v1(after_user uuid, handed_over text[])
RETURNS TABLE (free bigint, waiting text[], kinds text[], refs uuid[], users uuid[], seconds float)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
DECLARE moment timestamptz := log_now_v1();
BEGIN
    SELECT c.free, c.waiting INTO free, waiting FROM credits_v1(handed_over) c;
    SELECT coalesce(array_agg(d.kind), '{}'), coalesce(array_agg(d.ref), '{}'), coalesce(array_agg(d.user_id), '{}')
      INTO kinds, refs, users FROM next_due_v1(after_user, free::integer, waiting) d;
    IF cardinality(refs) < free THEN
        SELECT extract(epoch FROM w.due_at - moment) INTO seconds FROM work w
         WHERE w.worker IS NULL AND w.due_at > moment ORDER BY w.due_at LIMIT 1;
    END IF;
    RETURN NEXT;
END $$;
