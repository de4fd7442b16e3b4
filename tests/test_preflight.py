"""What is looked at beyond the configuration file: the files and directories that it names."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import Problem
from gateway.preflight import examine, load_and_examine, remarks
from gateway.settings.load import load_settings
from gateway.simulator.pki import development_pki, make_pki

GOOD = """\
listen: {address: "127.0.0.1:8443"}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients:
    meta:
      trust_anchors: [certs/meta-ca.pem]
apps:
  main: {path: /a, app_secrets: [{env: SECRET}], verify_token: {env: SECRET}}
targets:
  support:
    url: https://127.0.0.1:8080/whatsapp
    tls:
      ca: certs/ca.pem
      certificate: certs/client.pem
      private_key: certs/client.key
routes: [{to: [support]}]
spool:
  directory: var/spool
dead_letter:
  directory: var/dead
"""

ANCHOR = "tls.clients.meta.trust_anchors[0]"

Examine = Callable[[str], tuple[Problem, ...]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    make_pki(tmp_path / "certs")
    (tmp_path / "certs/other.key").write_bytes(development_pki().server.key_pem)
    (tmp_path / "file").write_text("not a directory\n")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "open").write_text("a secret\n")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "certs/open.key").write_bytes((tmp_path / "certs/client.key").read_bytes())
    (tmp_path / "certs/open.key").chmod(0o644)
    (tmp_path / "gateway.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def examined(site: Path) -> Examine:
    def examine_text(text: str) -> tuple[Problem, ...]:
        (site / "gateway.yaml").write_text(text)
        return examine(load_settings(site / "gateway.yaml", environ={"SECRET": "a"}))

    return examine_text


@pytest.fixture
def remarked(site: Path) -> Examine:
    def remarks_on(text: str) -> tuple[Problem, ...]:
        (site / "gateway.yaml").write_text(text)
        return remarks(load_settings(site / "gateway.yaml", environ={"SECRET": "a", "BLANK": "a "}))

    return remarks_on


def test_a_development_setup_on_loopback_is_clean(examined: Examine, site: Path) -> None:
    assert examined(GOOD) == ()
    assert not (site / "var").exists(), "looking must not create"


GRAPH = """\
graph:
  token: {env: META_ACCESS_TOKEN}
  subscriptions:
    - waba: 1
      override_url: https://hooks.example.com/webhooks/mian
    - {waba: 2, override_url: "https://elsewhere.example/hooks"}
"""


def test_what_meta_is_told_is_looked_at_too(remarked: Examine) -> None:
    """The token may be missing where the gateway runs; an override to this gateway must find an app there."""
    public = "listen: {address: 127.0.0.1:8443, public_url: https://hooks.example.com}\n"
    told = {
        one.key_path: one
        for one in remarked(public + re.sub(r"(?m)^listen:.*\n(  .*\n)*", "", GOOD) + GRAPH)
        if one.key_path.startswith("graph")
    }
    assert set(told) == {"graph.token", "graph.subscriptions[0].override_url"}
    assert "META_ACCESS_TOKEN is not set" in told["graph.token"].message
    assert "no app has the path '/webhooks/mian'" in told["graph.subscriptions[0].override_url"].message


@pytest.mark.parametrize(
    ("old", "new", "where", "key", "message"),
    [
        ("certs/server.pem", "certs/none.pem", "3:3", "tls.certificate", "does not exist"),
        ("certs/server.key", "certs/other.key", "4:3", "tls.private_key", "not the private key"),
        ("certs/server.key", "certs/ca.pem", "4:3", "tls.private_key", "holds a certificate"),
        ("[certs/meta-ca.pem]", "[certs/client.pem]", "7:23", ANCHOR, "not a CA"),
        ("[certs/meta-ca.pem]", "[empty.pem]", "7:23", ANCHOR, "is empty"),
        ("[certs/meta-ca.pem]", "[certs/server.pem]", "7:23", ANCHOR, "own certificate"),
        ("ca: certs/ca.pem", "ca: file", "14:7", "targets.support.tls.ca", "not PEM"),
        ("certs/client.pem", "certs/none.pem", "15:7", "targets.support.tls.certificate", "does not exist"),
        ("certs/client.key", "certs/other.key", "16:7", "targets.support.tls.private_key", "not the private"),
        ("var/spool", "file/spool", "19:3", "spool.directory", "not a directory"),
        ("var/spool", "file", "19:3", "spool.directory", "not a directory"),
        ("var/dead", "file/x/y", "21:3", "dead_letter.directory", "not a directory"),
    ],
)  # fmt: skip
def test_each_file_is_looked_at(
    old: str, new: str, where: str, key: str, message: str, examined: Examine
) -> None:
    (problem,) = examined(GOOD.replace(old, new, 1))
    assert (f"{problem.line}:{problem.column}", problem.key_path) == (where, key)
    assert message in problem.message
    assert problem.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_told(examined: Examine, site: Path) -> None:
    (site / "locked").mkdir(mode=0o500)
    (problem,) = examined(GOOD.replace("var/dead", "locked/dead"))
    assert problem.key_path == "dead_letter.directory"
    assert "locked cannot be written to" in problem.message


@pytest.mark.parametrize("address", ['"[::]:8443"', "0.0.0.0:8443", "10.0.0.7:8443", "198.51.100.7:8443"])
def test_a_development_ca_is_refused_on_a_public_address(address: str, examined: Examine) -> None:
    problems = examined(GOOD.replace('"127.0.0.1:8443"', address))
    assert [problem.key_path for problem in problems] == [
        "tls.certificate",
        "tls.clients.meta.trust_anchors[0]",
    ]
    assert all("development CA" in problem.message for problem in problems)


def test_a_missing_secret_hides_no_missing_certificate(site: Path) -> None:
    (site / "certs/server.pem").unlink()
    loaded, problems = load_and_examine(site / "gateway.yaml", environ={})
    assert loaded is not None
    assert [problem.key_path for problem in problems] == [
        "tls.certificate",
        "apps.main.app_secrets[0].env",
        "apps.main.verify_token.env",
    ]


def test_every_missing_file_of_a_target_is_told(examined: Examine, site: Path) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (site / "certs" / name).unlink()
    assert [problem.key_path for problem in examined(GOOD)] == [
        f"targets.support.tls.{key}" for key in ("ca", "certificate", "private_key")
    ]


@pytest.mark.parametrize("with_secrets", [True, False])
def test_a_missing_list_of_ids_hides_no_missing_certificate(site: Path, with_secrets: bool) -> None:
    (site / "certs/server.pem").unlink()
    (site / "gateway.yaml").write_text(GOOD.replace("[{to:", "[{waba: {file: ids}, to:"))
    loaded, problems = load_and_examine(
        site / "gateway.yaml", environ={"SECRET": "a"}, with_secrets=with_secrets
    )
    assert loaded is not None
    assert [problem.key_path for problem in problems] == ["tls.certificate", "routes[0].waba.file"]


def test_a_sound_setup_on_loopback_calls_for_no_remark(remarked: Examine) -> None:
    assert remarked(GOOD) == ()


REPORT = "verify_token: {env: SECRET}, client_certificate: report}"


@pytest.mark.parametrize(
    ("old", "new", "where", "key", "message", "remedy"),
    [
        ("verify_token: {env: SECRET}}", REPORT, "9:79", "apps.main.client_certificate",
         "anybody who has the app secret is let in", "required"),
        ("127.0.0.1:8443", "[::]:8443", "1:1", "listen.public_url", "a guess", "https://HOST"),
        ("8443\"}", "8443\", proxy_protocol: v1, proxy_from: [10.0.0.0/8, 0.0.0.0/0]}", "1:82",
         "listen.proxy_from[1]", "0.0.0.0/0 is everybody", "alone"),
        ("[{to:", "[{field: mesages, to:", "17:11", "routes[0].field", "no known field matches 'mesages'",
         "did you mean messages?"),
        ("[{to:", "[{field: [feed, x*], object: page, to:", "17:25", "routes[0].field[1]",
         "no known field of page matches 'x*'", "gateway fields"),
        ("[{to:", "[{field: feed, object: instagram, to:", "17:11", "routes[0].field",
         "no known field of instagram matches 'feed'", "gateway fields"),
        ("[{to:", "[{field: \u201cmessages\u201d, to:", "17:11", "routes[0].field",
         "no known field matches '\u201cmessages\u201d'", "did you mean messages?"),
        ("[{to:", "[{object: whatsapp, to:", "17:11", "routes[0].object",
         "no known object matches 'whatsapp'", "did you mean whatsapp_business_account?"),
        ("[{env: SECRET}]", "[{env: BLANK}]", "9:35", "apps.main.app_secrets[0].env",
         "white space", "remove"),
        ("[{env: SECRET}]", "[{file: open}]", "9:35", "apps.main.app_secrets[0].file", "open to every user",
         "chmod o= "),
        ("apps:", "admin: {token: {env: SECRET}}\napps:", "8:17", "admin.token.env", "can be tried",
         "openssl rand"),
        ("url: https", "headers: {X: {file: open}}\n    url: https", "12:19",
         "targets.support.headers.X.file", "open to every user", "chmod o= "),
        ("private_key: certs/client.key", "private_key: certs/open.key", "16:7",
         "targets.support.tls.private_key", "open to every user", "chmod o= "),
    ],
)  # fmt: skip
def test_each_remark_has_its_place(
    old: str, new: str, where: str, key: str, message: str, remedy: str, remarked: Examine
) -> None:
    (remark,) = remarked(GOOD.replace(old, new, 1))
    assert (f"{remark.line}:{remark.column}", remark.key_path) == (where, key)
    assert message in remark.message
    assert remedy in remark.remedy


@pytest.mark.parametrize(
    "route",
    ["field: message*", "object: wh*", "field: '*'", "object: p?ge, field: [feed, leadgen]", "kind: status"],
)
def test_known_names_call_for_no_remark(route: str, remarked: Examine) -> None:
    assert remarked(GOOD.replace("[{to:", f"[{{{route}, to:")) == ()


def test_public_url_makes_the_callback_urls_exact(remarked: Examine) -> None:
    text = GOOD.replace('"127.0.0.1:8443"', '"[::]:8443", public_url: https://localhost')
    assert remarked(text) == ()


def test_without_secrets_nothing_is_said_of_secrets_and_keys(site: Path) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace("[{env: SECRET}]", "[{file: open}]"))
    (site / "certs/server.key").chmod(0o644)
    loaded = load_settings(site / "gateway.yaml", environ={}, with_secrets=False)
    assert remarks(loaded, with_keys=False) == ()


def test_without_secrets_no_private_key_is_needed(site: Path) -> None:
    (site / "certs/server.key").unlink()
    (site / "certs/client.key").unlink()
    _, problems = load_and_examine(site / "gateway.yaml", environ={}, with_secrets=False)
    assert problems == ()


def test_a_file_that_cannot_be_loaded_is_told_as_it_is(site: Path) -> None:
    (site / "gateway.yaml").write_text("listen: {}\n")
    loaded, problems = load_and_examine(site / "gateway.yaml", environ={})
    assert loaded is None
    assert {problem.key_path for problem in problems} == {"tls", "apps", "targets", "routes"}


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("tls:\n      ca", "timeout: soon\n    tls:\n      ca", "targets.support.timeout"),
        ("[support]", "[suport]", "routes[0].to[0]"),
        ("routes:", "rutes: 3\nroutes:", "rutes"),
        ('"127.0.0.1:8443"', "nowhere", "listen.address"),
        ("directory: var/spool", "min_free: much", "spool.min_free"),
        ("{path: /a,", "{", "apps.main.path"),
    ],
)
def test_a_mistake_in_the_file_hides_no_missing_certificate(
    right: str, wrong: str, place: str, site: Path
) -> None:
    (site / "certs/server.pem").unlink()
    (site / "certs/meta-ca.pem").unlink()
    assert right in GOOD
    (site / "gateway.yaml").write_text(GOOD.replace(right, wrong))
    loaded, problems = load_and_examine(site / "gateway.yaml", environ={"SECRET": "a"})
    assert loaded is None
    told = [problem.key_path for problem in problems]
    assert place in told
    if place != "apps.main.path":  # without its only app, too little is left to be loaded
        assert {"tls.certificate", ANCHOR} <= set(told)
    assert problems == tuple(sorted(problems, key=lambda one: (one.line, one.column)))


def test_a_mistake_in_the_address_makes_no_development_ca_public(site: Path) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace('"127.0.0.1:8443"', "nowhere"))
    _, problems = load_and_examine(site / "gateway.yaml", environ={"SECRET": "a"})
    assert [problem.key_path for problem in problems] == ["listen.address"]


def test_a_public_url_that_the_certificate_is_not_for_calls_for_a_remark(remarked: Examine) -> None:
    wrong = GOOD.replace('8443"', '8443", public_url: https://hooks.example.com')
    (remark,) = remarked(wrong)
    assert remark.key_path == "listen.public_url"
    assert "hooks.example.com is none of the names" in remark.message
    assert "localhost" in remark.message
    assert remarked(GOOD.replace('8443"', '8443", public_url: "https://localhost:8443"')) == ()


ON_POSTGRESQL = GOOD.replace(
    "  directory: var/spool", "  {directory: var/spool, engine: postgresql, dsn: {env: DSN}}"
)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://gateway:pa55word@db-1,db-2/gateway", []),
        ("host=db dbname=gateway", []),
        ("postgresql://gateway:pa55word@[db", ["spool.dsn"]),
        ("db.internal", ["spool.dsn"]),
        ("postgresql://gateway:pa55word@db/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", ["spool.dsn"]),
        ("postgresql://gateway:pa55word@db/x?sslmode=verify-full&sslrootcert=system", []),
        ("host=db sslcert=/nowhere/a.pem sslkey=/nowhere/a.key", ["spool.dsn", "spool.dsn"]),
        ("host=db passfile=/nowhere/pass", ["spool.dsn"]),
    ],
)
def test_a_connection_string_is_read_before_it_is_used(site: Path, dsn: str, expected: list[str]) -> None:
    (site / "gateway.yaml").write_text(ON_POSTGRESQL)
    loaded, problems = load_and_examine(site / "gateway.yaml", environ={"SECRET": "s", "DSN": dsn})
    assert loaded is not None
    assert [problem.key_path for problem in problems] == expected
    assert all("pa55" not in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("host=db", "no sslmode: whoever is in between may read and change"),
        ("host=db password=pa55word sslmode=prefer", "sslmode=prefer: "),
        ("host=db sslmode=disable", "sslmode=disable: "),
        ("host=db sslmode=require", "proves nothing"),
        ("hostaddr=192.0.2.1", "no sslmode"),
        ("host=localhost,db", "no sslmode"),
        ("postgresql://gateway:pa55word@db-1,db-2/x", "no sslmode"),
        ("host=db sslmode=verify-full", ""),
        ("host=db sslmode=verify-ca", ""),
        ("host=db sslrootcert=system", ""),
        ("host=db sslmode=require channel_binding=require", ""),
        ("service=hooks", ""),
        ("host=localhost", ""),
        ("host=127.0.0.1,::1", ""),
        ("host=/run/postgresql", ""),
        ("dbname=x", ""),
        ("nonsense", ""),
    ],
)
def test_a_database_that_proves_nothing_calls_for_a_remark(site: Path, dsn: str, said: str) -> None:
    (site / "gateway.yaml").write_text(ON_POSTGRESQL)
    loaded = load_settings(site / "gateway.yaml", environ={"SECRET": "s", "DSN": dsn})
    found = remarks(loaded)
    assert [remark.key_path for remark in found] == (["spool.dsn"] if said else [])
    assert all(said in remark.message and "verify-full" in remark.remedy for remark in found)
    assert all("pa55" not in str(remark) for remark in found)


def test_a_driver_that_is_not_installed_is_told_with_the_extra(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.spool.postgresql.dsn", None)
    (site / "gateway.yaml").write_text(ON_POSTGRESQL)
    _, [problem] = load_and_examine(site / "gateway.yaml", environ={"SECRET": "s", "DSN": "host=db"})
    assert problem.key_path == "spool.engine"
    assert "meta-webhook-gateway[postgresql]" in problem.remedy


def test_files_of_sqlite_beside_another_engine_are_noticed(site: Path) -> None:
    (site / "gateway.yaml").write_text(ON_POSTGRESQL)
    loaded = load_settings(site / "gateway.yaml", environ={"SECRET": "s", "DSN": "host=localhost"})
    assert remarks(loaded) == ()
    (site / "var/spool/0").mkdir(parents=True)
    (site / "var/spool/0/spool.sqlite").touch()
    [remark] = remarks(loaded)
    assert "gateway spool move" in remark.remedy
