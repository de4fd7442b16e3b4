"""TLS to the database, and who proves what to whom: what works, and what is said where it does not."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.errors import GatewayError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.contract import Appended, Room, Spool
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check
from tests.postgresql.rig import Database, asking_for_a_password, opened
from tests.postgresql.tls import Papers, terminator
from tests.spool.rig import note

PASSWORD = "pa55word"


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path / "papers")


def dsn_at(port: int, **options: object) -> Secret:
    stated = "&".join(f"{name}={value}" for name, value in options.items())
    text = f"postgresql://gateway:{PASSWORD}@localhost:{port}/postgres?{stated}"
    return Secret(text.encode(), source="env DSN")


async def refusal(dsn: Secret) -> str:
    """Return what a gateway says at its start, and to do about it."""
    link = Link(dsn)
    try:
        with pytest.raises(GatewayError) as caught:
            await trio.to_thread.run_sync(check, link, dsn)
    finally:
        link.close()
    said = f"{caught.value.message}; {caught.value.remedy}"
    assert "postgres on localhost:" in said
    assert PASSWORD not in said
    return said


async def accepts(dsn: Secret) -> None:
    """See that a gateway can work with it."""
    link = Link(dsn)
    try:
        await trio.to_thread.run_sync(check, link, dsn)
    finally:
        link.close()


async def until_room(spool: Spool, wanted: Callable[[Room], bool]) -> None:
    with trio.fail_after(10):
        while not wanted(spool.room()):  # noqa: ASYNC110 - it finds out by itself
            await trio.sleep(0.05)


async def test_a_certificate_that_is_exchanged_for_a_bad_one_is_503_until_there_is_a_good_one(
    database: Database, papers: Papers, tmp_path: Path
) -> None:
    good = papers.context("localhost")
    async with terminator(database.server.port, good) as tls:
        dsn = dsn_at(tls.port, sslmode="verify-full", sslrootcert=papers.ca)
        async with opened(database, dsn=dsn) as spool:
            assert await spool.append(note(b"before")) is Appended.STORED
            tls.context = Papers(tmp_path / "strange").context("localhost")
            tls.cut()
            await until_room(spool, lambda room: "certificate verify failed" in room.detail)
            with pytest.raises(SpoolUnavailableError):
                await spool.append(note(b"during"))
            tls.context = good
            await until_room(spool, lambda room: room.writable)
            assert await spool.append(note(b"before")) is Appended.DUPLICATE
            assert await spool.append(note(b"after")) is Appended.STORED


async def test_a_certificate_that_proves_nothing_is_told_with_the_next_step(
    database: Database, papers: Papers, tmp_path: Path
) -> None:
    strange = Papers(tmp_path / "strange")
    async with terminator(database.server.port, papers.context("localhost")) as tls:
        full = partial(dsn_at, tls.port, sslmode="verify-full")
        said = await refusal(full(sslrootcert=strange.ca))
        assert "certificate verify failed" in said
        assert "in sslrootcert" in said
        said = await refusal(full(sslrootcert=tmp_path / "nowhere.pem"))
        assert "nowhere.pem" in said
        assert "name the file of the server's CA" in said
        tls.context = papers.context("db.example.com")
        said = await refusal(full(sslrootcert=papers.ca))
        assert 'server certificate for "db.example.com" does not match host name "localhost"' in said
        assert "hostaddr=" in said
        await accepts(dsn_at(tls.port, sslmode="verify-ca", sslrootcert=papers.ca))
        tls.context = papers.context("localhost", until=datetime.now(UTC) - timedelta(minutes=1))
        assert "has not expired" in await refusal(full(sslrootcert=papers.ca))
        tls.context = None
        said = await refusal(full(sslrootcert=papers.ca))
        assert "server does not support SSL" in said
        assert "turn on `ssl`" in said


async def test_where_a_name_does_not_resolve_its_address_stands_beside_it(
    database: Database, papers: Papers
) -> None:
    async with terminator(database.server.port, papers.context("db.example.com")) as tls:
        text = dsn_at(tls.port, sslmode="verify-full", sslrootcert=papers.ca, hostaddr="127.0.0.1")
        named = text.reveal().replace(b"localhost", b"db.example.com")
        await accepts(Secret(named, source="env DSN"))


async def test_a_server_may_ask_for_a_certificate_of_the_gateway(
    database: Database, papers: Papers, tmp_path: Path
) -> None:
    """What a server of PostgreSQL's own says to who has none: postgresql/test_servers.py."""
    certificate, key = papers.client("gateway")
    async with terminator(database.server.port, papers.context("localhost", demands=papers)) as tls:
        full = partial(dsn_at, tls.port, sslmode="verify-full", sslrootcert=papers.ca)
        await accepts(full(sslcert=certificate, sslkey=key))
        await refusal(full())
        key.chmod(0o644)
        said = await refusal(full(sslcert=certificate, sslkey=key))
        assert "has group or world access" in said
        assert "(0600)" in said
        assert "sslkey" in await refusal(full(sslcert=certificate, sslkey=tmp_path / "nowhere.key"))


@pytest.fixture
def demanding(database: Database) -> Iterator[Database]:
    """Have the server ask `keyed` for a password."""
    with asking_for_a_password(database, "keyed", PASSWORD):
        yield database


async def test_a_password_comes_with_the_dsn_or_from_a_file_of_libpq(
    demanding: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = demanding.server.port
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    def dsn(password: str, **options: object) -> Secret:
        text = dsn_at(port, **options).reveal().replace(f":{PASSWORD}".encode(), password.encode())
        return Secret(text.replace(b"gateway", b"keyed"), source="env DSN")

    await accepts(dsn(f":{PASSWORD}"))
    said = await refusal(dsn(":wr0ng"))
    assert "password authentication failed" in said
    assert "correct the password" in said
    assert "wr0ng" not in said
    assert "no password supplied" in await refusal(dsn(""))
    for file, options in ((tmp_path / "pass", {"passfile": tmp_path / "pass"}), (home / ".pgpass", {})):
        file.write_text(f"*:{port}:*:keyed:{PASSWORD}\n")
        file.chmod(0o600)
        await accepts(dsn("", **options))
        file.write_text(f"*:{port}:*:keyed:wr0ng\n")
        said = await refusal(dsn("", **options))
        assert str(file) in said
        assert "wr0ng" not in said
