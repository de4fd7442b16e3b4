-- What the writer thread says to SQLite. Each statement does a whole batch in one step: apsw gives up the GIL at
-- every step, and while the loop is busy each return of it may cost a switch interval (measured at 64 rows beside a
-- busy thread: 75 us a row this way, 740 us with executemany). So rows come as one JSON array, bodies as one carray.
-- What every notification needs has its rows bound one by one, as {rows}: a list of VALUES, filled up with rows of NULL.

-- name: known_digests
-- 0-based positions in ?1 of digests that one of the buckets ?2 holds.
SELECT probe.rowid - 1
FROM carray(?1) AS probe
WHERE EXISTS (
    SELECT 1 FROM seen
    WHERE seen.bucket IN (SELECT value FROM json_each(?2)) AND seen.digest = probe.value
);

-- name: remember_digests
INSERT INTO seen (bucket, digest) SELECT ?1, value FROM carray(?2) WHERE true
ON CONFLICT DO NOTHING;

-- name: young_keys
-- Those whose bucket is there, oldest first.
SELECT row, bucket, digests FROM seen_young WHERE bucket IN (SELECT id FROM seen_bucket) ORDER BY row;

-- name: add_young_keys
INSERT INTO seen_young (row, bucket, digests) VALUES (?1, ?2, ?3);

-- name: forget_young_keys
DELETE FROM seen_young WHERE row <= ?1;

-- name: unlist_young_keys
DELETE FROM seen_young WHERE bucket = ?1;

-- name: forget_digests
-- The first ?2 of a bucket, as one range.
DELETE FROM seen
WHERE bucket = ?1 AND digest <= coalesce(
    (SELECT digest FROM seen WHERE bucket = ?1 ORDER BY digest LIMIT 1 OFFSET ?2 - 1),
    (SELECT max(digest) FROM seen WHERE bucket = ?1)
);

-- name: keys_after
-- The next ?3 keys of a bucket as one blob.
SELECT CAST(coalesce(group_concat(digest, ''), '') AS BLOB)
FROM (SELECT digest FROM seen WHERE bucket = ?1 AND digest > ?2 ORDER BY digest LIMIT ?3);

-- name: filters
SELECT bucket, bits FROM seen_filter;

-- name: put_filter
INSERT OR REPLACE INTO seen_filter (bucket, bits) VALUES (?1, ?2);

-- name: drop_filter
DELETE FROM seen_filter WHERE bucket = ?1;

-- name: put_bucket
INSERT INTO seen_bucket (id, start_ms, end_ms, keys) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET keys = excluded.keys;

-- name: drop_bucket
DELETE FROM seen_bucket WHERE id = ?1;

-- name: add_notifications
INSERT INTO notification (seq, id, app, received_at_ms, raw_crc32, deliveries, object, raw_bytes)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL;

-- name: add_bodies
-- A carray counts its rows from 1: ?1 is the number before the first.
INSERT INTO body (seq, raw) SELECT ?1 + bodies.rowid, bodies.value FROM carray(?2) AS bodies;

-- name: add_deliveries
INSERT INTO delivery (target, received_at_ms, notification, position, id, selection, clock_started_ms, changes, lane,
    due_ms, attempt, attempt_at_ms, group_key)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL;

-- name: add_turns
INSERT INTO turn (target, key, notification, position)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1);

-- name: queue_up
-- Of new deliveries that have turns, each waits (until ?1) while it is not the first under every key of its own.
UPDATE delivery SET ordered = 1, due_ms = iif(EXISTS (
    SELECT 1 FROM turn AS mine INDEXED BY turn_delivery WHERE mine.notification = delivery.notification
        AND mine.position = delivery.position AND EXISTS (
            SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
                AND (other.notification, other.position) < (mine.notification, mine.position)
        )
), ?1, 0)
WHERE (target, received_at_ms, notification, position) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?2)
);

-- name: turns_of
-- Targets and keys of deliveries that are about to go.
SELECT DISTINCT turn.target, turn.key
FROM json_each(?1) AS k
CROSS JOIN turn INDEXED BY turn_delivery
    ON turn.notification = k.value ->> 2 AND turn.position = k.value ->> 3;

-- name: let_follow
-- The first under each of the keys ?2, if it is the first under every key of its own, waits (until ?1) no more.
WITH next (target, notification, position) AS (
    SELECT value ->> 0,
        (SELECT notification FROM turn WHERE target = value ->> 0 AND key = value ->> 1
         ORDER BY notification, position LIMIT 1),
        (SELECT position FROM turn WHERE target = value ->> 0 AND key = value ->> 1
         ORDER BY notification, position LIMIT 1)
    FROM json_each(?2)
)
UPDATE delivery SET due_ms = 0
WHERE due_ms = ?1 AND (target, received_at_ms, notification, position) IN (
    SELECT next.target, n.received_at_ms, next.notification, next.position
    FROM next CROSS JOIN notification AS n ON n.seq = next.notification
    WHERE NOT EXISTS (
        SELECT 1 FROM turn AS mine INDEXED BY turn_delivery WHERE mine.notification = next.notification
            AND mine.position = next.position AND EXISTS (
                SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
                    AND (other.notification, other.position) < (mine.notification, mine.position)
            )
    )
);

-- name: pending_ids
SELECT id FROM delivery WHERE id IN (SELECT value FROM json_each(?1));

-- name: due
-- In the lane ?6, of what is due at once, the oldest; of the retries that are overdue, the oldest among those overdue
-- the longest; nothing that somebody holds (?5). What planning wants to know of each, in order of acceptance, as one JSON array.
WITH due (received_at_ms, notification, position) AS (
    SELECT * FROM (
        SELECT received_at_ms, notification, position FROM delivery
        WHERE target = ?1 AND lane = ?6 AND due_ms = 0 ORDER BY received_at_ms, notification, position LIMIT ?3
    )
    UNION ALL
    SELECT * FROM (
        SELECT received_at_ms, notification, position FROM delivery
        WHERE target = ?1 AND lane = ?6 AND due_ms > 0 AND due_ms <= ?2 ORDER BY due_ms LIMIT ?4
    )
), chosen AS (
    SELECT * FROM due
    WHERE (received_at_ms, notification, position) NOT IN (
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?5)
    )
    ORDER BY received_at_ms, notification, position LIMIT ?3
)
SELECT json_group_array(json_array(d.received_at_ms, d.notification, d.position, d.changes, d.attempt, d.due_ms,
           d.group_key, n.app, n.object, n.raw_bytes, d.lane))
FROM chosen
CROSS JOIN delivery AS d ON d.target = ?1 AND d.received_at_ms = chosen.received_at_ms
    AND d.notification = chosen.notification AND d.position = chosen.position
LEFT JOIN notification AS n ON n.seq = d.notification;

-- name: oldest_started
-- What is oldest, due or not, of which the clock started by ?2, and nothing that somebody holds (?4).
WITH started (received_at_ms, notification, position) AS (
    SELECT * FROM (
        SELECT received_at_ms, notification, position FROM delivery
        WHERE target = ?1 AND received_at_ms <= ?2 AND clock_started_ms = received_at_ms
            AND (received_at_ms, notification, position) NOT IN (
                SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?4)
            )
        ORDER BY received_at_ms, notification, position LIMIT ?3
    )
    UNION ALL
    SELECT * FROM (
        SELECT received_at_ms, notification, position FROM delivery INDEXED BY delivery_replayed
        WHERE target = ?1 AND clock_started_ms <= ?2 AND clock_started_ms <> received_at_ms
            AND (received_at_ms, notification, position) NOT IN (
                SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?4)
            )
        ORDER BY clock_started_ms LIMIT ?3
    )
)
SELECT d.received_at_ms, d.notification, d.position, d.due_ms, d.group_key, d.lane
FROM started
CROSS JOIN delivery AS d ON d.target = ?1 AND d.received_at_ms = started.received_at_ms
    AND d.notification = started.notification AND d.position = started.position
ORDER BY d.received_at_ms, d.notification, d.position LIMIT ?3;

-- name: note_interrupted
-- That an attempt was interrupted is on record now.
UPDATE delivery SET attempt_at_ms = NULL
WHERE (target, received_at_ms, notification, position) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)
);

-- name: leave_group
UPDATE delivery SET due_ms = 0, group_key = NULL
WHERE (target, received_at_ms, notification, position) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)
);

-- name: group_members
-- Of the groups ?2 (their due_ms, key and lane) all members: the index finds them by their one due_ms.
SELECT json_group_array(json_array(d.received_at_ms, d.notification, d.position, d.group_key))
FROM json_each(?2) AS k
CROSS JOIN delivery AS d INDEXED BY delivery_due
    ON d.target = ?1 AND d.lane = k.value ->> 2 AND d.due_ms = k.value ->> 0 AND d.group_key = k.value ->> 1;

-- name: to_lease
-- Everything of the deliveries at the places ?2, in that order: the columns as JSON, and all bodies as one blob.
-- (group_concat takes the bytes of a blob as they are; lengths and checksums say where one ends, and that it did.)
SELECT json_group_array(json_array(d.received_at_ms, d.notification, d.position, d.id, d.selection,
           d.clock_started_ms, d.attempt, d.attempt_at_ms, n.id, n.app, n.raw_crc32, length(b.raw),
           d.ordered)),
       CAST(group_concat(b.raw, '') AS BLOB)
FROM json_each(?2) AS k
CROSS JOIN delivery AS d ON d.target = ?1 AND d.received_at_ms = k.value ->> 0
    AND d.notification = k.value ->> 1 AND d.position = k.value ->> 2
LEFT JOIN notification AS n ON n.seq = d.notification
LEFT JOIN body AS b ON b.seq = d.notification;

-- name: attempts
SELECT a.notification, a.position, a.number, a.at_ms, a.status, a.error, a.duration_ms, a.response_excerpt
FROM json_each(?1) AS k
CROSS JOIN attempt AS a ON a.notification = k.value ->> 1 AND a.position = k.value ->> 2
ORDER BY a.notification, a.position, a.number;

-- name: record_attempts
INSERT OR REPLACE INTO attempt
    (notification, position, number, at_ms, status, error, duration_ms, response_excerpt)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM json_each(?1);

-- name: start_attempts
-- (The target comes from the rows: were it a constant, SQLite would walk all deliveries of the target.)
WITH k (target, received_at_ms, notification, position, due_ms, group_key, attempt_at_ms) AS (VALUES {rows})
UPDATE delivery
SET attempt = attempt + 1, attempt_at_ms = k.attempt_at_ms, due_ms = k.due_ms, group_key = k.group_key
FROM k
WHERE delivery.target = k.target AND delivery.received_at_ms = k.received_at_ms
    AND delivery.notification = k.notification AND delivery.position = k.position;

-- name: remove_deliveries
DELETE FROM delivery WHERE (target, received_at_ms, notification, position) IN (VALUES {rows});

-- name: retry_later
UPDATE delivery SET due_ms = k.due_ms, attempt_at_ms = NULL, group_key = k.group_key
FROM (SELECT value ->> 0 AS target, value ->> 1 AS received_at_ms, value ->> 2 AS notification,
             value ->> 3 AS position, value ->> 4 AS due_ms, value ->> 5 AS group_key FROM json_each(?1)) AS k
WHERE delivery.target = k.target AND delivery.received_at_ms = k.received_at_ms
    AND delivery.notification = k.notification AND delivery.position = k.position;

-- name: release
-- What has been attempted with its group stays with it, and a group is found by a due_ms above 0.
UPDATE delivery SET due_ms = attempt > 1 AND group_key IS NOT NULL, attempt = attempt - 1, attempt_at_ms = NULL,
    group_key = iif(attempt > 1, group_key, NULL)
WHERE (target, received_at_ms, notification, position) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)
);

-- name: next_due
SELECT min(due_ms) FROM (
    SELECT (
        SELECT due_ms FROM delivery
        WHERE target = ?1 AND lane = lanes.value AND (received_at_ms, notification, position) NOT IN (
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2)
        )
        ORDER BY due_ms, received_at_ms, notification, position LIMIT 1
    ) AS due_ms
    FROM json_each(?3) AS lanes
);

-- name: hasten
-- In the lane ?5, of what is due after ?2, waits for no other (?6) and is held by nobody (?4), the latest ?3, and what is due at
-- the same moment as the last of them: all of a group is.
UPDATE delivery INDEXED BY delivery_due SET due_ms = ?2
WHERE target = ?1 AND lane = ?5 AND due_ms > ?2 AND due_ms < ?6
    AND due_ms >= coalesce((
        SELECT due_ms FROM delivery INDEXED BY delivery_due
        WHERE target = ?1 AND lane = ?5 AND due_ms > ?2 AND due_ms < ?6
            AND (received_at_ms, notification, position) NOT IN (
                SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?4)
            )
        ORDER BY due_ms DESC LIMIT 1 OFFSET ?3 - 1
    ), ?2)
    AND (received_at_ms, notification, position) NOT IN (
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?4)
    );

-- name: oldest
SELECT k.value, (SELECT min(received_at_ms) FROM delivery WHERE target = k.value) FROM json_each(?1) AS k;

-- name: oldest_clock
-- (min() of several is NULL where one is.)
SELECT k.value, min(coalesce(accepted, replayed), coalesce(replayed, accepted)) FROM (
    SELECT value,
        (SELECT received_at_ms FROM delivery WHERE target = value AND clock_started_ms = received_at_ms
         ORDER BY received_at_ms LIMIT 1) AS accepted,
        (SELECT clock_started_ms FROM delivery INDEXED BY delivery_replayed
         WHERE target = value AND clock_started_ms <> received_at_ms
         ORDER BY clock_started_ms LIMIT 1) AS replayed
    FROM json_each(?1)
) AS k;

-- name: pauses
SELECT target, from_ms, until_ms, reason, rate_per_second FROM pause ORDER BY target, from_ms;

-- name: drop_pauses
DELETE FROM pause WHERE target = ?1;

-- name: add_pauses
INSERT INTO pause (target, from_ms, until_ms, reason, rate_per_second)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1);

-- name: count_pending
SELECT d.target, count(*), sum(n.raw_bytes)
FROM delivery AS d CROSS JOIN notification AS n ON n.seq = d.notification
GROUP BY d.target;

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM notification;

-- name: buckets
SELECT id, start_ms, end_ms, keys FROM seen_bucket ORDER BY id;

-- name: any_kept
SELECT EXISTS (SELECT 1 FROM kept);

-- name: oldest_kept
SELECT min(delivered_at_ms) FROM kept;

-- name: keep_deliveries
INSERT INTO kept (received_at_ms, notification, position, target, id, selection, changes, lane, delivered_at_ms)
SELECT d.received_at_ms, d.notification, d.position, d.target, d.id, d.selection, d.changes, d.lane, ?1
FROM json_each(?2) AS k
CROSS JOIN delivery AS d ON d.target = k.value ->> 0 AND d.received_at_ms = k.value ->> 1
    AND d.notification = k.value ->> 2 AND d.position = k.value ->> 3;

-- name: forget_kept
DELETE FROM kept WHERE (received_at_ms, notification, position) IN (
    SELECT received_at_ms, notification, position FROM kept WHERE delivered_at_ms <= ?1
    ORDER BY delivered_at_ms LIMIT ?2
);

-- name: forget_these
DELETE FROM kept WHERE (received_at_ms, notification, position) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)
);

-- name: kept_page
-- Notifications of which something is kept, after the place (?1, ?2) and accepted by ?3, in order of acceptance.
SELECT k.received_at_ms, k.notification, n.id, n.app, n.raw_crc32, n.raw_bytes, k.taken
FROM (
    SELECT received_at_ms, notification,
        json_group_array(json_array(id, target, selection, changes, lane)) AS taken
    FROM kept WHERE (received_at_ms, notification) > (?1, ?2) AND received_at_ms <= ?3
    GROUP BY received_at_ms, notification ORDER BY received_at_ms, notification LIMIT ?4
) AS k
LEFT JOIN notification AS n ON n.seq = k.notification
ORDER BY k.received_at_ms, k.notification;

-- name: bodies
SELECT seq, raw FROM body WHERE seq IN (SELECT value FROM json_each(?1));

-- name: kept_ids
SELECT id FROM kept WHERE id IN (SELECT value FROM json_each(?1));

-- name: places_again
-- Of the deliveries ?1 (seq and id of the notification, id) those whose notification is there and that do not wait: their
-- 0-based index, the place where each is kept, and one in its notification that is free. (A notification's deliveries
-- are found target by target: `waiting` are those that have any.)
WITH RECURSIVE waiting (target) AS (
    SELECT min(target) FROM delivery
    UNION ALL
    SELECT (SELECT min(target) FROM delivery WHERE target > waiting.target) FROM waiting
    WHERE waiting.target IS NOT NULL
)
SELECT k.key, n.received_at_ms, n.seq, n.raw_bytes,
    (SELECT position FROM kept
     WHERE received_at_ms = n.received_at_ms AND notification = n.seq AND id = k.value ->> 2),
    1 + max(
        coalesce((SELECT max(position) FROM kept
                  WHERE received_at_ms = n.received_at_ms AND notification = n.seq), -1),
        coalesce((SELECT max(d.position) FROM waiting CROSS JOIN delivery AS d
                  ON d.target = waiting.target AND d.received_at_ms = n.received_at_ms
                      AND d.notification = n.seq), -1)
    )
FROM json_each(?1) AS k
CROSS JOIN notification AS n ON n.seq = k.value ->> 0 AND n.id = k.value ->> 1
WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE id = k.value ->> 2)
ORDER BY k.key;

-- name: count_again
UPDATE notification SET deliveries = deliveries + k.number
FROM (SELECT value AS seq, count(*) AS number FROM json_each(?1) GROUP BY value) AS k
WHERE notification.seq = k.seq;

-- name: firsts
-- The first under each of the keys ?1, as the place of a delivery.
SELECT DISTINCT first.target, n.received_at_ms, first.notification, first.position
FROM (
    SELECT value ->> 0 AS target,
        (SELECT notification FROM turn WHERE target = value ->> 0 AND key = value ->> 1
         ORDER BY notification, position LIMIT 1) AS notification,
        (SELECT position FROM turn WHERE target = value ->> 0 AND key = value ->> 1
         ORDER BY notification, position LIMIT 1) AS position
    FROM json_each(?1)
) AS first
CROSS JOIN notification AS n ON n.seq = first.notification;

-- name: step_back
-- Of those at the places ?2 that are neither under way nor in a group, who is no longer the first waits (until ?1).
UPDATE delivery SET due_ms = ?1
WHERE due_ms <> ?1 AND attempt_at_ms IS NULL AND group_key IS NULL
    AND (target, received_at_ms, notification, position) IN (
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?2)
    )
    AND EXISTS (
        SELECT 1 FROM turn AS mine INDEXED BY turn_delivery WHERE mine.notification = delivery.notification
            AND mine.position = delivery.position AND EXISTS (
                SELECT 1 FROM turn AS other WHERE other.target = mine.target AND other.key = mine.key
                    AND (other.notification, other.position) < (mine.notification, mine.position)
            )
    );

-- name: traced
-- The deliveries of a notification ?1, those that are kept included: their ids begin with its own.
SELECT d.target, d.received_at_ms, d.notification, d.position, d.id, d.changes, d.attempt, d.due_ms, d.attempt_at_ms, NULL
FROM delivery AS d WHERE d.id >= ?1 AND d.id < ?1 || char(127)
UNION ALL
SELECT k.target, k.received_at_ms, k.notification, k.position, k.id, k.changes, 0, 0, NULL, k.delivered_at_ms
FROM kept AS k WHERE k.id >= ?1 AND k.id < ?1 || char(127)
ORDER BY 2, 3, 4;

-- name: notification_at
SELECT app, received_at_ms, raw_bytes FROM notification WHERE seq = ?1 AND id = ?2;

-- name: sizes_before
-- The next ?2 notifications before the place ?1, the latest first, and their sizes.
SELECT seq, raw_bytes FROM notification WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2;

-- name: mentioned
-- Of the notifications from ?1 to ?2, the latest first, those whose body holds one of the blobs ?3.
SELECT n.id FROM body AS b CROSS JOIN notification AS n ON n.seq = b.seq
WHERE b.seq BETWEEN ?1 AND ?2 AND EXISTS (SELECT 1 FROM carray(?3) AS needle WHERE instr(b.raw, needle.value))
ORDER BY b.seq DESC;
