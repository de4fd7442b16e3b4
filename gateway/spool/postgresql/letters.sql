-- The index of dead letters (`letters.py`). Rows come as arrays, one a column; `l.*` is in the order of the table.

-- name: fence
-- Leases that have ended by themselves, and that others follow now.
INSERT INTO fenced (id, token, at_ms)
SELECT *, clock_ms() FROM unnest(%(ids)s::text[], %(tokens)s::bigint[])
ON CONFLICT DO NOTHING;

-- name: forget_fenced
DELETE FROM fenced WHERE at_ms < (SELECT clock_ms()) - %(kept_ms)s::bigint;

-- name: list_letters
-- What is listed of the same delivery is of another time: who restores a database, or copies files, can make that.
INSERT INTO letter (id, place, token, target, app, reason, received_at_ms, died_at_ms, object, fields, kinds, waba,
    phone_number_id, attempts, last_status, last_error, body_bytes, problem)
SELECT id, place, token, target, app, reason, received_at_ms, died_at_ms, object, string_to_array(fields, chr(10)),
    string_to_array(kinds, chr(10)), waba, phone_number_id, attempts, last_status, last_error, body_bytes, problem
FROM unnest(%(id)s::text[], %(place)s::text[], %(token)s::bigint[], %(target)s::text[], %(app)s::text[],
    %(reason)s::text[], %(received_at_ms)s::bigint[], %(died_at_ms)s::bigint[], %(object)s::text[], %(fields)s::text[],
    %(kinds)s::text[], %(waba)s::text[], %(phone_number_id)s::text[], %(attempts)s::int[], %(last_status)s::int[],
    %(last_error)s::text[], %(body_bytes)s::int[], %(problem)s::text[])
    AS k (id, place, token, target, app, reason, received_at_ms, died_at_ms, object, fields, kinds, waba,
        phone_number_id, attempts, last_status, last_error, body_bytes, problem)
WHERE NOT %(found)s OR NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.id = k.id)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET place = excluded.place, token = excluded.token, target = excluded.target,
    app = excluded.app, reason = excluded.reason, received_at_ms = excluded.received_at_ms,
    died_at_ms = excluded.died_at_ms, object = excluded.object, fields = excluded.fields, kinds = excluded.kinds,
    waba = excluded.waba, phone_number_id = excluded.phone_number_id, attempts = excluded.attempts,
    last_status = excluded.last_status, last_error = excluded.last_error, body_bytes = excluded.body_bytes,
    problem = excluded.problem
WHERE NOT %(found)s OR letter.place = excluded.place OR NOT EXISTS (
    SELECT 1 FROM letter_place AS p WHERE p.id = letter.place AND p.seen_at_ms > clock_ms() - %(gone_ms)s::bigint
)
RETURNING id;

-- name: unlist_letters
-- Of one place, or (without) of any.
DELETE FROM letter USING unnest(%(ids)s::text[]) AS k (id)
WHERE letter.id = k.id AND letter.place = coalesce(%(place)s::text, letter.place)
RETURNING letter.id;

-- name: bring_back
-- What was taken out comes back: this is its file again, and nobody who took it out stores it any more.
UPDATE letter SET token = %(token)s
WHERE id = %(id)s AND place = %(place)s
    AND NOT EXISTS (SELECT 1 FROM fenced AS f WHERE f.id = %(id)s AND f.token = %(token)s)
RETURNING id;

-- name: token_of_letter
-- Whoever brings it back at this moment comes first, or finds it gone.
SELECT token FROM letter WHERE id = %(id)s FOR UPDATE;

-- name: letter_states
-- What is certain of files that were written, or taken out, under a token, and that nobody has published.
SELECT k.id, k.token, CASE
    WHEN EXISTS (SELECT 1 FROM fenced AS f WHERE f.id = k.id AND f.token = k.token) THEN 'fenced'
    WHEN EXISTS (SELECT 1 FROM letter AS l WHERE l.id = k.id AND l.token = k.token) THEN 'listed'
    WHEN EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = k.id AND d.token = k.token) THEN 'held'
    WHEN EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = k.id) THEN 'fenced'
    ELSE 'unknown'
END
FROM unnest(%(ids)s::text[], %(tokens)s::bigint[]) AS k (id, token);

-- name: unlisted_letters
-- Of files in one place, those that are to be listed: no other place has the letter, none that is still there at least,
-- and its delivery does not wait. With those that could not be read.
SELECT k.id FROM unnest(%(ids)s::text[]) AS k (id)
LEFT JOIN letter AS l ON l.id = k.id
LEFT JOIN letter_place AS p ON p.id = l.place
WHERE (l.id IS NULL OR (l.place = %(place)s AND l.problem <> '')
    OR (l.place <> %(place)s AND coalesce(p.seen_at_ms, 0) <= clock_ms() - %(gone_ms)s::bigint))
    AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = k.id);

-- name: letters_at
SELECT id, target, received_at_ms FROM letter WHERE place = %(place)s AND id > %(after)s ORDER BY id LIMIT %(number)s;

-- name: letters_named
SELECT l.* FROM unnest(%(ids)s::text[]) AS k (id) JOIN letter AS l ON l.id = k.id;

-- name: letters_beginning
SELECT id FROM letter WHERE id >= %(begin)s AND id < %(begin)s || chr(127) ORDER BY id LIMIT %(number)s;

-- name: letters_forward
SELECT l.* FROM letter AS l
WHERE (l.received_at_ms, l.id) > (%(since_ms)s::bigint, %(after)s::text) AND l.received_at_ms <= %(until_ms)s
ORDER BY l.received_at_ms, l.id LIMIT %(number)s;

-- name: letters_forward_of_target
SELECT l.* FROM letter AS l
WHERE l.target = %(target)s AND (l.received_at_ms, l.id) > (%(since_ms)s::bigint, %(after)s::text)
    AND l.received_at_ms <= %(until_ms)s
ORDER BY l.received_at_ms, l.id LIMIT %(number)s;

-- name: letters_back
SELECT l.* FROM letter AS l
WHERE (l.received_at_ms, l.id) < (%(until_ms)s::bigint, %(after)s::text) AND l.received_at_ms >= %(since_ms)s
ORDER BY l.received_at_ms DESC, l.id DESC LIMIT %(number)s;

-- name: letters_back_of_target
SELECT l.* FROM letter AS l
WHERE l.target = %(target)s AND (l.received_at_ms, l.id) < (%(until_ms)s::bigint, %(after)s::text)
    AND l.received_at_ms >= %(since_ms)s
ORDER BY l.received_at_ms DESC, l.id DESC LIMIT %(number)s;

-- name: count_letters
SELECT target, count(*) FROM letter GROUP BY target;

-- name: announce_place
INSERT INTO letter_place (id, gateway, directory, seen_at_ms)
VALUES (%(id)s, %(gateway)s, %(directory)s, clock_ms())
ON CONFLICT (id) DO UPDATE SET gateway = excluded.gateway, directory = excluded.directory,
    seen_at_ms = excluded.seen_at_ms;

-- name: places
SELECT id, gateway, directory, clock_ms() - seen_at_ms FROM letter_place;

-- name: forget_places
-- Nobody has been there for long, and no letter is said to be.
DELETE FROM letter_place WHERE seen_at_ms < clock_ms() - %(kept_ms)s::bigint
    AND NOT EXISTS (SELECT 1 FROM letter WHERE letter.place = letter_place.id);

-- name: offer_seal_key
INSERT INTO seal_key (key) VALUES (%(key)b) ON CONFLICT DO NOTHING;

-- name: seal_key
SELECT key FROM seal_key;
