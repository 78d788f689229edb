-- How many generations are in flight: those whose work is open, of each user and of all. Triggers on the
-- work table count, so that whatever opens, closes or gives away work is counted, in its transaction.

-- Under whose id all are counted together.
CREATE FUNCTION everybody_v1() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT '00000000-0000-0000-0000-000000000000'::uuid
$$;

CREATE FUNCTION count_opened_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO in_flight AS f (user_id, generations) VALUES (NEW.user_id, 1), (everybody_v1(), 1)
        ON CONFLICT (user_id) DO UPDATE SET generations = f.generations + 1;
    RETURN NULL;
END $$;

CREATE FUNCTION count_closed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE in_flight SET generations = generations - 1 WHERE user_id IN (OLD.user_id, everybody_v1());
    RETURN NULL;
END $$;

CREATE FUNCTION count_given_away_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE in_flight SET generations = generations - 1 WHERE user_id = OLD.user_id;
    INSERT INTO in_flight AS f (user_id, generations) VALUES (NEW.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET generations = f.generations + 1;
    RETURN NULL;
END $$;

CREATE TRIGGER work_opened AFTER INSERT ON work
    FOR EACH ROW WHEN (NEW.kind = 'generate') EXECUTE FUNCTION count_opened_v1();
CREATE TRIGGER work_closed AFTER DELETE ON work
    FOR EACH ROW WHEN (OLD.kind = 'generate') EXECUTE FUNCTION count_closed_v1();
CREATE TRIGGER work_given_away AFTER UPDATE OF user_id ON work
    FOR EACH ROW WHEN (OLD.kind = 'generate' AND OLD.user_id <> NEW.user_id)
    EXECUTE FUNCTION count_given_away_v1();

-- Whose bound one more would exceed, the user's first; null when there is room, or no bound was given.
CREATE FUNCTION refused_in_flight_v1(opening jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('outcome', 'too_many_in_flight', 'whose', bound.whose, 'most', bound.most,
                              'in_flight', coalesce(f.generations, 0))
      FROM (VALUES ('user', (opening ->> 'user')::uuid, (opening #>> '{most,user}')::bigint),
                   ('all', everybody_v1(), (opening #>> '{most,all}')::bigint)) AS bound(whose, owner, most)
      LEFT JOIN in_flight f ON f.user_id = bound.owner
     WHERE coalesce(f.generations, 0) >= bound.most
     ORDER BY bound.whose DESC LIMIT 1
$$;
