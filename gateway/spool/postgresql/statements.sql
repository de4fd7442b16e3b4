-- What the threads say to PostgreSQL. Each statement does a whole batch: rows come as arrays, one a column.

-- name: clock
SELECT clock_ms();

-- name: lock_buckets
SELECT pg_advisory_xact_lock(%(lock)s::bigint);

-- name: buckets
SELECT b.id, b.start_ms, b.end_ms,
    coalesce((SELECT sum(t.keys) FROM seen_tally AS t WHERE t.bucket = b.id AND t.writer <> %(writer)s), 0)::bigint,
    coalesce((SELECT t.keys FROM seen_tally AS t WHERE t.bucket = b.id AND t.writer = %(writer)s), 0)
FROM seen_bucket AS b ORDER BY b.id;

-- name: put_bucket
INSERT INTO seen_bucket (id, start_ms, end_ms) VALUES (%(id)s, %(start_ms)s, %(end_ms)s);

-- name: drop_buckets
WITH gone AS (DELETE FROM seen_bucket WHERE id = ANY(%(ids)s::int[]))
DELETE FROM seen_tally WHERE bucket = ANY(%(ids)s::int[]);

-- name: known_digests
SELECT count(DISTINCT digest) FROM seen WHERE bucket = ANY(%(alive)s::int[]) AND digest = ANY(%(digests)b::bytea[]);

-- name: store
-- Of what is given: all, or (with a bucket) what no bucket has, in order of the digests, so that no two batches wait
-- for each other in a circle. Into that bucket the insert itself looks, into the earlier ones we do. (OFFSET 0 keeps
-- the look for a digest a look: as a join, planned while a bucket is new and empty, it reads the whole bucket for every
-- batch until somebody analyzes it.)
-- Row 0, with the clock, says that it was the place: that bucket the newest, and that day one that has its partition.
-- Without it nothing was stored. Duplicates alone would write nothing, and a commit that wrote nothing waits for no
-- standby; what they repeat may have been cut off while it waited for one. So they write a beat, and wait for both.
WITH place AS MATERIALIZED (
    SELECT clock.now_ms FROM (SELECT clock_ms() AS now_ms OFFSET 0) AS clock
    WHERE abs(clock.now_ms / 86400000 - %(day)s::int) <= 1
        AND (%(bucket)s::int IS NULL OR %(bucket)s::int = (SELECT max(id) FROM seen_bucket))
), given AS MATERIALIZED (
    SELECT *
    FROM unnest(%(digest)b::bytea[], %(id)s::text[], %(app)s::text[], %(received_at_ms)s::bigint[],
                %(raw_crc32)s::bigint[], %(deliveries)s::int[], %(clock_started_ms)s::bigint[], %(object)s::text[],
                %(raw)b::bytea[])
        WITH ORDINALITY
        AS given (digest, id, app, received_at_ms, raw_crc32, deliveries, clock_started_ms, object, raw, nth)
    WHERE EXISTS (SELECT 1 FROM place)
), fresh AS (
    INSERT INTO seen (bucket, digest)
    SELECT %(bucket)s::int, digest FROM given
    WHERE %(bucket)s::int IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM seen WHERE seen.bucket = ANY(%(earlier)s::int[]) AND seen.digest = given.digest OFFSET 0
    )
    ORDER BY digest
    ON CONFLICT DO NOTHING
    RETURNING digest
), chosen AS (
    SELECT given.* FROM given
    WHERE %(bucket)s::int IS NULL OR digest IN (SELECT digest FROM fresh)
), numbered AS MATERIALIZED (
    SELECT nextval('notification_seq') AS seq, one.*
    FROM (SELECT * FROM chosen WHERE deliveries > 0 ORDER BY nth) AS one
), n AS (
    INSERT INTO notification (seq, id, app, received_at_ms, raw_crc32, raw_bytes, deliveries, day, object)
    SELECT seq, id, app, received_at_ms, raw_crc32, length(raw), deliveries, %(day)s::int, object FROM numbered
), b AS (
    INSERT INTO body (day, seq, raw) SELECT %(day)s::int, seq, raw FROM numbered
), d AS (
    INSERT INTO delivery
        (seq, position, target, received_at_ms, due_ms, clock_started_ms, changes, lane, ordered, id, selection)
    SELECT n.seq, p.position, p.target, n.received_at_ms, 0, n.clock_started_ms, p.changes, p.lane, p.ordered, p.id,
        p.selection
    FROM unnest(%(of)s::bigint[], %(position)s::int[], %(target)s::text[], %(changes)s::int[], %(lane)s::int[],
                %(ordered)s::bool[], %(delivery_id)s::text[], %(selection)s::text[])
        AS p (nth, position, target, changes, lane, ordered, id, selection)
    JOIN numbered AS n ON n.nth = p.nth
    RETURNING target, seq
), t AS (
    INSERT INTO tally (writer, target, deliveries, bytes)
    SELECT %(writer)s::bigint, d.target, count(*), sum(length(n.raw))
    FROM d JOIN numbered AS n ON n.seq = d.seq GROUP BY d.target
    ON CONFLICT (writer, target) DO UPDATE
        SET deliveries = tally.deliveries + excluded.deliveries, bytes = tally.bytes + excluded.bytes
), s AS (
    INSERT INTO seen_tally (bucket, writer, keys)
    SELECT %(bucket)s::int, %(writer)s::bigint, count(*) FROM fresh HAVING count(*) > 0
    ON CONFLICT (bucket, writer) DO UPDATE SET keys = seen_tally.keys + excluded.keys
), w AS (
    UPDATE writer SET seen_at_ms = place.now_ms FROM place
    WHERE writer.id = %(writer)s::bigint AND NOT EXISTS (SELECT 1 FROM chosen)
)
SELECT 0, now_ms FROM place
UNION ALL
SELECT chosen.nth, numbered.seq FROM chosen LEFT JOIN numbered ON numbered.nth = chosen.nth;

-- name: book
INSERT INTO tally (writer, target, deliveries, bytes)
SELECT %(writer)s, * FROM unnest(%(target)s::text[], %(deliveries)s::bigint[], %(bytes)s::bigint[])
ON CONFLICT (writer, target) DO UPDATE
    SET deliveries = tally.deliveries + excluded.deliveries, bytes = tally.bytes + excluded.bytes;

-- name: account
-- Without numbers, what a commit that has outlived its connection has its hand on.
WITH free AS (
    SELECT target, deliveries, bytes FROM tally WHERE writer = %(writer)s::bigint FOR UPDATE SKIP LOCKED
)
SELECT tally.target, free.deliveries, free.bytes
FROM tally LEFT JOIN free ON free.target = tally.target WHERE tally.writer = %(writer)s::bigint;

-- name: lock_turns
-- One who stores or ends deliveries with order shuts out the others who would, for the same keys.
SELECT pg_advisory_xact_lock(%(lock)s::int, slot) FROM unnest(%(slots)s::int[]) AS slot;

-- name: add_turns
INSERT INTO turn (target, key, seq, position)
SELECT * FROM unnest(%(target)s::text[], %(key)s::bigint[], %(seq)s::bigint[], %(position)s::int[])
ON CONFLICT DO NOTHING;

-- name: queue_up
-- Of new deliveries that have turns, each waits while it is not the first under every key of its own.
UPDATE delivery SET ordered = true, due_ms = CASE WHEN EXISTS (
    SELECT 1 FROM turn AS mine WHERE mine.seq = delivery.seq AND mine.position = delivery.position AND EXISTS (
        SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
            AND (other.seq, other.position) < (mine.seq, mine.position)
    )
) THEN %(waits)s::bigint ELSE 0 END
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
WHERE delivery.seq = k.seq AND delivery.position = k.position;

-- name: turns_of
-- Targets and keys of deliveries that are about to go.
SELECT DISTINCT turn.target, turn.key
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
JOIN turn ON turn.seq = k.seq AND turn.position = k.position;

-- name: firsts
-- The first under each of some keys.
SELECT DISTINCT first.seq, first.position
FROM unnest(%(target)s::text[], %(key)s::bigint[]) AS k (target, key)
CROSS JOIN LATERAL (
    SELECT seq, position FROM turn WHERE turn.target = k.target AND turn.key = k.key ORDER BY seq, position LIMIT 1
) AS first;

-- name: let_follow
-- Of the first under some keys, who is the first under every key of its own waits no more.
UPDATE delivery SET due_ms = 0
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
WHERE delivery.seq = k.seq AND delivery.position = k.position AND delivery.due_ms = %(waits)s::bigint
    AND NOT EXISTS (
        SELECT 1 FROM turn AS mine WHERE mine.seq = delivery.seq AND mine.position = delivery.position AND EXISTS (
            SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
                AND (other.seq, other.position) < (mine.seq, mine.position)
        )
    );

-- name: step_back
-- Of those that are neither under way nor in a group, who is no longer the first waits.
UPDATE delivery SET due_ms = %(waits)s::bigint
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
WHERE delivery.seq = k.seq AND delivery.position = k.position AND delivery.due_ms <> %(waits)s::bigint
    AND delivery.attempt_at_ms IS NULL AND delivery.group_key IS NULL
    AND EXISTS (
        SELECT 1 FROM turn AS mine WHERE mine.seq = delivery.seq AND mine.position = delivery.position AND EXISTS (
            SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
                AND (other.seq, other.position) < (mine.seq, mine.position)
        )
    );

-- name: pending_ids
SELECT id FROM delivery WHERE id = ANY(%(ids)s::text[]);

-- name: due
-- Lane by lane, of what is due at once, the oldest; of the retries that are overdue, the oldest among those overdue the
-- longest; nothing that somebody holds, or has his hand on at this moment.
SELECT d.seq, d.position, d.received_at_ms, d.changes, d.attempt, d.attempt_at_ms, d.due_ms, d.group_key, d.id,
    n.app, n.object, n.raw_bytes, d.lane, d.token
FROM unnest(%(lanes)s::int[]) WITH ORDINALITY AS lanes (lane, turn)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT * FROM delivery
        WHERE target = %(target)s AND delivery.lane = lanes.lane AND due_ms = 0 AND held_until_ms <= %(clock_ms)s
            AND NOT token = ANY(%(held)s::bigint[])
        ORDER BY received_at_ms, seq, position LIMIT %(wanted)s FOR UPDATE SKIP LOCKED
    ) AS at_once
    UNION ALL
    SELECT * FROM (
        SELECT later.* FROM (
            SELECT seq, position FROM delivery
            WHERE target = %(target)s AND delivery.lane = lanes.lane AND due_ms > 0 AND due_ms <= %(now_ms)s
                AND held_until_ms <= %(clock_ms)s AND NOT token = ANY(%(held)s::bigint[])
            ORDER BY due_ms LIMIT %(overdue)s
        ) AS overdue
        JOIN delivery AS later USING (seq, position)
        WHERE later.held_until_ms <= %(clock_ms)s AND later.due_ms <= %(now_ms)s
        ORDER BY later.received_at_ms, later.seq, later.position LIMIT %(wanted)s FOR UPDATE OF later SKIP LOCKED
    ) AS again
) AS d
LEFT JOIN notification AS n ON n.seq = d.seq
ORDER BY lanes.turn, d.received_at_ms, d.seq, d.position LIMIT %(wanted)s;

-- name: group_members
-- Of some groups (their key, and where they stand) all members, with those on whom nobody else has his hand.
SELECT d.seq, d.position, d.received_at_ms, d.changes, d.attempt, d.attempt_at_ms, d.due_ms, d.group_key, d.id,
    n.app, n.object, n.raw_bytes, d.lane, d.token
FROM (
    SELECT one.* FROM unnest(%(key)s::text[], %(due_ms)s::bigint[], %(lane)s::int[]) AS k (key, due_ms, lane)
    JOIN delivery AS one ON one.target = %(target)s AND one.lane = k.lane AND one.due_ms = k.due_ms
        AND one.group_key = k.key
    WHERE one.held_until_ms <= %(clock_ms)s
    FOR UPDATE OF one SKIP LOCKED
) AS d
LEFT JOIN notification AS n ON n.seq = d.seq
ORDER BY d.received_at_ms, d.seq, d.position;

-- name: group_sizes
SELECT one.group_key, count(*)
FROM unnest(%(key)s::text[], %(due_ms)s::bigint[], %(lane)s::int[]) AS k (key, due_ms, lane)
JOIN delivery AS one ON one.target = %(target)s AND one.lane = k.lane AND one.due_ms = k.due_ms
    AND one.group_key = k.key
GROUP BY one.group_key;

-- name: oldest_started
-- What is oldest, due or not, of which the clock started by then, and nothing that somebody holds.
SELECT d.seq, d.position, d.received_at_ms, d.changes, d.attempt, d.attempt_at_ms, d.due_ms, d.group_key, d.id,
    n.app, n.object, n.raw_bytes, d.lane, d.token
FROM (
    SELECT * FROM (
        SELECT * FROM delivery
        WHERE target = %(target)s AND received_at_ms + 0 <= %(by_ms)s AND clock_started_ms = received_at_ms
            AND held_until_ms <= %(clock_ms)s AND NOT token = ANY(%(held)s::bigint[])
        ORDER BY received_at_ms + 0, seq, position LIMIT %(wanted)s FOR UPDATE SKIP LOCKED
    ) AS accepted
    UNION ALL
    SELECT * FROM (
        SELECT * FROM delivery
        WHERE target = %(target)s AND clock_started_ms <= %(by_ms)s AND clock_started_ms <> received_at_ms
            AND held_until_ms <= %(clock_ms)s AND NOT token = ANY(%(held)s::bigint[])
        ORDER BY clock_started_ms LIMIT %(wanted)s FOR UPDATE SKIP LOCKED
    ) AS replayed
) AS d
LEFT JOIN notification AS n ON n.seq = d.seq
ORDER BY d.received_at_ms, d.seq, d.position LIMIT %(wanted)s;

-- name: start_attempts
-- Number, time of the next and group go in before the attempt begins; what it is for comes out.
UPDATE delivery AS d SET attempt = d.attempt + 1, attempt_at_ms = %(now_ms)s::bigint, due_ms = k.due_ms,
    group_key = k.group_key, held_until_ms = %(until_ms)s::bigint, token = k.token
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(token)s::bigint[], %(due_ms)s::bigint[], %(group_key)s::text[])
    AS k (seq, position, token, due_ms, group_key)
JOIN notification AS n ON n.seq = k.seq
JOIN body AS b ON b.day = n.day AND b.seq = n.seq
WHERE d.seq = k.seq AND d.position = k.position
RETURNING k.token, d.selection, d.clock_started_ms, n.id, n.app, n.raw_crc32, b.raw, d.ordered;

-- name: hold
-- As `start_attempts`, where none is started; that one was interrupted is on record by now.
UPDATE delivery AS d SET attempt_at_ms = NULL, held_until_ms = %(until_ms)s::bigint, token = k.token
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(token)s::bigint[]) AS k (seq, position, token)
JOIN notification AS n ON n.seq = k.seq
JOIN body AS b ON b.day = n.day AND b.seq = n.seq
WHERE d.seq = k.seq AND d.position = k.position
RETURNING k.token, d.selection, d.clock_started_ms, n.id, n.app, n.raw_crc32, b.raw, d.ordered;

-- name: draw_tokens
SELECT nextval('token_seq') FROM generate_series(1, %(number)s);

-- name: attempts
SELECT a.seq, a.position, a.number, a.at_ms, a.status, a.error, a.duration_ms, a.response_excerpt
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
JOIN attempt AS a ON a.seq = k.seq AND a.position = k.position
ORDER BY a.seq, a.position, a.number;

-- name: record_attempts
INSERT INTO attempt (seq, position, number, at_ms, status, duration_ms, error, response_excerpt)
SELECT * FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(number)s::int[], %(at_ms)s::bigint[],
    %(status)s::int[], %(duration_ms)s::bigint[], %(error)b::bytea[], %(response_excerpt)b::bytea[])
ON CONFLICT (seq, position, number) DO UPDATE SET at_ms = excluded.at_ms, status = excluded.status,
    duration_ms = excluded.duration_ms, error = excluded.error, response_excerpt = excluded.response_excerpt;

-- name: still_held
-- Which leases have not ended; their rows stay locked until the commit.
SELECT d.token
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(token)s::bigint[]) AS k (seq, position, token)
JOIN delivery AS d ON d.seq = k.seq AND d.position = k.position AND d.token = k.token
ORDER BY d.seq, d.position
FOR UPDATE OF d;

-- name: remove_deliveries
-- With their attempts and turns; the notification and its bytes go with the last delivery of it.
WITH gone AS (
    DELETE FROM delivery AS d USING unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
    WHERE d.seq = k.seq AND d.position = k.position
    RETURNING d.seq, d.position
), a AS (
    DELETE FROM attempt USING gone WHERE attempt.seq = gone.seq AND attempt.position = gone.position
), t AS (
    DELETE FROM turn USING gone WHERE turn.seq = gone.seq AND turn.position = gone.position
), fewer AS (
    SELECT seq, count(*) AS number FROM gone
    WHERE NOT (seq, position) IN (SELECT * FROM unnest(%(kept_seq)s::bigint[], %(kept_position)s::int[]))
    GROUP BY seq
), counted AS MATERIALIZED (
    SELECT n.seq, n.day, n.deliveries - fewer.number AS left_over
    FROM notification AS n JOIN fewer ON fewer.seq = n.seq ORDER BY n.seq FOR UPDATE OF n
), u AS (
    UPDATE notification SET deliveries = counted.left_over FROM counted
    WHERE notification.seq = counted.seq AND counted.left_over > 0
), x AS (
    DELETE FROM notification USING counted WHERE notification.seq = counted.seq AND counted.left_over <= 0
), b AS (
    DELETE FROM body USING counted
    WHERE body.day = counted.day AND body.seq = counted.seq AND counted.left_over <= 0
)
SELECT count(*) FROM gone;

-- name: retry_later
UPDATE delivery AS d SET due_ms = k.due_ms, attempt_at_ms = NULL, group_key = k.group_key, held_until_ms = 0, token = 0
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(due_ms)s::bigint[], %(group_key)s::text[])
    AS k (seq, position, due_ms, group_key)
WHERE d.seq = k.seq AND d.position = k.position;

-- name: release
-- Of a lease with an attempt: what has been attempted with its group stays with it, and a group has a due_ms above 0.
UPDATE delivery AS d SET
    held_until_ms = 0,
    token = 0,
    attempt = d.attempt - k.attempting::int,
    attempt_at_ms = CASE WHEN k.attempting THEN NULL ELSE d.attempt_at_ms END,
    group_key = CASE WHEN k.alone OR (k.attempting AND d.attempt <= 1) THEN NULL ELSE d.group_key END,
    due_ms = CASE
        WHEN k.alone THEN 0
        WHEN NOT k.attempting THEN d.due_ms
        WHEN d.attempt > 1 AND d.group_key IS NOT NULL THEN 1
        ELSE 0
    END
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(attempting)s::bool[], %(alone)s::bool[])
    AS k (seq, position, attempting, alone)
WHERE d.seq = k.seq AND d.position = k.position;

-- name: let_go
-- At the end of an opening: what it holds is held no more, and due at the time stored with the lease.
UPDATE delivery AS d SET held_until_ms = 0
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(token)s::bigint[]) AS k (seq, position, token)
WHERE d.seq = k.seq AND d.position = k.position AND d.token = k.token;

-- name: next_due
SELECT min(due_ms) FROM (
    SELECT (
        SELECT due_ms FROM delivery
        WHERE target = %(target)s AND delivery.lane = lanes.lane AND held_until_ms <= %(clock_ms)s
            AND NOT token = ANY(%(held)s::bigint[])
        ORDER BY due_ms, received_at_ms, seq, position LIMIT 1
    ) AS due_ms
    FROM unnest(%(lanes)s::int[]) AS lanes (lane)
) AS each;

-- name: hasten
-- In one lane, of what would be due later, waits for no other and is held by nobody, the latest, and what is due at the
-- same moment as the last of them: all of a group is.
WITH last_one AS (
    SELECT due_ms FROM delivery
    WHERE target = %(target)s AND lane = %(lane)s AND due_ms > %(now_ms)s AND due_ms < %(waits)s
        AND held_until_ms <= %(clock_ms)s AND NOT token = ANY(%(held)s::bigint[])
    ORDER BY due_ms DESC LIMIT 1 OFFSET %(skipped)s
), hastened AS (
    UPDATE delivery SET due_ms = %(now_ms)s
    WHERE target = %(target)s AND lane = %(lane)s AND due_ms > %(now_ms)s AND due_ms < %(waits)s
        AND due_ms >= coalesce((SELECT due_ms FROM last_one), %(now_ms)s)
        AND held_until_ms <= %(clock_ms)s AND NOT token = ANY(%(held)s::bigint[])
    RETURNING 1
)
SELECT count(*) FROM hastened;

-- name: oldest
SELECT k.target, d.received_at_ms
FROM unnest(%(targets)s::text[]) AS k (target)
CROSS JOIN LATERAL (
    SELECT received_at_ms FROM delivery WHERE delivery.target = k.target ORDER BY received_at_ms + 0 LIMIT 1
) AS d;

-- name: oldest_clock
SELECT k.target, least(
    (SELECT received_at_ms FROM delivery
     WHERE delivery.target = k.target AND clock_started_ms = received_at_ms ORDER BY received_at_ms + 0 LIMIT 1),
    (SELECT clock_started_ms FROM delivery
     WHERE delivery.target = k.target AND clock_started_ms <> received_at_ms ORDER BY clock_started_ms LIMIT 1)
)
FROM unnest(%(targets)s::text[]) AS k (target);

-- name: pauses
SELECT target, from_ms, until_ms, reason, rate_per_second FROM pause ORDER BY target, from_ms;

-- name: lock_pauses
-- Against whoever else would change some; reading goes on.
LOCK TABLE pause IN SHARE ROW EXCLUSIVE MODE;

-- name: drop_pauses
DELETE FROM pause WHERE target = %(name)s;

-- name: add_pauses
INSERT INTO pause (target, from_ms, until_ms, reason, rate_per_second)
SELECT * FROM unnest(%(target)s::text[], %(from_ms)s::bigint[], %(until_ms)s::bigint[], %(reason)s::text[],
    %(rate_per_second)s::float8[]);

-- name: oldest_kept
SELECT min(delivered_at_ms) FROM kept;

-- name: keep_deliveries
INSERT INTO kept (received_at_ms, seq, position, target, id, selection, changes, lane, delivered_at_ms)
SELECT d.received_at_ms, d.seq, d.position, d.target, d.id, d.selection, d.changes, d.lane, %(clock_ms)s
FROM unnest(%(seq)s::bigint[], %(position)s::int[]) AS k (seq, position)
JOIN delivery AS d ON d.seq = k.seq AND d.position = k.position;

-- name: forget_kept
-- The oldest of what is past its time; the bytes go where nothing else needs them.
WITH gone AS (
    DELETE FROM kept USING (
        SELECT received_at_ms, seq, position FROM kept WHERE delivered_at_ms <= %(until_ms)s
        ORDER BY delivered_at_ms LIMIT %(number)s FOR UPDATE SKIP LOCKED
    ) AS past
    WHERE kept.received_at_ms = past.received_at_ms AND kept.seq = past.seq AND kept.position = past.position
    RETURNING kept.seq
), fewer AS (
    SELECT seq, count(*) AS number FROM gone GROUP BY seq
), counted AS MATERIALIZED (
    SELECT n.seq, n.day, n.deliveries - fewer.number AS left_over
    FROM notification AS n JOIN fewer ON fewer.seq = n.seq ORDER BY n.seq FOR UPDATE OF n
), u AS (
    UPDATE notification SET deliveries = counted.left_over FROM counted
    WHERE notification.seq = counted.seq AND counted.left_over > 0
), x AS (
    DELETE FROM notification USING counted WHERE notification.seq = counted.seq AND counted.left_over <= 0
), b AS (
    DELETE FROM body USING counted
    WHERE body.day = counted.day AND body.seq = counted.seq AND counted.left_over <= 0
)
SELECT count(*) FROM gone;

-- name: kept_page
-- Notifications of which something is kept, after a place and accepted by then, in order of acceptance.
SELECT k.received_at_ms, k.seq, n.id, n.app, n.raw_crc32, n.raw_bytes, k.taken
FROM (
    SELECT received_at_ms, seq,
        json_agg(json_build_array(id, target, selection, changes, lane) ORDER BY position)::text AS taken
    FROM kept
    WHERE (received_at_ms, seq) > (%(after_ms)s::bigint, %(after_seq)s::bigint) AND received_at_ms <= %(until_ms)s
    GROUP BY received_at_ms, seq ORDER BY received_at_ms, seq LIMIT %(number)s
) AS k
LEFT JOIN notification AS n ON n.seq = k.seq
ORDER BY k.received_at_ms, k.seq;

-- name: bodies
SELECT b.seq, b.raw FROM notification AS n JOIN body AS b ON b.day = n.day AND b.seq = n.seq
WHERE n.seq = ANY(%(seqs)s::bigint[]);

-- name: kept_ids
SELECT id FROM kept WHERE id = ANY(%(ids)s::text[]);

-- name: places_again
-- Where the deliveries that are asked for stand or can be put: place in what is asked for, notification, its size, the
-- position of what is kept, the first that is free. What is gone, or waits, is not among them. (Notifications stay
-- locked: nobody adds a delivery to them meanwhile, or removes the last.)
SELECT k.nth, n.received_at_ms, n.seq, n.raw_bytes,
    (SELECT max(position) FROM kept
     WHERE kept.received_at_ms = n.received_at_ms AND kept.seq = n.seq AND kept.id = k.id),
    1 + greatest(
        coalesce((SELECT max(position) FROM kept
                  WHERE kept.received_at_ms = n.received_at_ms AND kept.seq = n.seq), -1),
        coalesce((SELECT max(position) FROM delivery WHERE delivery.seq = n.seq), -1)
    )
FROM unnest(%(seq)s::bigint[], %(notification_id)s::text[], %(id)s::text[]) WITH ORDINALITY
    AS k (seq, notification_id, id, nth)
JOIN (SELECT * FROM notification WHERE seq = ANY(%(seq)s::bigint[]) ORDER BY seq FOR UPDATE) AS n
    ON n.seq = k.seq AND n.id = k.notification_id
WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.id = k.id)
ORDER BY k.nth;

-- name: count_again
UPDATE notification SET deliveries = deliveries + k.number
FROM (SELECT seq, count(*) AS number FROM unnest(%(seqs)s::bigint[]) AS each (seq) GROUP BY seq) AS k
WHERE notification.seq = k.seq;

-- name: deliver_again
INSERT INTO delivery
    (seq, position, target, received_at_ms, due_ms, clock_started_ms, changes, lane, ordered, id, selection)
SELECT seq, position, target, received_at_ms, 0, %(clock_started_ms)s, changes, lane, ordered, id, selection
FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(target)s::text[], %(received_at_ms)s::bigint[],
            %(changes)s::int[], %(lane)s::int[], %(ordered)s::bool[], %(id)s::text[], %(selection)s::text[])
    AS k (seq, position, target, received_at_ms, changes, lane, ordered, id, selection);

-- name: take_back
-- Of what is kept; the delivery that it is again is counted by now.
WITH gone AS (
    DELETE FROM kept USING unnest(%(received_at_ms)s::bigint[], %(seq)s::bigint[], %(position)s::int[])
        AS k (received_at_ms, seq, position)
    WHERE kept.received_at_ms = k.received_at_ms AND kept.seq = k.seq AND kept.position = k.position
    RETURNING kept.seq
)
UPDATE notification SET deliveries = deliveries - k.number
FROM (SELECT seq, count(*) AS number FROM gone GROUP BY seq) AS k
WHERE notification.seq = k.seq;

-- name: traced
-- The deliveries of a notification, those that are kept included: their ids begin with its own.
SELECT d.target, d.seq, d.position, d.id, d.changes, d.attempt, d.due_ms, d.attempt_at_ms, NULL::bigint
FROM delivery AS d WHERE d.id >= %(notification_id)s AND d.id < %(notification_id)s || chr(127)
UNION ALL
SELECT k.target, k.seq, k.position, k.id, k.changes, 0, 0, NULL::bigint, k.delivered_at_ms
FROM kept AS k WHERE k.id >= %(notification_id)s AND k.id < %(notification_id)s || chr(127)
ORDER BY 2, 3;

-- name: notification_at
SELECT app, received_at_ms, raw_bytes FROM notification WHERE seq = %(seq)s AND id = %(notification_id)s;

-- name: sizes_before
SELECT seq, raw_bytes FROM notification WHERE seq < %(before)s ORDER BY seq DESC LIMIT %(number)s;

-- name: mentioned
-- Of some notifications, the latest first, those whose body holds one of the needles.
SELECT n.id FROM notification AS n JOIN body AS b ON b.day = n.day AND b.seq = n.seq
WHERE n.seq BETWEEN %(first)s AND %(last)s AND EXISTS (
    SELECT 1 FROM unnest(%(needles)b::bytea[]) AS each (needle) WHERE position(needle IN b.raw) > 0
)
ORDER BY n.seq DESC;

-- name: moved_so_far
SELECT seq, notifications, deliveries, checksum FROM moved WHERE source = %(source)s;

-- name: note_moved
INSERT INTO moved (source, seq, notifications, deliveries, checksum)
VALUES (%(source)s, %(seq)s, %(notifications)s, %(deliveries)s, %(checksum)s)
ON CONFLICT (source) DO UPDATE SET seq = excluded.seq, notifications = moved.notifications + excluded.notifications,
    deliveries = moved.deliveries + excluded.deliveries, checksum = moved.checksum + excluded.checksum;

-- name: draw_seqs
SELECT nextval('notification_seq') FROM generate_series(1, %(number)s);

-- name: take_notifications
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(seq)s::bigint[], %(id)s::text[], %(app)s::text[], %(received_at_ms)s::bigint[],
        %(raw_crc32)s::bigint[], %(deliveries)s::int[], %(object)s::text[], %(raw)b::bytea[])
        AS given (seq, id, app, received_at_ms, raw_crc32, deliveries, object, raw)
), b AS (
    INSERT INTO body (day, seq, raw) SELECT %(day)s::int, seq, raw FROM given
)
INSERT INTO notification (seq, id, app, received_at_ms, raw_crc32, raw_bytes, deliveries, day, object)
SELECT seq, id, app, received_at_ms, raw_crc32, length(raw), deliveries, %(day)s::int, object FROM given;

-- name: take_deliveries
INSERT INTO delivery (seq, position, target, received_at_ms, due_ms, clock_started_ms, attempt, attempt_at_ms, changes,
    lane, ordered, id, selection, group_key)
SELECT * FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(target)s::text[], %(received_at_ms)s::bigint[],
    %(due_ms)s::bigint[], %(clock_started_ms)s::bigint[], %(attempt)s::int[], %(attempt_at_ms)s::bigint[],
    %(changes)s::int[], %(lane)s::smallint[], %(ordered)s::bool[], %(id)s::text[], %(selection)s::text[],
    %(group_key)s::text[]);

-- name: take_kept
INSERT INTO kept (seq, position, received_at_ms, target, id, selection, changes, lane, delivered_at_ms)
SELECT * FROM unnest(%(seq)s::bigint[], %(position)s::int[], %(received_at_ms)s::bigint[], %(target)s::text[],
    %(id)s::text[], %(selection)s::text[], %(changes)s::int[], %(lane)s::smallint[], %(delivered_at_ms)s::bigint[]);

-- name: take_keys
WITH came AS (
    INSERT INTO seen (bucket, digest)
    SELECT %(bucket)s::int, digest FROM unnest(%(digests)b::bytea[]) AS each (digest) ORDER BY digest
    ON CONFLICT DO NOTHING RETURNING 1
)
INSERT INTO seen_tally (bucket, writer, keys) SELECT %(bucket)s::int, 0, count(*) FROM came
ON CONFLICT (bucket, writer) DO UPDATE SET keys = seen_tally.keys + excluded.keys;

-- name: new_writer
INSERT INTO writer (id, name, version, seen_at_ms)
VALUES (nextval('writer_seq'), %(name)s, %(version)s, clock_ms()) RETURNING id;

-- name: beat
-- Who was silent for so long that others took him for gone is there again.
INSERT INTO writer (id, name, version, seen_at_ms)
SELECT id, %(name)s, %(version)s, clock_ms() FROM unnest(%(writers)s::bigint[]) AS id
ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms;

-- name: counts
SELECT target, sum(deliveries)::bigint, sum(bytes)::bigint FROM tally
WHERE NOT writer = ANY(%(writers)s::bigint[]) GROUP BY target;

-- name: peers
SELECT count(*) FROM writer WHERE NOT id = ANY(%(writers)s::bigint[]);

-- name: fold_writers
-- What those have added up who are gone goes to the account 0.
WITH gone AS (
    DELETE FROM writer WHERE id = ANY(%(writers)s::bigint[]) OR seen_at_ms < clock_ms() - %(silent_ms)s::bigint
    RETURNING id
), t AS (
    DELETE FROM tally USING gone WHERE tally.writer = gone.id RETURNING tally.*
), s AS (
    DELETE FROM seen_tally USING gone WHERE seen_tally.writer = gone.id RETURNING seen_tally.*
), tt AS (
    INSERT INTO tally (writer, target, deliveries, bytes)
    SELECT 0, target, sum(deliveries), sum(bytes) FROM t GROUP BY target
    ON CONFLICT (writer, target) DO UPDATE
        SET deliveries = tally.deliveries + excluded.deliveries, bytes = tally.bytes + excluded.bytes
)
INSERT INTO seen_tally (bucket, writer, keys)
SELECT bucket, 0, sum(keys) FROM s GROUP BY bucket
ON CONFLICT (bucket, writer) DO UPDATE SET keys = seen_tally.keys + excluded.keys;

-- name: size
-- What the tables take on disk, partitions, indexes and long bodies included.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class AS c WHERE c.relnamespace = 'gateway'::regnamespace AND c.relkind = 'r';

-- name: bucket_ids
SELECT id FROM seen_bucket;

-- name: partitions
-- Also what an upkeep that was interrupted has left half detached (true), or detached (NULL).
SELECT split_part(c.relname, '_', 1), c.relname, i.inhdetachpending
FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
WHERE c.relnamespace = 'gateway'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^(body|seen)_[0-9]+$'
ORDER BY c.relname;

-- name: listen
LISTEN gateway_ready;

-- name: notify
SELECT pg_notify('gateway_ready', %(payload)s);
