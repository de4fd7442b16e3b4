-- Schema 8 of a spool file. `user_version` holds the number, `application_id` ("MWGS") says that the file is ours.
-- Whoever changes it raises SCHEMA_VERSION in database.py and adds the step from the version before to migrations.sql.

-- A notification that some delivery still needs, one that waits or one that is kept.
CREATE TABLE notification (
    seq INTEGER PRIMARY KEY,          -- order of acceptance within this file
    id TEXT NOT NULL,
    app TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,
    raw_crc32 INTEGER NOT NULL,       -- SQLite has no checksum of its own on content
    deliveries INTEGER NOT NULL,      -- how many are left; the triggers below keep it
    object TEXT,                      -- of an envelope that can be joined with others; NULL: it goes alone
    raw_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Its bytes, apart, so that what is read and written often stays small.
CREATE TABLE body (
    seq INTEGER PRIMARY KEY,
    raw BLOB NOT NULL
) STRICT;

CREATE TABLE delivery (
    target TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,  -- copied from the notification: the key is the order of acceptance
    notification INTEGER NOT NULL,
    position INTEGER NOT NULL,        -- among the deliveries of its notification
    id TEXT NOT NULL,
    selection TEXT,                   -- "0,3": positions of changes; NULL: the original bytes
    clock_started_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,          -- 0: at once, whatever the clock says
    attempt INTEGER NOT NULL,         -- attempts begun
    attempt_at_ms INTEGER,            -- when the one under way began; NULL where none is
    changes INTEGER NOT NULL DEFAULT 1,
    lane INTEGER NOT NULL DEFAULT 1,  -- core.lanes
    ordered INTEGER NOT NULL DEFAULT 0,  -- whether it has turns
    group_key TEXT,                   -- whom it goes with in one POST; NULL: alone. All of a group have one due_ms > 0
    PRIMARY KEY (target, received_at_ms, notification, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_due ON delivery (target, lane, due_ms, received_at_ms, notification, position);
CREATE INDEX delivery_id ON delivery (id);
-- Of all others the clock started with their acceptance, which the key has: they cost nothing here.
CREATE INDEX delivery_replayed ON delivery (target, clock_started_ms) WHERE clock_started_ms <> received_at_ms;

-- Attempts that failed or were interrupted. The good one leaves no row.
CREATE TABLE attempt (
    notification INTEGER NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    response_excerpt TEXT NOT NULL,
    PRIMARY KEY (notification, position, number)
) STRICT, WITHOUT ROWID;

-- When a target was left alone (`core.pausing`); kept while a delivery waits whose give-up clock stood still in it.
CREATE TABLE pause (
    target TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER,                 -- planned or past; NULL: until somebody resumes
    reason TEXT NOT NULL,
    rate_per_second REAL,             -- of attempts afterwards, until nothing that is due waits
    PRIMARY KEY (target, from_ms)
) STRICT, WITHOUT ROWID;

-- Who comes after whom (promise 24): a delivery waits until it is the first under every key of its own.
CREATE TABLE turn (
    target TEXT NOT NULL,
    key INTEGER NOT NULL,
    notification INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (target, key, notification, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX turn_delivery ON turn (notification, position);

CREATE TRIGGER turns_gone AFTER DELETE ON delivery WHEN OLD.ordered BEGIN
    DELETE FROM turn WHERE notification = OLD.notification AND position = OLD.position;
END;

-- The body goes with the last delivery of it (promise 8).
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN
    UPDATE notification SET deliveries = deliveries - 1 WHERE seq = OLD.notification;
END;

CREATE TRIGGER attempts_gone AFTER DELETE ON delivery WHEN OLD.attempt > 1 BEGIN
    DELETE FROM attempt WHERE notification = OLD.notification AND position = OLD.position;
END;

CREATE TRIGGER last_delivery_gone AFTER UPDATE OF deliveries ON notification WHEN NEW.deliveries = 0 BEGIN
    DELETE FROM body WHERE seq = OLD.seq;
    DELETE FROM notification WHERE seq = OLD.seq;
END;

-- What targets have taken, while `spool.keep_delivered` keeps it; empty where that is 0s. See keeping.py.
CREATE TABLE kept (
    received_at_ms INTEGER NOT NULL,
    notification INTEGER NOT NULL,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    id TEXT NOT NULL,
    selection TEXT,
    changes INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    delivered_at_ms INTEGER NOT NULL,
    PRIMARY KEY (received_at_ms, notification, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_delivered ON kept (delivered_at_ms);
CREATE INDEX kept_id ON kept (id);

CREATE TRIGGER kept_came AFTER INSERT ON kept BEGIN
    UPDATE notification SET deliveries = deliveries + 1 WHERE seq = NEW.notification;
END;

CREATE TRIGGER kept_gone AFTER DELETE ON kept BEGIN
    UPDATE notification SET deliveries = deliveries - 1 WHERE seq = OLD.notification;
END;

-- The duplicates window, oldest bucket first: see duplicates.py.
CREATE TABLE seen_bucket (
    id INTEGER PRIMARY KEY,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    keys INTEGER NOT NULL
) STRICT;

CREATE TABLE seen (
    bucket INTEGER NOT NULL,
    digest BLOB NOT NULL,             -- SHA-256 over the app and the raw body
    PRIMARY KEY (bucket, digest)
) STRICT, WITHOUT ROWID;

-- The youngest keys, a row a batch, until they are in their buckets: see young_keys.py.
CREATE TABLE seen_young (
    row INTEGER PRIMARY KEY,
    bucket INTEGER NOT NULL,
    digests BLOB NOT NULL             -- one after the other
) STRICT;

-- What a bucket that takes no more keys may hold: a Bloom filter, see filters.py.
CREATE TABLE seen_filter (
    bucket INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;
