"""What a good file means: YAML 1.2 as written, secrets, paths, defaults."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings.load import Loaded
from gateway.settings.model import Retry, Settings, Target
from gateway.settings.values import Address, ListenAddress, Secret

Load = Callable[..., Loaded]


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ("0123456", ("0123456",)),
        ('"0123456"', ("0123456",)),
        ("'0123456'", ("0123456",)),
        ("[0123456, 1000, 00*, 1?3]", ("0123456", "1000", "00*", "1?3")),
        ("1029*", ("1029*",)),
        ("{file: ids.txt}", ("0123456", "1000*")),
        ("12345678901234567890123456789012345678901234567890", ("1234567890" * 5,)),
    ],
)  # fmt: skip
def test_ids_keep_their_characters_as_written(
    written: str, ids: tuple[str, ...], good: str, load: Load
) -> None:
    route = load(good.replace("field: messages", f"waba: {written}")).settings.routes[0]
    assert route.waba == ids
    assert all(type(id_) is str for id_ in route.waba)


GUESSED = "off yes no on true null_ 0123 1_000 0o17 0x1F 1e3 1.50 +7 2024-01-01 12:30:45"
"""What some YAML reader takes for something else than a text."""


@pytest.mark.parametrize("written", GUESSED.split())
def test_texts_stay_texts(written: str, good: str, load: Load) -> None:
    assert load(good.replace("field: messages", f"field: {written}")).settings.routes[0].field == (written,)


def test_one_text_stands_for_a_list_of_one(good: str, load: Load) -> None:
    assert load(good.replace("[support]", "support")).settings.routes[0].to == ("support",)


@pytest.mark.parametrize(("written", "value"), [("4096", 4096), ("0100", 100), ('"7"', 7)])
def test_numbers_are_decimal(written: str, value: int, good: str, load: Load) -> None:
    assert load(good.replace("4096", written)).settings.listen.max_connections == value


@pytest.mark.parametrize("written", ['"1.2"', "1.2"])
def test_a_version_needs_no_quotes(written: str, good: str, load: Load) -> None:
    text = good.replace("tls:\n", f"tls:\n  minimum_version: {written}\n")
    assert load(text).settings.tls.minimum_version == "1.2"


def test_keys_that_begin_with_x_are_a_home_for_anchors(good: str, load: Load) -> None:
    text = "x-retry: &retry {schedule: [2s], give_up_after: 1d}\nx-note: [~]\n" + good
    text = text.replace("retry:\n      schedule: [1s, 5s, 30s]", "retry: *retry")
    assert load(text).settings.targets["support"].retry == Retry(
        schedule_seconds=(2.0,), give_up_after_seconds=86400
    )


def test_an_anchor_that_is_set_twice_means_the_later_one_without_a_warning(good: str, load: Load) -> None:
    """A warning of the parser would quote the file, and a secret with an ampersand in it."""
    text = good.replace("schedule: [1s, 5s, 30s]", "schedule: [&wait 1s, &wait 2s, *wait]")
    assert load(text).settings.targets["support"].retry.schedule_seconds == (1, 2, 2)


def test_a_byte_order_mark_and_crlf_change_nothing(good: str, load: Load) -> None:
    marked = b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode()
    assert load(marked).settings == load(good).settings


def test_paths_start_at_the_file(good: str, load: Load, site: Path) -> None:
    settings = load(good.replace("certs/server.key", "/etc/keys/server.key")).settings
    assert settings.tls.certificate == site / "certs/server.pem"
    assert settings.tls.private_key == Path("/etc/keys/server.key")
    assert settings.tls.clients["meta"].trust_anchors == (site / "certs/meta.pem",)


def test_paths_start_at_a_link_not_at_what_it_points_to(good: str, load: Load, site: Path) -> None:
    """A Kubernetes ConfigMap is a link into a directory that changes its name with each update."""
    from gateway.settings.load import load_settings

    load(good)
    (site / "..data").mkdir()
    (site / "gateway.yaml").rename(site / "..data/gateway.yaml")
    (site / "gateway.yaml").symlink_to("..data/gateway.yaml")
    loaded = load_settings(site / "gateway.yaml", environ={"VERIFY_TOKEN": "a"})
    assert loaded.settings.tls.certificate == site / "certs/server.pem"


def test_meta_has_its_name_and_is_whom_apps_want(good: str, load: Load) -> None:
    settings = load(good).settings
    assert settings.tls.clients["meta"].names == ("client.webhooks.fbclientcerts.com",)
    assert settings.apps["main"].clients == ("meta",)


def test_meta_may_be_given_another_name(good: str, load: Load) -> None:
    text = good.replace("[certs/meta.pem]", "[certs/meta.pem]\n      names: [other.example]")
    assert load(text).settings.tls.clients["meta"].names == ("other.example",)


@pytest.mark.parametrize(
    ("state_directory", "spool", "dead_letter"),
    [
        ("", "{site}/var/spool", "{site}/var/dead-letter"),
        ("/var/lib/gateway", "/var/lib/gateway/spool", "/var/lib/gateway/dead-letter"),
        ("/var/lib/one:/var/lib/two", "/var/lib/one/spool", "/var/lib/one/dead-letter"),
    ],
)
def test_state_lives_where_systemd_says_else_beside_the_file(
    state_directory: str, spool: str, dead_letter: str, good: str, load: Load, site: Path
) -> None:
    settings = load(good, STATE_DIRECTORY=state_directory).settings
    assert str(settings.spool.directory) == spool.format(site=site)
    assert str(settings.dead_letter.directory) == dead_letter.format(site=site)


def test_a_directory_that_is_stated_wins(good: str, load: Load, site: Path) -> None:
    settings = load(good + "spool: {directory: here}\n", STATE_DIRECTORY="/var/lib/gateway").settings
    assert settings.spool.directory == site / "here"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", b"s3cret"),
        (b"s3cret\n", b"s3cret"),
        (b"s3cret\r\n", b"s3cret"),
        (b"s3cret\n\n", b"s3cret\n"),
        (b" s3cret \n", b" s3cret "),
        (b"\xff\xe0\n", b"\xff\xe0"),
    ],
)
def test_one_trailing_newline_of_a_secret_is_dropped(
    content: bytes, secret: bytes, good: str, load: Load, site: Path
) -> None:
    (site / "secrets/app_secret").write_bytes(content)
    assert load(good).settings.apps["main"].app_secrets[0].reveal() == secret


def test_without_secrets_nothing_is_read_and_the_rest_is_checked(good: str, load: Load, site: Path) -> None:
    (site / "secrets/app_secret").unlink()
    text = good.replace("VERIFY_TOKEN", "NOT_SET").replace(
        "timeout: 10s", "signing_secret: {env: NOT_SET}\n    headers: {A: {file: none}}"
    )
    app = load(text, with_secrets=False).settings.apps["main"]
    assert app.verify_token.reveal() == b""
    assert app.app_secrets[0].source == f"file {site}/secrets/app_secret"
    with pytest.raises(ConfigurationError, match="not a reference"):
        load(text.replace("{env: NOT_SET}", "plain"), with_secrets=False)


@pytest.mark.parametrize(
    "secret", ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "C2FVsBQIhrscChlQIMV+b5sSYspob7o"]
)
def test_a_signing_secret_is_one_that_standard_webhooks_takes(secret: str, good: str, load: Load) -> None:
    from standardwebhooks import Webhook

    text = good.replace("timeout: 10s", "signing_secret: {env: SIGNING}")
    loaded = load(text, SIGNING=secret).settings.targets["support"].signing_secret
    assert loaded is not None
    Webhook(loaded.reveal().decode())


def test_secrets_are_in_no_repr_and_no_dump(good: str, load: Load) -> None:
    text = good.replace("timeout: 10s", "headers: {Authorization: {env: BEARER}, X-Plain: shown}")
    settings = load(text, VERIFY_TOKEN="hunter2", BEARER="hunter2").settings
    shown = [repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()]
    assert all("hunter2" not in text and "app secret" not in text for text in shown)
    assert "Secret(env BEARER)" in shown[0]


def test_settings_are_equal_until_a_secret_changes(good: str, load: Load, site: Path) -> None:
    before = load(good).settings
    assert load(good).settings == before
    (site / "secrets/app_secret").write_text("rotated\n")
    assert load(good).settings != before


def test_settings_cannot_be_changed(good: str, load: Load) -> None:
    settings = load(good).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.unrouted = "drop"


def test_a_source_knows_the_hash_and_the_places(good: str, load: Load, site: Path) -> None:
    source = load(good).source
    assert source.sha256 == hashlib.sha256(good.encode()).hexdigest()
    problem = source.problem(("targets", "support", "retry", "schedule", 2), "is odd", remedy="even it out")
    assert (
        str(problem) == f"{site}/gateway.yaml:20:26: targets.support.retry.schedule[2]: is odd; even it out"
    )
    absent = source.problem(("targets", "support", "tls", "ca"), "is odd", remedy="even it out")
    assert (absent.line, absent.column, absent.key_path) == (16, 3, "targets.support.tls.ca")


@pytest.mark.parametrize(
    "text",
    [
        "  order: none",
        "  order: 'none'",
    ],
)
def test_keys_of_later_versions_may_say_what_holds_anyway(text: str, good: str, load: Load) -> None:
    more = good.replace("    timeout: 10s", "    timeout: 10s\n  " + text)
    more = more.replace("listen:\n", "listen:\n  workers: 1\n")
    more += "spool: {engine: sqlite, keep_delivered: 0s}\n"
    assert load(more).settings == load(good).settings


def test_networks_are_read_and_one_address_is_a_network(good: str, load: Load) -> None:
    text = 'listen:\n  proxy_protocol: any\n  proxy_from: [10.0.8.0/24, 192.0.2.7, "2001:db8::/32"]\n'
    listen = load(good.replace("listen:\n", text)).settings.listen
    assert listen.proxy_protocol == "any"
    assert list(map(str, listen.proxy_from)) == ["10.0.8.0/24", "192.0.2.7/32", "2001:db8::/32"]


def test_the_file_knows_no_attribute_names(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"targets.support.timeout_seconds: unknown key"):
        load(good.replace("timeout:", "timeout_seconds:"))


def test_python_code_builds_models_by_attribute_names() -> None:
    target = Target(
        url="http://127.0.0.1:1/", timeout_seconds=0.25, headers={"A": Secret(b"x", source="env A")}
    )
    assert target.timeout_seconds == 0.25
    assert target.concurrency == Target.model_fields["concurrency"].default


def test_addresses_are_read_and_written(good: str, load: Load) -> None:
    listen = load(good.replace('"[::]:8443"', "localhost:0")).settings.listen
    assert listen.address == ListenAddress(host="localhost", port=0)
    assert listen.address.is_loopback
    assert str(Address(host="::1", port=9090)) == "[::1]:9090"
    assert not Address(host="::", port=1).is_loopback


def test_systemd_stands_for_sockets_that_are_passed_on_and_may_be_public(good: str, load: Load) -> None:
    address = load(good.replace('"[::]:8443"', "systemd")).settings.listen.address
    assert address.activated
    assert str(address) == "systemd"
    assert address.is_wildcard
    assert not address.is_loopback
    assert not load(good).settings.listen.address.activated
    with pytest.raises(ConfigurationError, match=r"admin.address: 'systemd' is not an address"):
        load(good + "admin: {address: systemd}\n")


def test_a_path_may_begin_in_the_credentials_that_systemd_passes_on(
    good: str, load: Load, site: Path
) -> None:
    text = good.replace("{file: secrets/app_secret}", "{file: $CREDENTIALS_DIRECTORY/app_secret}").replace(
        "certs/server.key", "$CREDENTIALS_DIRECTORY/server.key"
    )
    settings = load(text, CREDENTIALS_DIRECTORY=str(site / "secrets")).settings
    assert settings.apps["main"].app_secrets[0].reveal() == b"app secret"
    assert settings.tls.private_key == site / "secrets/server.key"
    told = r"private_key: CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential="
    with pytest.raises(ConfigurationError, match=told) as raised:
        load(text)
    assert {problem.key_path for problem in raised.value.problems} == {
        "tls.private_key",
        "apps.main.app_secrets[0].file",
    }
    # Commands that need no secret work in any shell.
    assert load(text, with_secrets=False).settings.apps["main"].app_secrets[0].reveal() == b""


def test_no_other_variable_is_replaced_in_a_path(good: str, load: Load, site: Path) -> None:
    settings = load(good.replace("certs/server.key", "$HOME/server.key"), HOME="/h").settings
    assert settings.tls.private_key == site / "$HOME/server.key"


def test_the_defaults_of_the_models_are_the_contract(good: str, load: Load) -> None:
    settings: Settings = load(good).settings
    assert settings.listen.address == ListenAddress(host="::", port=8443)
    assert settings.listen.max_body_bytes == 3 * 1024**2
    assert (settings.listen.drain.delay_seconds, settings.listen.drain.timeout_seconds) == (0, 10)
    assert settings.admin.address == Address(host="127.0.0.1", port=9090)
    assert Retry().schedule_seconds == (1, 5, 30, 120, 600, 1800, 3600, 10800, 21600)
    assert Retry().give_up_after_seconds == 7 * 86400
    assert Retry().refuse_statuses == (400, 410, 413, 415, 422)
    assert settings.spool.duplicates_max == 20_000_000
    assert settings.spool.min_free_bytes == 256 * 1024**2
    assert settings.dead_letter.keep_seconds == 30 * 86400
    assert settings.dead_letter.max_size_bytes == 50 * 1024**3
