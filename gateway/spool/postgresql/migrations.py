"""The schema of the shared spool: numbered steps, applied by `gateway spool migrate`, checked at every start.

Gateways of two versions may run side by side while one is replaced by the other. So a step only adds what an
older gateway does not mind, and a later one, when the older gateways are gone, takes away. Each states the
least version that a gateway must know to work with the result (`minimum_version`). The order is: migrate,
then replace one gateway after the other.
"""

from typing import Final

from gateway.errors import SpoolUnavailableError, UsageError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.dsn import place_of
from gateway.spool.postgresql.link import SCHEMA_NAME, Link
from gateway.spool.postgresql.session import MIGRATION_LOCK
from gateway.spool.postgresql.statements import MIGRATIONS, Migration
from gateway.spool.postgresql.troubles import LinkLostError

LATEST: Final = max(MIGRATIONS)
MINIMUM_VERSIONS: Final = {1: 1, 2: 1, 3: 1}
"""By version of the schema: the least version that a gateway must know to work with it."""
LEAST_SERVER: Final = 14_00_00
"""DETACH PARTITION ... CONCURRENTLY came with PostgreSQL 14."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS schema_version (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), "
    "version integer NOT NULL, minimum_version integer NOT NULL)"
)
_MIGRATE: Final = "run `gateway spool migrate`"
_WHOSE: Final = f"""
SELECT owner.rolname, pg_has_role(owner.oid, 'USAGE') OR owner.rolsuper OR owner.oid = (
        SELECT datdba FROM pg_database WHERE datname = current_database()), (
    SELECT coalesce(role.rolname, 'everybody') FROM aclexplode(schema.nspacl) AS granted
    LEFT JOIN pg_roles AS role ON role.oid = granted.grantee
    WHERE granted.privilege_type = 'CREATE' AND granted.grantee <> owner.oid
    AND (role.oid IS NULL OR NOT (pg_has_role(role.oid, 'USAGE') OR role.rolsuper)) LIMIT 1)
FROM pg_namespace AS schema JOIN pg_roles AS owner ON owner.oid = schema.nspowner
WHERE schema.nspname = '{SCHEMA_NAME}'
"""  # noqa: S608 - our own name
"""Who owns the schema, whether that is somebody to trust, and somebody else who may make things there."""


def migrate(dsn: Secret, *, dry_run: bool = False) -> tuple[int, tuple[Migration, ...]]:
    """Bring the database up to date, in one transaction; the version that it had (0: none), and the steps.

    Raises:
        GatewayError: it cannot be reached, is of a newer version, or the user has not the rights.
    """
    link = Link(dsn)
    try:
        link.open()
        _check_server(link)
        _check_owner(link)
        link.execute("BEGIN")
        link.rows("lock_buckets", lock=MIGRATION_LOCK)
        version, _ = _versions(link)
        if version > LATEST:
            raise UsageError(
                f"the database has schema {version}, and this gateway knows {LATEST}",
                remedy="migrate with the newer gateway",
            )
        steps = tuple(step for number, step in MIGRATIONS.items() if number > version)
        if steps and not dry_run:
            [(there,)] = link.execute(f"SELECT to_regnamespace('{SCHEMA_NAME}') IS NOT NULL")
            if not there:
                _check_may_make_schema(link)
            link.execute(("" if there else f"CREATE SCHEMA {SCHEMA_NAME}; ") + _TABLE)
            for step in steps:
                link.execute(step.text)
            link.execute(
                "INSERT INTO schema_version (version, minimum_version) "  # noqa: S608 - numbers of ours
                f"VALUES ({LATEST}, {MINIMUM_VERSIONS[LATEST]}) ON CONFLICT (only_row) DO UPDATE "
                "SET version = excluded.version, minimum_version = excluded.minimum_version"
            )
        link.execute("ROLLBACK" if dry_run else "COMMIT")
        return version, steps
    finally:
        link.close()


def check(link: Link, dsn: Secret) -> tuple[str, ...]:
    """See that a gateway can work with what the link leads to; return what its operator should know.

    Raises:
        SpoolUnavailableError, SpoolBrokenError, UsageError: it cannot, with the next step.
    """
    try:
        link.open()
    except LinkLostError as error:
        raise LinkLostError(
            f"{place_of(dsn)} cannot be used: {error.message}", remedy=error.remedy
        ) from error
    _check_server(link)
    _check_owner(link)
    version, minimum = _versions(link)
    if not version:
        raise SpoolUnavailableError(f"{place_of(dsn)} has no spool yet", remedy=_MIGRATE)
    if version < LATEST:
        raise SpoolUnavailableError(
            f"the database has schema {version}, and this gateway needs {LATEST}", remedy=_MIGRATE
        )
    if minimum > LATEST:
        raise SpoolUnavailableError(
            f"the database has schema {version}, for gateways that know {minimum}; this one knows {LATEST}",
            remedy="run the newer gateway",
        )
    _check_rights(link)
    return _doubts(link)


def _versions(link: Link) -> tuple[int, int]:
    """Return the version of the schema, and the least that a gateway must know; 0 where there is none."""
    [(there,)] = link.execute(f"SELECT to_regclass('{SCHEMA_NAME}.schema_version') IS NOT NULL")
    rows = link.execute("SELECT version, minimum_version FROM schema_version") if there else []
    return (rows[0][0], rows[0][1]) if rows else (0, 0)


def _check_server(link: Link) -> None:
    [(number, readable, encoding)] = link.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
        "current_setting('server_encoding')"
    )
    if number < LEAST_SERVER:
        raise UsageError(
            f"the database is PostgreSQL {readable}", remedy=f"use {LEAST_SERVER // 10_000} or later"
        )
    if encoding != "UTF8":
        # What holds a sign that it lacks would fail, and its batch with it, for as long as Meta tries.
        raise UsageError(
            f"the database is of encoding {encoding}",
            remedy="make one with ENCODING 'UTF8' (and TEMPLATE template0), and name it in spool.dsn",
        )


def _check_owner(link: Link) -> None:
    """Whoever may make functions in the schema has them run with our rights, by our own statements."""
    for owner, is_trusted, other in link.execute(_WHOSE):
        if not is_trusted or other:
            told = f"{other} may make things there" if is_trusted else f"it belongs to {owner}"
            raise SpoolUnavailableError(
                f"the schema {SCHEMA_NAME} is not for the gateway alone: {told}",
                remedy="look what is in it; then let the user of spool.dsn own it (ALTER SCHEMA ... OWNER TO)"
                " and nobody else make things there (REVOKE CREATE ON SCHEMA)",
            )


def _check_may_make_schema(link: Link) -> None:
    [(may, user, database)] = link.execute(
        "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_user), "
        "quote_ident(current_database())"
    )
    if not may:
        raise SpoolUnavailableError(
            f"the user {user} may not make a schema in the database {database}",
            remedy=f"have its owner run GRANT CREATE ON DATABASE {database} TO {user}, or CREATE SCHEMA "
            f"{SCHEMA_NAME} AUTHORIZATION {user}; then run `gateway spool migrate` again",
        )


def _check_rights(link: Link) -> None:
    """The gateway makes and drops partitions: it owns its tables."""
    [(may_create, owns)] = link.execute(
        f"SELECT has_schema_privilege('{SCHEMA_NAME}', 'CREATE'), "  # noqa: S608 - our own name
        "bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class "
        f"WHERE relnamespace = '{SCHEMA_NAME}'::regnamespace AND relkind IN ('r', 'p')"
    )
    if not may_create or not owns:
        raise SpoolUnavailableError(
            "the user of spool.dsn has not the rights it needs: it makes and drops partitions",
            remedy=f"let it own the schema {SCHEMA_NAME} and its tables: migrate as the same user",
        )


def _doubts(link: Link) -> tuple[str, ...]:
    [(commit, fsync, full_pages, standbys)] = link.execute(
        "SELECT current_setting('synchronous_commit'), current_setting('fsync'), "
        "current_setting('full_page_writes'), current_setting('synchronous_standby_names')"
    )
    doubts = []
    if fsync == "off" or full_pages == "off":
        doubts.append(
            "fsync or full_page_writes is off: a crash of the server loses or damages what it acknowledged"
        )
    if commit == "local" and standbys:
        doubts.append("synchronous_commit is local: no standby has what is acknowledged")
    return tuple(doubts)
