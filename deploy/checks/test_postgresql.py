"""Servers of PostgreSQL that others have built: their own TLS, who they let in, and one that is too old."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.checks.postgresql import OLDEST, TOO_OLD, debian
from gateway.errors import GatewayError
from gateway.settings.secret import Secret
from gateway.simulator.pki import authority, client_leaf, common_name, server_leaf
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check, migrate
from tests.postgresql.rig import refusal, secret
from tests.postgresql.server import FAST, NOBODY, Server, server

PASSWORD = "pa55word"


def accepts(dsn: Secret) -> None:
    link = Link(dsn)
    try:
        check(link, dsn)
    finally:
        link.close()


def test_a_server_that_is_too_old_is_refused_with_what_would_do() -> None:
    if not TOO_OLD.binaries.exists():
        pytest.skip(f"PostgreSQL {TOO_OLD.release} is not to be had")
    with server(programs=TOO_OLD.binaries) as old:
        dsn = secret(old.dsn())
        said = refusal(dsn)
        assert "the database is PostgreSQL 13.23" in said
        assert "use 14 or later" in said
        with pytest.raises(GatewayError, match=r"PostgreSQL 13\.23"):
            migrate(dsn)


def test_the_oldest_server_that_will_do() -> None:
    if not OLDEST.binaries.exists():
        pytest.skip(f"PostgreSQL {OLDEST.release} is not to be had")
    with server(programs=OLDEST.binaries) as old:
        assert old.sql("SHOW server_version") == ["14.3"]
        migrate(secret(old.dsn()))
        accepts(secret(old.dsn()))


class Encrypting:
    """A server with TLS of its own, and everybody's papers."""

    def __init__(self, of: Server, papers: Path) -> None:
        self.server = of
        self.papers = papers
        self.root = authority("Database CA")
        self.write("ca.pem", self.root.pem)
        for user in ("gateway", "keyed"):
            leaf = client_leaf(self.root, subject=common_name(user))
            self.write(f"{user}.pem", leaf.pem)
            self.write(f"{user}.key", leaf.key_pem)

    def write(self, name: str, content: bytes) -> Path:
        path = self.papers / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def present(self, *names: str) -> None:
        """Have the server present a new certificate for these names."""
        leaf = server_leaf(self.root, names=names)
        for name, content in (
            ("server.pem", leaf.pem),
            ("server.key", leaf.key_pem),
            ("root.pem", self.root.pem),
        ):
            path = self.server.directory / name
            path.write_bytes(content)
            path.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(path, NOBODY, NOBODY)

    def admit(self, *lines: str) -> None:
        """State who is let in, and how."""
        (self.server.data / "pg_hba.conf").write_text(
            "".join(f"{line}\n" for line in (*lines, "local all all trust"))
        )
        self.server.run("pg_ctl", "reload", "--pgdata", str(self.server.data))

    def dsn(self, user: str = "gateway", **options: object) -> Secret:
        stated = {"sslmode": "verify-full", "sslrootcert": self.papers / "ca.pem", **options}
        query = "&".join(f"{name}={value}" for name, value in stated.items())
        return secret(f"postgresql://{user}@localhost:{self.server.port}/postgres?{query}")


@pytest.fixture
def encrypting(tmp_path: Path) -> Iterator[Encrypting]:
    programs = debian()
    if programs is None:
        pytest.skip("no server with TLS is installed here")
    with server(FAST, programs=programs) as plain:
        migrate(secret(plain.dsn()))
        plain.sql(f"CREATE ROLE keyed SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        plain.stop()
        made = Encrypting(plain, tmp_path)
        made.present("localhost")
        here = plain.directory
        plain.settings = {
            **FAST,
            "ssl": "on",
            "ssl_cert_file": str(here / "server.pem"),
            "ssl_key_file": str(here / "server.key"),
            "ssl_ca_file": str(here / "root.pem"),
        }
        plain.start()
        yield made


def test_a_server_with_tls_of_its_own_is_held_to_its_certificate(encrypting: Encrypting) -> None:
    accepts(encrypting.dsn())
    encrypting.present("db.example.com")
    encrypting.admit("host all all all trust")
    assert "does not match host name" in refusal(encrypting.dsn())
    accepts(encrypting.dsn(sslmode="verify-ca"))
    encrypting.root = authority("Another CA")
    encrypting.present("localhost")
    encrypting.admit("host all all all trust")
    assert "certificate verify failed" in refusal(encrypting.dsn())


def test_a_server_that_wants_tls_says_so_to_who_comes_without(encrypting: Encrypting) -> None:
    encrypting.admit("hostssl all all all trust")
    accepts(encrypting.dsn())
    said = refusal(encrypting.dsn(sslmode="disable"))
    assert "no encryption" in said
    assert "write sslmode=verify-full" in said


def test_a_certificate_is_as_good_as_a_password(encrypting: Encrypting) -> None:
    papers = encrypting.papers
    encrypting.admit("hostssl all all all cert")
    accepts(encrypting.dsn(sslcert=papers / "gateway.pem", sslkey=papers / "gateway.key"))
    assert "in sslcert" in refusal(encrypting.dsn())
    said = refusal(encrypting.dsn(sslcert=papers / "keyed.pem", sslkey=papers / "keyed.key"))
    assert 'for user "gateway"' in said
    assert "in sslcert" in said


def test_a_password_may_be_tied_to_the_certificate_of_the_server(encrypting: Encrypting) -> None:
    encrypting.admit("hostssl all all all scram-sha-256")
    passfile = encrypting.write("pass", f"localhost:*:*:keyed:{PASSWORD}\n".encode())
    bound = {"channel_binding": "require", "passfile": passfile}
    accepts(encrypting.dsn("keyed", **bound))
    accepts(encrypting.dsn("keyed", sslmode="require", **bound))
    encrypting.write("pass", b"localhost:*:*:keyed:wr0ng\n")
    said = refusal(encrypting.dsn("keyed", **bound))
    assert "password authentication failed" in said
    assert "wr0ng" not in said


def test_a_full_server_is_told_with_what_to_raise(encrypting: Encrypting) -> None:
    encrypting.server.settings = {**encrypting.server.settings, "max_connections": "6"}
    encrypting.server.stop()
    encrypting.server.start()
    encrypting.server.sql("CREATE ROLE modest LOGIN; GRANT ALL ON SCHEMA gateway TO modest")
    links = [Link(encrypting.dsn("modest")) for _ in range(3)]
    for link in links:
        link.open()
    said = refusal(encrypting.dsn("modest"))
    assert "superuser" in said
    assert "raise max_connections" in said
    for link in links:
        link.close()
