-- Dead letters are files; this says which there are, and where. A letter is listed in the transaction in which its
-- delivery leaves the spool.

-- A directory of dead letters, by the number that it bears itself: several gateways may share it, and it may be moved.
CREATE TABLE letter_place (
    id text PRIMARY KEY,
    gateway text NOT NULL,            -- host and process of who had it last
    directory text NOT NULL,
    seen_at_ms bigint NOT NULL        -- by the clock of the database
) WITH (fillfactor = 50);

CREATE TABLE letter (
    id text COLLATE "C" PRIMARY KEY,  -- of its delivery
    place text NOT NULL,
    token bigint NOT NULL,            -- of the lease under which it was written; 0: it was found
    received_at_ms bigint NOT NULL,
    died_at_ms bigint NOT NULL,
    target text NOT NULL,
    reason text NOT NULL,             -- empty: it cannot be read
    app text NOT NULL,
    object text,
    fields text[] NOT NULL,
    kinds text[] NOT NULL,
    waba text,
    phone_number_id text,
    attempts integer NOT NULL,
    last_status integer,
    last_error text NOT NULL,
    body_bytes integer NOT NULL,
    problem text NOT NULL             -- why it cannot be read
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX letter_received ON letter (received_at_ms, id);
CREATE INDEX letter_of_target ON letter (target, received_at_ms, id);
CREATE INDEX letter_at ON letter (place, id);

-- Files of which it is certain that nobody needs them: written under a lease which another has followed, or taken out for
-- a replay that was stored. Who finds one may remove it.
CREATE TABLE fenced (
    id text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (id, token)
);

CREATE INDEX fenced_at ON fenced (at_ms);

-- The one key of all seals; secret.
CREATE TABLE seal_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key bytea NOT NULL
);
