# ruff: noqa: S608 - numbers of the test's own
"""What a gateway looks at before it works with a database, and what it says where it cannot."""

import re
from collections.abc import Callable, Iterator

import pytest

from gateway.errors import GatewayError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.dsn import check_dsn, place_of
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import LATEST, MINIMUM_VERSIONS, check, migrate
from gateway.spool.postgresql.statements import MIGRATIONS
from tests.postgresql.rig import Database, refusal, secret


def test_a_database_without_a_spool_names_the_command(database: Database) -> None:
    database.sql("SET client_min_messages = warning; DROP SCHEMA gateway CASCADE")
    assert "gateway spool migrate" in refusal(database.dsn)
    migrate(database.dsn)
    link = Link(database.dsn)
    assert check(link, database.dsn) == (
        "fsync or full_page_writes is off: a crash of the server loses or damages what it acknowledged",
    )
    link.close()


@pytest.mark.parametrize(
    ("version", "minimum", "said"),
    [
        (LATEST - 1, 1, "run `gateway spool migrate`"),
        (LATEST + 1, LATEST + 1, "run the newer gateway"),
        (LATEST + 1, LATEST, ""),
    ],
    ids=["older", "too new", "newer, and fit for us"],
)
def test_the_schema_is_held_to_what_this_gateway_knows(
    database: Database, version: int, minimum: int, said: str
) -> None:
    database.sql(f"UPDATE schema_version SET version = {version}, minimum_version = {minimum}")
    try:
        if said:
            # version 0 is no version: the row of an empty database
            assert said in refusal(database.dsn)
        else:
            link = Link(database.dsn)
            check(link, database.dsn)
            link.close()
    finally:
        database.sql(
            f"UPDATE schema_version SET version = {LATEST}, minimum_version = {MINIMUM_VERSIONS[LATEST]}"
        )


def test_an_older_gateway_does_not_migrate_back(database: Database) -> None:
    database.sql(f"UPDATE schema_version SET version = {LATEST + 1}")
    try:
        with pytest.raises(GatewayError, match="migrate with the newer gateway"):
            migrate(database.dsn)
    finally:
        database.sql(f"UPDATE schema_version SET version = {LATEST}")


def test_every_step_has_its_number_and_a_least_version() -> None:
    assert list(MIGRATIONS) == list(range(1, LATEST + 1))
    assert MINIMUM_VERSIONS.keys() == MIGRATIONS.keys()
    assert all(MINIMUM_VERSIONS[version] <= version for version in MIGRATIONS)


def test_a_user_who_may_not_make_partitions_is_told(database: Database) -> None:
    database.sql(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA gateway TO reader; "
        "GRANT ALL ON ALL TABLES IN SCHEMA gateway TO reader"
    )
    try:
        assert "migrate as the same user" in refusal(
            secret(database.server.dsn().replace("gateway@", "reader@"))
        )
    finally:
        database.sql("DROP OWNED BY reader; DROP ROLE reader")


@pytest.fixture
def shared(database: Database) -> Iterator[Callable[[str], Secret]]:
    """Return the DSNs of two modest users of a database where either may make schemas."""
    database.sql("CREATE DATABASE shared")
    database.sql(
        "CREATE ROLE ours LOGIN; CREATE ROLE theirs LOGIN; GRANT CREATE ON DATABASE shared TO ours, theirs"
    )
    plain = database.server.dsn()
    try:
        yield lambda user: secret(plain.replace("gateway@", f"{user}@").replace("/postgres", "/shared"))
    finally:
        database.sql("DROP DATABASE shared WITH (FORCE)")
        database.sql("DROP ROLE ours; DROP ROLE theirs")


def say(dsn: Secret, text: str) -> None:
    link = Link(dsn)
    link.open()
    link.execute(text)
    link.close()


def test_a_schema_that_another_user_has_made_before_is_not_worked_in(shared: Callable[[str], Secret]) -> None:
    say(
        shared("theirs"),
        "CREATE SCHEMA gateway; GRANT ALL ON SCHEMA gateway TO PUBLIC; "
        "CREATE TABLE gateway.caught (who text); "
        "GRANT ALL ON gateway.caught TO PUBLIC; "
        "CREATE FUNCTION gateway.to_regclass(text) RETURNS regclass LANGUAGE sql AS "
        "'INSERT INTO gateway.caught VALUES (current_user); SELECT NULL::regclass'",
    )
    with pytest.raises(GatewayError, match="it belongs to theirs"):
        migrate(shared("ours"))
    assert "it belongs to theirs" in refusal(shared("ours"))
    link = Link(shared("theirs"))
    link.open()
    assert link.execute("SELECT * FROM gateway.caught") == [], "their code has run with our rights"
    link.close()


def test_a_schema_in_which_others_may_make_things_is_not_worked_in(shared: Callable[[str], Secret]) -> None:
    migrate(shared("ours"))
    say(shared("ours"), "GRANT CREATE ON SCHEMA gateway TO theirs")
    assert "theirs may make things there" in refusal(shared("ours"))
    say(
        shared("ours"),
        "REVOKE CREATE ON SCHEMA gateway FROM theirs; GRANT CREATE ON SCHEMA gateway TO PUBLIC",
    )
    assert "everybody may make things there" in refusal(shared("ours"))
    say(shared("ours"), "REVOKE CREATE ON SCHEMA gateway FROM PUBLIC")
    link = Link(shared("ours"))
    check(link, shared("ours"))
    link.close()


def test_a_database_that_lacks_signs_is_refused(database: Database) -> None:
    database.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        said = refusal(secret(database.server.dsn().replace("/postgres", "/latin")))
        assert "LATIN1" in said
        assert "ENCODING 'UTF8'" in said
    finally:
        database.sql("DROP DATABASE latin WITH (FORCE)")


def test_commits_that_are_not_durable_are_refused(database: Database) -> None:
    database.sql("DROP ROLE IF EXISTS careless; CREATE ROLE careless LOGIN SUPERUSER")
    database.sql("ALTER ROLE careless SET synchronous_commit = off")
    try:
        said = refusal(secret(database.server.dsn().replace("gateway@", "careless@")))
        assert "synchronous_commit is off" in said
        assert "ALTER ROLE" in said
    finally:
        database.sql("DROP ROLE careless")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dsn: re.sub(r":\d+/", ":1/", dsn), "see that the server runs"),
        (lambda dsn: dsn.replace("/postgres", "/nowhere"), "no such database|does not exist"),
        (lambda dsn: dsn.replace("gateway@", "nobody:pa55word@"), "does not exist"),
    ],
    ids=["nobody there", "no database", "no user"],
)
def test_what_keeps_it_from_connecting_is_told_without_the_password(
    database: Database, change: object, said: str
) -> None:
    assert callable(change)
    text = refusal(secret(change(database.server.dsn())))
    assert re.search(said, text), text
    assert "pa55word" not in text


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://gateway:pa55word@[db",
        "pa55word",
        "postgresql://gateway:x@pa55word@db/hooks",
        "postgresql://gateway:1/pa55word@db/hooks",
    ],
)
def test_a_dsn_that_cannot_be_read_is_quoted_nowhere(dsn: str) -> None:
    assert "pa55word" not in refusal(secret(dsn))
    with pytest.raises(GatewayError) as caught:
        migrate(secret(dsn))
    assert "pa55word" not in str(caught.value)
    assert check_dsn(secret(dsn))


def test_a_server_that_takes_no_writes_is_told(database: Database) -> None:
    database.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        assert "read-only" in refusal(database.dsn)
    finally:
        database.sql("SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL")


def test_a_dsn_is_named_without_its_secrets() -> None:
    dsn = secret("postgresql://gateway:pa55word@db-1:5433/hooks?sslmode=require")
    assert place_of(dsn) == "hooks on db-1:5433"
    assert check_dsn(dsn) == ""
    broken = secret("postgresql://gateway:pa55word@[db")
    assert check_dsn(broken) == "is not a connection string of PostgreSQL"
    assert place_of(broken) == "the database"
