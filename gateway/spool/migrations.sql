-- The steps from each schema of a spool file to the next. They run in one transaction, at open, before anything else.
-- What an older gateway stored says nothing of how it could be merged, so it goes alone.

-- name: to_2
ALTER TABLE notification ADD COLUMN object TEXT;
ALTER TABLE notification ADD COLUMN raw_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN changes INTEGER NOT NULL DEFAULT 1;
ALTER TABLE delivery ADD COLUMN group_key TEXT;

-- name: to_3
CREATE TABLE seen_filter (
    bucket INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;

-- name: to_4
CREATE INDEX delivery_replayed ON delivery (target, clock_started_ms) WHERE clock_started_ms <> received_at_ms;

-- name: to_5
CREATE TABLE pause (
    target TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER,
    reason TEXT NOT NULL,
    rate_per_second REAL,
    PRIMARY KEY (target, from_ms)
) STRICT, WITHOUT ROWID;

-- name: to_6
ALTER TABLE delivery ADD COLUMN lane INTEGER NOT NULL DEFAULT 1;
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (target, lane, due_ms, received_at_ms, notification, position);

-- name: to_7
ALTER TABLE delivery ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;
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

-- name: to_8
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

-- name: to_9
CREATE TABLE seen_young (
    row INTEGER PRIMARY KEY,
    bucket INTEGER NOT NULL,
    digests BLOB NOT NULL
) STRICT;
