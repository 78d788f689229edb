-- Workers and the work they do: leases, sweeps, whose turn it is. What a command changes in the work
-- table stands in append.sql.

CREATE FUNCTION free_abandoned_work_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE freed integer;
BEGIN
    UPDATE work SET worker = NULL, due_at = clock_timestamp()
     WHERE worker IS NOT NULL
       AND NOT EXISTS (SELECT FROM workers WHERE incarnation = work.worker);
    GET DIAGNOSTICS freed = ROW_COUNT;
    IF freed > 0 THEN
        NOTIFY work;
    END IF;
    RETURN freed;
END $$;

-- Closes incarnations whose lease has ended and frees what they held.
CREATE FUNCTION sweep_workers_v1() RETURNS integer LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM workers WHERE expires_at <= clock_timestamp()) THEN
        RETURN 0;
    END IF;
    PERFORM lock_log_v1();
    DELETE FROM workers WHERE expires_at <= clock_timestamp();
    RETURN free_abandoned_work_v1();
END $$;

CREATE FUNCTION retire_worker_v1(worker uuid) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM lock_log_v1();
    DELETE FROM workers WHERE incarnation = worker;
    RETURN free_abandoned_work_v1();
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

-- Up to `most` waiting pieces in turn by user, beginning behind `after_user`: one index look-up each,
-- however many wait.
CREATE FUNCTION next_due_v1(after_user uuid, most integer, handed_over uuid[])
RETURNS TABLE (kind text, ref uuid, user_id uuid) LANGUAGE plpgsql STABLE
-- Plans must not depend on statistics: this table is empty one minute and full the next.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    turn   uuid := after_user;
    taken  uuid[] := handed_over;
    due    record;
BEGIN
    WHILE cardinality(taken) - cardinality(handed_over) < most LOOP
        SELECT w.kind, w.ref, w.user_id INTO due FROM work w
         WHERE w.worker IS NULL AND w.user_id > turn AND w.due_at <= clock_timestamp()
           AND w.ref <> ALL (taken)
         ORDER BY w.user_id, w.due_at, w.ref LIMIT 1;
        IF FOUND THEN
            kind := due.kind; ref := due.ref; user_id := due.user_id;
            RETURN NEXT;
            taken := taken || due.ref;
            turn := due.user_id;
        ELSIF turn = nobody THEN
            EXIT;
        ELSE
            turn := nobody;
        END IF;
    END LOOP;
END $$;

-- Free slots of open incarnations less what was handed over and still waits, and which those are.
CREATE FUNCTION credits_v1(handed_over uuid[])
RETURNS TABLE (free bigint, waiting uuid[]) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    SELECT coalesce(sum(greatest(slots - held.pieces, 0)), 0) INTO free
      FROM workers CROSS JOIN LATERAL
           (SELECT count(*) AS pieces FROM work WHERE worker = incarnation) held
     WHERE expires_at > clock_timestamp();
    SELECT coalesce(array_agg(ref), '{}') INTO waiting
      FROM work
     WHERE ref = ANY (handed_over) AND worker IS NULL AND due_at <= clock_timestamp();
    free := greatest(free - cardinality(waiting), 0);
    RETURN NEXT;
END $$;
