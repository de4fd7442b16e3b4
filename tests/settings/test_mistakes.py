"""What people get wrong, and what they are told: file, line, column, key path, what is wrong, what to do."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings.load import Loaded, load_settings
from gateway.settings.reading import remedy

Load = Callable[..., Loaded]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One slip in the good configuration."""

    name: str
    change: tuple[str, str]
    """A text of the good configuration, and what stands there instead."""
    where: str
    """LINE:COLUMN."""
    key: str
    message: str
    remedy: str


SECRET = "{file: secrets/app_secret}"
TOKEN = "verify_token: {env: VERIFY_TOKEN}"
URL = "url: http://127.0.0.1:8080/whatsapp"
TIMEOUT = "timeout: 10s"
FIELD = "field: messages"
CLIENT = "    meta:\n      trust_anchors: [certs/meta.pem]\n"
APPS_END = TOKEN + "\n"
END = "unrouted: dead_letter\n"


PROXIED = "listen:\n  proxy_protocol: v2\n  proxy_from: [{}]\n"
ODD = {"TWO_LINES": "one\rtwo", "SPACES": " a "}


def mistake(name: str, old: str, new: str, where: str, key: str, message: str, remedy: str) -> Mistake:
    return Mistake(name=name, change=(old, new), where=where, key=key, message=message, remedy=remedy)


MISTAKES = [
    # --- YAML itself, and its traps
    mistake("tab", "  timeout", "\ttimeout", "18:3", "", "a tab", "spaces"),
    mistake("duplicate key", TIMEOUT, "timeout: 1s\n    timeout: 2s", "19:5", "targets.support.timeout",
            "twice", "remove"),
    mistake("merge key", TIMEOUT, "<<: {timeout: 1s}", "18:5", "targets.support.<<", "merge key", "alias"),
    mistake("undefined alias", "1s, 5s, 30s", "*secret", "20:18", "", "names no anchor", "quote"),
    mistake("a star alone", FIELD, "field: *", "22:13", "", "an alias (*) names nothing",
            "quote a text that begins with *"),
    mistake("an ampersand alone", FIELD, "field: &", "22:13", "", "an anchor (&) names nothing",
            "quote a text that begins with &"),
    mistake("quote left open", "dress: \"[::]:8443\"", "dress: \"[::]:8443", "2:12", "",
            "the quote that opens here is never closed", "close it"),
    mistake("quote closed by the next", URL, "url: \"http://a\n    signing_secret: {env: \"A\"}", "17:10", "",
            "the quote that opens here is closed only in line 18", "close it"),
    mistake("quote in a list", "[1s, 5s, 30s]", "['1s, 5s, 30s]\n    on_give_up: 'drop'", "20:18", "",
            "closed only in line 21", "close it"),
    mistake("second document", END, END + "---\na: b\n", "25:1", "", "second document", "keep one"),
    mistake("unclosed bracket", "[support]", "[support", "24:9", "", "not YAML", "correct"),
    mistake("colon in a text", FIELD, "field: a: b", "22:13", "", "not YAML", "quote"),
    mistake("tag", FIELD, "field: !env messages", "22:12", "routes[0].field", "tag", "remove"),
    mistake("yaml 1.1", "listen:\n", "%YAML 1.1\n---\nlisten:\n", "1:1", "", "another version", "%YAML"),
    mistake("control character", "messages", "mess\x07ages", "22:16", "", "U+0007", "remove"),
    mistake("off is a text", "unrouted: dead_letter", "unrouted: off", "24:1", "unrouted", "'off'",
            "dead_letter or drop"),
    mistake("no is a text", "retry:", "payload: no\n    retry:", "19:5", "targets.support.payload", "'no'",
            "matching or"),
    mistake("1_000", "4096", "1_000", "3:3", "listen.max_connections", "'1_000'", "write 1000: YAML 1.2"),
    mistake("too many merged", TIMEOUT, "max_changes: 10001", "18:5", "targets.support.max_changes",
            "too large", "write 10000 or less"),
    mistake("none merged", TIMEOUT, "max_changes: 0", "18:5", "targets.support.max_changes", "too small",
            "1 or more"),
    mistake("original and merged", TIMEOUT, "payload: original\n    max_changes: 100", "19:5",
            "targets.support.max_changes", "cannot stand beside `payload: original`", "payload: matching"),
    mistake("strictly yes", CLIENT, CLIENT + "      revocation_strict: yes\n", "10:7",
            "tls.clients.meta.revocation_strict", "'yes' is neither", "true or false"),
    mistake("a list alone", CLIENT, CLIENT + "      revocation_lists: meta.crl\n", "10:7",
            "tls.clients.meta.revocation_lists", "must be a list", "[one, two]"),
    mistake("octal", "4096", "0o17", "3:3", "listen.max_connections", "'0o17'", "decimal digits"),
    mistake("exponent", "4096", "1e3", "3:3", "listen.max_connections", "'1e3'", "decimal digits"),
    mistake("empty key", "10s", "", "18:5", "targets.support.timeout", "has no value", "remove the key"),
    # --- keys
    mistake("unknown key", "timeout: 10s", "timout: 10s", "18:5", "targets.support.timout", "unknown key",
            "timeout?"),
    mistake("unknown section", "unrouted: d", "unruoted: d", "24:1", "unruoted", "unknown key", "unrouted?"),
    mistake("a key from far away", END, END + "retries: 1\n", "25:1", "retries", "unknown key",
            "known here: "),
    mistake("missing key", f"    {TOKEN}\n", "", "11:3", "apps.main.verify_token", "is missing",
            "add it: What you enter"),
    mistake("missing section", "targets:\n", "x-targets:\n", "1:1", "targets", "is missing",
            "add it: Where changes go"),
    mistake("order", TIMEOUT, "order: receiver", "18:5", "targets.support.order", "not possible",
            "none or sender"),
    mistake("workers", "listen:\n", "listen:\n  workers: many\n", "2:3", "listen.workers",
            "not a whole number", "decimal"),
    mistake("no workers", "listen:\n", "listen:\n  workers: 0\n", "2:3", "listen.workers", "too small", "1"),
    mistake("an army", "listen:\n", "listen:\n  workers: 65\n", "2:3", "listen.workers", "too large", "auto"),
    mistake("graph over http", END, END + 'graph: {base_url: "http://127.0.0.1"}\n', "25:9",
            "graph.base_url", "not a URL of https", "https://HOST"),
    mistake("graph with a query", END, END + 'graph: {base_url: "https://a/b?c"}\n', "25:9",
            "graph.base_url", "holds a query", "write https://a/b"),
    mistake("a version of nothing", END, END + "graph: {version: 25}\n", "25:9", "graph.version",
            "'25' is no version", "v25.0"),
    mistake("a plain token", END, END + "graph: {token: EAAB}\n", "25:9", "graph.token", "not a reference",
            "{env: NAME}"),
    mistake("a token in env", END, END + "graph: {token: {env: EAA-B}}\n", "25:17", "graph.token.env",
            "not the name of", "letters"),
    mistake("whose token", END, END + "graph: {app: mian}\n", "25:9", "graph.app", "no app 'mian'", "main?"),
    mistake("accounts by pattern", END, END + "graph: {subscriptions: [{waba: 10*}]}\n", "25:26",
            "graph.subscriptions[0].waba", "'10*' is a pattern", "digits of its id"),
    mistake("an account twice", END, END + "graph: {subscriptions: [{waba: 1}, {waba: [2, 1]}]}\n", "25:37",
            "graph.subscriptions[1].waba", "the account 1 stands", "keep one"),
    mistake("an endless override", END, END + "graph: {subscriptions: [{waba: 1, override_url: \"https://a/"
            + 200 * "a" + "\"}]}\n", "25:35", "graph.subscriptions[0].override_url", "has 210 characters",
            "shorter"),
    mistake("a token for nothing", END, END + "graph: {subscriptions: [{waba: 1, verify_token: {env: A}}]}\n",
            "25:35", "graph.subscriptions[0].verify_token", "beside no override_url", "add override_url"),
    mistake("an app's id", APPS_END, APPS_END + "    app_id: 12a\n", "15:5", "apps.main.app_id",
            "digits alone", "write 12"),
    mistake("breaker", TIMEOUT, "breaker: {failures: 0}", "18:15", "targets.support.breaker.failures",
            "too small", "1"),
    mistake("breaker key", TIMEOUT, "breaker: {fails: 5}", "18:15", "targets.support.breaker.fails",
            "unknown", "failures"),
    mistake("dsn", "unrouted", "spool: {dsn: postgresql://gateway@db/gateway}\nunrouted", "24:9", "spool.dsn",
            "not a reference to a secret", "{env: NAME}"),
    mistake("no dsn", "unrouted", "spool: {engine: postgresql}\nunrouted", "24:9", "spool.engine",
            "needs spool.dsn", "GATEWAY_DSN"),
    mistake("engine", "unrouted", "spool: {engine: postgres}\nunrouted", "24:9", "spool.engine",
            "postgres", "postgresql"),
    # --- values
    mistake("bad duration", "10s", "10 seconds", "18:5", "targets.support.timeout", "not a duration",
            "10s, 5m"),
    mistake("no unit", "10s", "10", "18:5", "targets.support.timeout", "no unit", "write 10s"),
    mistake("no time", "10s", "0s", "18:5", "targets.support.timeout", "is zero", "longer"),
    mistake("ages", "10s", "99999d", "18:5", "targets.support.timeout", "too long", "3650d"),
    mistake("bad step", "5s,", "5x,", "20:22", "targets.support.retry.schedule[1]", "'5x'", "250ms"),
    mistake("no steps", "[1s, 5s, 30s]", "[]", "20:7", "targets.support.retry.schedule", "is empty",
            "at least one"),
    mistake("bad size", END, END + "spool: {min_free: 5MB}\n", "25:9", "spool.min_free", "'5MB'", "MiB"),
    mistake("size without unit", END, END + "spool: {min_free: 5}\n", "25:9", "spool.min_free", "no unit",
            "5B"),
    mistake("too few", "4096", "0", "3:3", "listen.max_connections", "too small", "1 or more"),
    mistake("status", "retry:", "retry:\n      refuse_statuses: [200]", "20:25",
            "targets.support.retry.refuse_statuses[0]", "200", "300 to 599"),
    mistake("gives up at once", "schedule: [1s, 5s, 30s]", "give_up_after: 500ms", "20:7",
            "targets.support.retry.give_up_after", "shorter than the first", "longer"),
    mistake("address without host", '"[::]:8443"', '":8443"', "2:3", "listen.address", "':8443'",
            '"[::]:8443"'),
    mistake("bare ipv6", '"[::]:8443"', '"::1:8443"', "2:3", "listen.address", "not an address", "brackets"),
    mistake("bad ip", '"[::]:8443"', "1.2.3.400:8443", "2:3", "listen.address", "not an IP", "HOST:PORT"),
    mistake("bad port", '"[::]:8443"', '"[::]:84430"', "2:3", "listen.address", "not a port", "65535"),
    mistake("public path", "listen:\n", "listen:\n  public_url: https://a.example/x\n", "2:3",
            "listen.public_url",
            "a path", "https://a.example;"),
    mistake("public http", "listen:\n", "listen:\n  public_url: http://a.example\n", "2:3",
            "listen.public_url",
            "not a URL of https", "https://"),
    # --- secrets
    mistake("plain secret", SECRET, "hunter2", "13:19", "apps.main.app_secrets[0]", "not a reference",
            "{env: NAME}"),
    mistake("plain token", TOKEN, "verify_token: hunter2", "14:5", "apps.main.verify_token", "not a ref",
            "{file: PATH}"),
    mistake("both", "{env: VERIFY_TOKEN}", "{env: A, file: b}", "14:5", "apps.main.verify_token",
            "not a ref", "{env: NA"),
    mistake("secret as key", "{env: VERIFY_TOKEN}", "{hunter2}", "14:5", "apps.main.verify_token",
            "not a ref", "{env: NA"),
    mistake("secret as env", "{env: VERIFY_TOKEN}", "{env: hunter-2}", "14:20", "apps.main.verify_token.env",
            "not the name", "letters"),
    mistake("env not set", "VERIFY_TOKEN", "NOT_SET", "14:20", "apps.main.verify_token.env",
            "NOT_SET is not set", "set NOT"),
    mistake("env empty", "VERIFY_TOKEN", "EMPTY", "14:20", "apps.main.verify_token.env",
            "empty (env EMPTY)", "put"),
    mistake("file missing", "app_secret}", "nothing}", "13:20", "apps.main.app_secrets[0].file",
            "No such file", "put the app secret there"),
    mistake("file empty", "app_secret}", "empty}", "13:20", "apps.main.app_secrets[0].file",
            "secret is empty", "put"),
    mistake("file is a directory", "secrets/app_secret", "secrets", "13:20", "apps.main.app_secrets[0].file",
            "Is a directory", "name a file"),
    mistake("key as secret", "app_secret}", "key.pem}", "13:20", "apps.main.app_secrets[0].file",
            "several lines", "one line"),
    mistake("two tokens", "VERIFY_TOKEN", "TWO_LINES", "14:20", "apps.main.verify_token.env",
            "several lines", "one line"),
    mistake("control in a secret", "app_secret}", "control}", "13:20", "apps.main.app_secrets[0].file",
            "control character", "one line"),
    mistake("mark in a secret", "app_secret}", "bom}", "13:20", "apps.main.app_secrets[0].file",
            "byte order mark", "one line"),
    mistake("no secrets", f"[{SECRET}]", "[]", "13:5", "apps.main.app_secrets", "is empty", "at least one"),
    mistake("one secret, no list", f"[{SECRET}]", SECRET, "13:5", "apps.main.app_secrets", "must be a list",
            "[one, two]"),
    mistake("signing secret", TIMEOUT, "signing_secret: {env: NOT_BASE64}", "18:5",
            "targets.support.signing_secret",
            "not one of Standard Webhooks", "openssl rand"),
    # --- names, paths, URLs, headers
    mistake("app path", "path: /web", "path: web", "12:5", "apps.main.path", "not begin with /",
            "'/webhooks/main'"),
    mistake("app path with query", "hooks/main", "hooks?a=b", "12:5", "apps.main.path", "not a path",
            "percent-encode"),
    mistake("no url", URL, "url: support.internal", "17:5", "targets.support.url",
            "not a URL of http or https", "http://"),
    mistake("other scheme", "http://", "ftp://", "17:5", "targets.support.url",
            "not a URL of http or https", "http://"),
    mistake("credentials", "127.0.0.1:8080", "me:hunter2@a", "17:5",
            "targets.support.url", "credentials", "Authorization"),
    mistake("credentials alone", "http://127.0.0.1:8080", "me:hunter2@a", "17:5",
            "targets.support.url", "credentials", "Authorization"),
    mistake("fragment", "/whatsapp", "/#a", "17:5", "targets.support.url", "fragment", "remove"),
    mistake("url with spaces", "/whatsapp", "/a b", "17:5", "targets.support.url", "spaces",
            "percent-encode"),
    mistake("reserved header", TIMEOUT, "headers: {Gateway-App: a}", "18:15",
            "targets.support.headers.Gateway-App",
            "gateway's own", "another name"),
    mistake("reserved too", TIMEOUT, "headers: {content-length: 1}", "18:15",
            "targets.support.headers.content-length",
            "gateway's own", "remove it"),
    mistake("header name", TIMEOUT, 'headers: {"a b": c}', "18:15", "targets.support.headers.a b",
            "not the name", "letters"),
    mistake("header twice", TIMEOUT, "headers: {X-A: c, x-a: d}", "18:23", "targets.support.headers.x-a",
            "twice", "keep one"),
    mistake("smuggled header", TIMEOUT, 'headers: {X: "a\\r\\nb: c"}', "18:15", "targets.support.headers.X",
            "line break", "one line"),
    mistake("smuggled in a secret", TIMEOUT, "headers: {X: {file: secrets/two_lines}}", "18:19",
            "targets.support.headers.X.file", "several lines", "one line"),
    mistake("spaces in a header", TIMEOUT, "headers: {X: {env: SPACES}}", "18:15",
            "targets.support.headers.X", "cannot stand in a header", "spaces at its ends"),
    mistake("tls without TLS", TIMEOUT, "tls: {ca: ca.pem}", "18:5", "targets.support.tls", "without TLS",
            "https://"),
    mistake("half a pair", URL, "url: https://a\n    tls: {certificate: a.pem}", "18:11",
            "targets.support.tls.certificate",
            "no private_key", "add private_key"),
    # --- ids and routes
    mistake("no ids", FIELD, "waba: {file: no_ids.txt}", "22:12", "routes[0].waba.file", "holds no id",
            "one id a line"),
    mistake("ids not there", FIELD, "waba: {file: not_there}", "22:12", "routes[0].waba.file",
            "No such file", "put the file there"),
    mistake("ids from env", FIELD, "waba: {env: IDS}", "22:5", "routes[0].waba", "neither ids",
            "{file: PATH}"),
    mistake("no id", FIELD, 'display_phone_number: "+49 30 901820"', "22:5", "routes[0].display_phone_number",
            "'+49 30 901820' matches no id", "write 4930901820"),
    mistake("no id in a list", FIELD, "waba: [1029*, abc]", "22:19", "routes[0].waba[1]",
            "'abc' matches no id", "digits, * and ?"),
    mistake("no id, quoted", FIELD, "phone_number_id: \u201c1065\u201d", "22:5", "routes[0].phone_number_id",
            "matches no id", "write 1065"),
    mistake("no id in a file", FIELD, "waba: {file: numbers.txt}", "22:12", "routes[0].waba.file",
            "numbers.txt: '+49 30' matches no id", "write 4930"),
    mistake("no kind", FIELD, "kind: [message, statuses]", "22:5", "routes[0].kind", "'statuses'",
            "message, status"),
    mistake("empty field", FIELD, 'field: ""', "22:5", "routes[0].field", "is empty", "write a value"),
    mistake("no routes", "\n  - field: messages\n    to: [support]\n", " []\n", "21:1", "routes",
            "is empty", "at least one"),
    # --- what the sections say of each other
    mistake("unknown target", "to: [support]", "to: [support, suport]", "23:19", "routes[0].to[1]",
            "no target 'suport'", "support?"),
    mistake("unused target", "routes:", "  spare: {url: http://a}\nroutes:", "21:3", "targets.spare",
            "no route", "`to`"),
    mistake("unknown app", FIELD, "app: mian", "22:5", "routes[0].app", "no app 'mian'", "main?"),
    mistake("same path", APPS_END,
            APPS_END + f"  two: {{path: /webhooks/main, app_secrets: [{SECRET}], {TOKEN}}}\n",
            "15:9", "apps.two.path", "path of apps.main too", "of its own"),
    mistake("unknown client", APPS_END, APPS_END + "    clients: [mta, meta]\n", "15:15",
            "apps.main.clients[0]",
            "no entry 'mta'", "meta?"),
    mistake("unused client", CLIENT, CLIENT + "    spare: {trust_anchors: [a], names: [b]}\n", "10:5",
            "tls.clients.spare", "no app accepts", "clients"),
    mistake("no anchors", "[certs/meta.pem]", "[]", "9:7", "tls.clients.meta.trust_anchors", "is empty",
            "at least one"),
    mistake("one port for two", END, END + "admin: {address: 127.0.0.1:8443}\n", "25:9", "admin.address",
            "collides with listen.address", "another port"),
    mistake("metrics on admin", END, END + "metrics: {address: 127.0.0.1:9090}\n", "25:11", "metrics.address",
            "collides with admin.address", "another port"),
    mistake("open admin", END, END + "admin: {address: 10.0.0.1:9090}\n", "25:9", "admin.address",
            "other machines", "admin.hosts"),
    mistake("proxy from nobody", "listen:\n", "listen:\n  proxy_protocol: v2\n", "2:3",
            "listen.proxy_protocol", "needs proxy_from", "[10.0.8.0/24]"),
    mistake("proxy from an empty list", "listen:\n", "listen:\n  proxy_protocol: any\n  proxy_from: []\n",
            "2:3", "listen.proxy_protocol", "needs proxy_from", "networks"),
    mistake("proxies in vain", "listen:\n", "listen:\n  proxy_from: [10.0.0.0/8]\n", "2:3",
            "listen.proxy_from", "proxy_protocol: none", "proxy_protocol: v2"),
    mistake("no network", "listen:\n", PROXIED.format("lb.internal"), "3:16", "listen.proxy_from[0]",
            "'lb.internal' is not a network", "ADDRESS/BITS"),
    mistake("within a network", "listen:\n", PROXIED.format("10.0.8.7/24"), "3:16", "listen.proxy_from[0]",
            "within a network", "write 10.0.8.0/24, or 10.0.8.7 alone"),
    mistake("mapped network", "listen:\n", PROXIED.format('"::ffff:10.0.0.0/104"'), "3:16",
            "listen.proxy_from[0]", "in the form of IPv6", "write the IPv4 network"),
    mistake("proxy version", "listen:\n", "listen:\n  proxy_protocol: v3\n  proxy_from: [10.0.0.1]\n", "2:3",
            "listen.proxy_protocol", "'v3'", "none, v1, v2 or any"),
    mistake("one directory", END, END + "spool: {directory: a}\ndead_letter: {directory: a}\n", "26:15",
            "dead_letter.directory", "spool's directory too", "of its own"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_each_mistake_is_told_at_its_place_with_a_remedy_and_alone(
    mistake: Mistake, good: str, load: Load, site: Path
) -> None:
    old, new = mistake.change
    assert old in good
    with pytest.raises(ConfigurationError) as caught:
        load(good.replace(old, new, 1), EMPTY="", NOT_BASE64="not base64!", **ODD)
    (problem,) = caught.value.problems
    assert problem.file == site / "gateway.yaml"
    assert f"{problem.line}:{problem.column}" == mistake.where
    assert problem.key_path == mistake.key
    assert mistake.message in problem.message
    assert mistake.remedy in problem.remedy
    key = f"{mistake.key}: " if mistake.key else ""
    assert str(problem).startswith(f"{site}/gateway.yaml:{mistake.where}: {key}")
    assert "hunter2" not in str(caught.value), "a secret was echoed"


def test_the_good_configuration_is_good(good: str, load: Load) -> None:
    assert load(good).settings.targets["support"].timeout_seconds == 10


def test_an_empty_file_says_where_to_begin(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="holds nothing; `gateway init`"):
        load("# nothing but a comment\n")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just a text\n", "42\n"])
def test_a_file_that_is_no_mapping_is_told_so_at_its_first_value(text: str, load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"gateway.yaml:1:1: is not a mapping; begin with `tls:`"):
        load(text)


def test_bytes_that_are_not_utf8_are_told_with_their_place(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"gateway.yaml:2:4: is not UTF-8 text; save it as UTF-8"):
        load(b"listen: {}\na: \xff\xfe")


def test_a_missing_file_says_how_to_name_or_make_one(site: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"No such file or directory; name it with --config.*gateway init"
    ):
        load_settings(site / "none.yaml", environ={})


def test_a_directory_is_not_a_file_and_has_no_lines(site: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(site, environ={})
    assert str(caught.value).startswith(
        f"{site}: cannot be read: Is a directory; name a file, not a directory"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_for_the_gateways_user(good: str, load: Load, site: Path) -> None:
    load(good)
    (site / "gateway.yaml").chmod(0)
    with pytest.raises(
        ConfigurationError, match=r"Permission denied; let the gateway's user read it"
    ) as caught:
        load_settings(site / "gateway.yaml", environ={})
    assert "gateway init" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_what_may_not_be_read_is_not_to_be_made_anew(code: int) -> None:
    assert remedy(OSError(code, ""), absent="make it").startswith("let the gateway's user read it")
    assert remedy(OSError(errno.ENOENT, ""), absent="make it") == "make it"


def test_an_endless_file_ends(site: Path) -> None:
    with pytest.raises(ConfigurationError, match="larger than 1 MiB"):
        load_settings(Path("/dev/zero"), environ={})


def test_an_endless_secret_ends(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError, match="/dev/zero is larger than 1 MiB"):
        load(good.replace("secrets/app_secret", "/dev/zero"))


def test_nesting_without_end_is_told(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="nested too deep"):
        load("x-a: " + "[" * 50_000)


def test_an_anchor_that_holds_itself_is_told(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="endless"):
        load("x-a: &a [*a]\n")


def test_aliases_that_multiply_stop(load: Load) -> None:
    """A "billion laughs" file: eight lines that stand for 10^9 values."""
    lines = ["x-0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x-{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigurationError, match="endless"):
        load("\n".join(lines))


def test_demand_beside_report_names_the_app(good: str, load: Load) -> None:
    text = good.replace(TOKEN, f"{TOKEN}\n    client_certificate: report")
    with pytest.raises(ConfigurationError) as caught:
        load(text.replace("tls:\n", "tls:\n  handshake: demand\n"))
    assert str(caught.value).endswith(
        "gateway.yaml:5:3: tls.handshake: `demand` turns away what apps.main (client_certificate: report)"
        " would let in; use ask until every app is on required"
    )


def test_the_pseudo_target_cannot_be_a_target(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"16:3: targets._unrouted: '_unrouted' cannot be a name"):
        load(good.replace("support", "_unrouted"))


def test_an_entry_other_than_meta_must_state_its_names(good: str, load: Load) -> None:
    text = good.replace("    meta:", "    own:").replace(TOKEN, f"{TOKEN}\n    clients: [own]")
    with pytest.raises(ConfigurationError, match=r"8:5: tls.clients.own.names: is missing; add it"):
        load(text)


def test_an_app_that_leaves_out_its_clients_wants_meta(good: str, load: Load) -> None:
    text = good.replace("    meta:", "    own:").replace("[certs/meta.pem]", "[a]\n      names: [b]")
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert "apps.main.clients: there is no entry 'meta' in tls.clients; entries: own" in str(caught.value)


def test_all_mistakes_are_told_at_once_in_order_of_position(good: str, load: Load) -> None:
    text = good.replace("4096", "many").replace("10s", "10").replace("[support]", "[suport]")
    with pytest.raises(ConfigurationError) as caught:
        load(text.replace("VERIFY_TOKEN", "NOT_SET") + "spol: {}\n")
    assert [problem.key_path for problem in caught.value.problems] == [
        "listen.max_connections",
        "apps.main.verify_token.env",
        "targets.support.timeout",
        "routes[0].to[0]",
        "spol",
    ]


def test_a_misspelt_key_is_not_called_missing_too(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(good.replace("verify_token", "verify_tokn"))
    (problem,) = caught.value.problems
    assert problem.remedy == "did you mean verify_token?"


def test_a_mistake_behind_an_alias_is_told_where_it_is_written(good: str, load: Load) -> None:
    text = "x-retry: &retry\n  schedule: [1s, soon]\n" + good
    with pytest.raises(ConfigurationError, match=r":2:18: targets.support.retry.schedule\[1\]: 'soon'"):
        load(text.replace("retry:\n      schedule: [1s, 5s, 30s]", "retry: *retry"))


def test_a_key_path_with_odd_characters_stays_on_one_line(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(good + '"a\\nb": 1\n"": 2\n')
    assert [problem.key_path for problem in caught.value.problems] == [r"'a\nb'", "''"]
    assert len(str(caught.value).splitlines()) == 2
