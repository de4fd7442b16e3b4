-- Times are Unix time in milliseconds. Those of what is due, held or kept are by the clock of the database;
-- received_at_ms and clock_started_ms are by that of the gateway which accepted.

CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint';

CREATE SEQUENCE notification_seq CACHE 1;
CREATE SEQUENCE token_seq CACHE 64;
CREATE SEQUENCE writer_seq;

-- A notification that some delivery still needs, one that waits or one that is kept.
CREATE TABLE notification (
    seq bigint PRIMARY KEY,           -- order of acceptance, over all gateways
    id text NOT NULL,
    app text NOT NULL,
    received_at_ms bigint NOT NULL,
    raw_crc32 bigint NOT NULL,
    raw_bytes integer NOT NULL,
    deliveries integer NOT NULL,      -- how many are left
    day integer NOT NULL,             -- where its bytes are
    object text                       -- of an envelope that can be joined with others; NULL: it goes alone
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);

-- Its bytes, in partitions by the day of their storing, so that the room of a day past is given back at once.
CREATE TABLE body (
    day integer NOT NULL,
    seq bigint NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (day, seq)
) PARTITION BY LIST (day);

-- Narrow, since every attempt writes its row anew.
CREATE TABLE delivery (
    seq bigint NOT NULL,              -- of its notification
    received_at_ms bigint NOT NULL,   -- copied from there: the order of acceptance
    due_ms bigint NOT NULL,           -- 0: at once
    held_until_ms bigint NOT NULL DEFAULT 0,  -- when the lease ends by itself; 0: nobody holds it
    token bigint NOT NULL DEFAULT 0,  -- of the last lease: fences what comes too late
    clock_started_ms bigint NOT NULL,
    attempt_at_ms bigint,             -- when the one under way began, by the gateway's clock; NULL: none is
    position integer NOT NULL,        -- among the deliveries of its notification
    attempt integer NOT NULL DEFAULT 0,  -- attempts begun
    changes integer NOT NULL,
    lane smallint NOT NULL,
    ordered boolean NOT NULL DEFAULT false,  -- whether it has turns
    target text NOT NULL,
    id text COLLATE "C" NOT NULL,    -- found by how it begins
    selection text,                   -- "0,3": positions of changes; NULL: the original bytes
    group_key text,                   -- whom it goes with in one POST; NULL: alone
    PRIMARY KEY (seq, position)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX delivery_due ON delivery (target, lane, due_ms, received_at_ms, seq, position);
-- An expression, so that this index is no temptation for the statement `due`: to the planner it gives the same order as
-- the one above, and then all lanes are walked (measured at a million: 700 ms instead of 3).
CREATE INDEX delivery_received ON delivery (target, (received_at_ms + 0), seq, position);
CREATE UNIQUE INDEX delivery_id ON delivery (id);
-- Of all others the clock started with their acceptance.
CREATE INDEX delivery_replayed ON delivery (target, clock_started_ms) WHERE clock_started_ms <> received_at_ms;

-- Attempts that failed or were interrupted. The good one leaves no row.
CREATE TABLE attempt (
    seq bigint NOT NULL,
    position integer NOT NULL,
    number integer NOT NULL,
    at_ms bigint NOT NULL,
    status integer,
    duration_ms bigint NOT NULL,
    error bytea NOT NULL,             -- UTF-8; text of PostgreSQL's cannot hold NUL
    response_excerpt bytea NOT NULL,
    PRIMARY KEY (seq, position, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- When a target was left alone.
CREATE TABLE pause (
    target text NOT NULL,
    from_ms bigint NOT NULL,
    until_ms bigint,
    reason text NOT NULL,
    rate_per_second double precision,
    PRIMARY KEY (target, from_ms)
);

-- Who comes after whom: a delivery waits until it is the first under every key of its own.
CREATE TABLE turn (
    target text NOT NULL,
    key bigint NOT NULL,
    seq bigint NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (target, key, seq, position)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX turn_delivery ON turn (seq, position);

-- What targets have taken, while `spool.keep_delivered` keeps it.
CREATE TABLE kept (
    received_at_ms bigint NOT NULL,
    seq bigint NOT NULL,
    delivered_at_ms bigint NOT NULL,
    position integer NOT NULL,
    changes integer NOT NULL,
    lane smallint NOT NULL,
    target text NOT NULL,
    id text COLLATE "C" NOT NULL,
    selection text,
    PRIMARY KEY (received_at_ms, seq, position)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX kept_delivered ON kept (delivered_at_ms);
CREATE INDEX kept_id ON kept (id);

-- The duplicates window: buckets in order of time, each a partition; what has no row here is forgotten.
CREATE TABLE seen_bucket (
    id integer PRIMARY KEY,
    start_ms bigint NOT NULL,
    end_ms bigint NOT NULL
);

CREATE TABLE seen (
    bucket integer NOT NULL,
    digest bytea NOT NULL,            -- SHA-256 over the app and the raw body
    PRIMARY KEY (bucket, digest)
) PARTITION BY LIST (bucket);

-- A connection that writes, and what it has added up: rows of its own, so that none waits for another.
CREATE TABLE writer (
    id bigint PRIMARY KEY,
    name text NOT NULL,               -- host and process
    version integer NOT NULL,         -- of the schema that it knows
    seen_at_ms bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE tally (
    writer bigint NOT NULL,           -- 0: of those that are gone
    target text NOT NULL,
    deliveries bigint NOT NULL,       -- what it added, less what it removed
    bytes bigint NOT NULL,            -- of their notifications
    PRIMARY KEY (writer, target)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE seen_tally (
    bucket integer NOT NULL,
    writer bigint NOT NULL,
    keys bigint NOT NULL,
    PRIMARY KEY (bucket, writer)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- How far a spool of another kind has been carried over, by the mark that was written into it.
CREATE TABLE moved (
    source text PRIMARY KEY,
    seq bigint NOT NULL,              -- the last of its notifications that is here
    notifications bigint NOT NULL,
    deliveries bigint NOT NULL,       -- those that are kept included
    checksum numeric NOT NULL         -- sum of the CRC-32 of the bytes as they were read back here
);
