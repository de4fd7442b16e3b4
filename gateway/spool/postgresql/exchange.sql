-- What gateways say to each other by way of the database (`postman.py`).

-- name: enter_replica
-- What the same gateway left behind when it last ended goes.
WITH former AS (
    DELETE FROM replica WHERE host = %(host)s AND directory = %(directory)s AND id <> %(id)s
)
INSERT INTO replica (id, name, host, directory, version, started_at_ms, seen_at_ms)
VALUES (%(id)s, %(name)s, %(host)s, %(directory)s, %(version)s, clock_ms() - %(age_ms)s::bigint, clock_ms())
ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms;

-- name: beat_replica
UPDATE replica SET seen_at_ms = clock_ms() WHERE id = %(id)s RETURNING id;

-- name: publish_digest
UPDATE replica SET digest = %(digest)b, digest_number = digest_number + 1 WHERE id = %(id)s;

-- name: replicas
SELECT id, left(name, 300), left(directory, 1000), left(version, 50), started_at_ms,
    greatest(0, clock_ms() - greatest(0, seen_at_ms)), digest_number
FROM replica ORDER BY started_at_ms, id LIMIT %(most)s;

-- name: digests
SELECT id, digest_number, CASE WHEN length(digest) <= %(most_bytes)s THEN digest END
FROM replica WHERE id = ANY(%(ids)s::bigint[]);

-- name: leave_replica
WITH q AS (DELETE FROM question WHERE addressee = %(id)s OR asker = %(id)s),
    a AS (DELETE FROM answer WHERE asker = %(id)s)
DELETE FROM replica WHERE id = %(id)s;

-- name: tidy_exchange
-- (The clock is asked once: an index is of no use for what may change from row to row.)
WITH q AS (DELETE FROM question WHERE until_ms < (SELECT clock_ms())),
    a AS (DELETE FROM answer WHERE until_ms < (SELECT clock_ms()))
DELETE FROM replica WHERE seen_at_ms < clock_ms() - %(silent_ms)s::bigint;

-- name: ask_replicas
WITH asked AS (
    INSERT INTO question (id, addressee, asker, until_ms, content)
    SELECT %(id)s::bigint, addressee, %(asker)s::bigint, clock_ms() + %(within_ms)s::bigint, %(content)b
    FROM unnest(%(addressees)s::bigint[]) AS addressee
    ON CONFLICT DO NOTHING RETURNING addressee
)
SELECT pg_notify('gateway_replica_' || addressee, '') FROM asked;

-- name: take_questions
-- (What is too large comes as nothing: there is room for a few only, and nobody of ours writes such a one.)
DELETE FROM question WHERE (addressee, id) IN (
    SELECT addressee, id FROM question WHERE addressee = %(id)s ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
RETURNING id, asker, greatest(0, until_ms) - clock_ms(), CASE WHEN length(content) <= %(most_bytes)s THEN content END;

-- name: answer_question
WITH answered AS (
    INSERT INTO answer (question, replica, asker, until_ms, content)
    VALUES (%(question)s, %(id)s, %(asker)s, clock_ms() + %(within_ms)s::bigint, %(content)b)
    ON CONFLICT DO NOTHING
)
SELECT pg_notify('gateway_replica_' || %(asker)s::bigint, '');

-- name: take_answers
DELETE FROM answer WHERE (asker, question, replica) IN (
    SELECT asker, question, replica FROM answer WHERE asker = %(id)s ORDER BY question, replica LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
RETURNING question, replica, CASE WHEN length(content) <= %(most_bytes)s THEN content END;
