-- The gateways that have this database open, and what they ask each other. All of it is of the moment, so none of it
-- is logged: it costs the disk nothing, no standby waits for it, and after a crash of the server or a promotion it is
-- empty, and they enter themselves anew.

CREATE UNLOGGED TABLE replica (
    id bigint PRIMARY KEY,            -- drawn by the gateway at its start
    name text NOT NULL,               -- host and process
    host text NOT NULL,
    directory text NOT NULL,          -- of its spool: with the host, the same gateway over restarts
    version text NOT NULL,            -- of the program
    started_at_ms bigint NOT NULL,
    seen_at_ms bigint NOT NULL,
    digest_number integer NOT NULL DEFAULT 0,
    digest bytea                      -- what the others are to know without asking
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX replica_place ON replica (host, directory);

CREATE UNLOGGED TABLE question (
    id bigint NOT NULL,               -- drawn by who asks
    addressee bigint NOT NULL,
    asker bigint NOT NULL,
    until_ms bigint NOT NULL,         -- when nobody waits for the answer any more
    content bytea NOT NULL,
    PRIMARY KEY (addressee, id)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX question_until ON question (until_ms);

CREATE UNLOGGED TABLE answer (
    question bigint NOT NULL,
    replica bigint NOT NULL,          -- whose it is
    asker bigint NOT NULL,
    until_ms bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (asker, question, replica)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX answer_until ON answer (until_ms);

-- Both come compressed.
ALTER TABLE question ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE answer ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE replica ALTER COLUMN digest SET STORAGE EXTERNAL;
