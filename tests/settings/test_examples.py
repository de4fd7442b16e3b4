"""The configurations that the project hands out can be loaded as they are."""

import re
from pathlib import Path

import pytest

from gateway.preflight import load_and_examine
from gateway.settings.load import load_settings
from gateway.simulator.pki import development_pki, make_pki

CONFIG = Path(__file__).parents[2] / "config"
SMALL = CONFIG / "gateway.yaml"
FULL = CONFIG / "example-full.yaml"
VARIABLES = ("GATEWAY_DSN", "META_APP_SECRET_OLD", "META_STAGING_APP_SECRET", "META_STAGING_VERIFY_TOKEN")
ENVIRON = dict.fromkeys(VARIABLES, "a secret")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of `config/` with all certificates and secrets that its files name."""
    config = tmp_path / "config"
    (config / "secrets").mkdir(parents=True)
    for file in (SMALL, FULL, CONFIG / "audited_numbers.txt"):
        (config / file.name).write_text(file.read_text())
    for name in ("app_secret", "verify_token", "support", "admin_token"):
        (config / "secrets" / name).write_text(f"the {name}\n")
    (config / "secrets/support_signing").write_text("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n")
    make_pki(tmp_path / "certs")
    pki = development_pki()
    for name, content in {
        "meta-outbound-api-ca-2025-12.pem": pki.meta_root.pem,
        "internal-ca.pem": pki.server_root.pem,
        "me.pem": pki.server.pem,
        "me.key": pki.server.key_pem,
    }.items():
        (tmp_path / "certs" / name).write_bytes(content)
    return config


def test_the_small_configuration_is_clean_once_its_files_are_there(clone: Path) -> None:
    loaded, problems = load_and_examine(clone / "gateway.yaml", environ={})
    assert problems == ()
    assert loaded is not None


def test_without_secrets_the_full_example_lacks_certificates_alone(tmp_path: Path) -> None:
    """What else it names is in the repository; the copy keeps a developer's own certificates out."""
    copied = tmp_path / "config"
    copied.mkdir()
    for file in CONFIG.iterdir():
        if file.is_file():
            (copied / file.name).write_bytes(file.read_bytes())
    loaded, problems = load_and_examine(copied / FULL.name, environ={}, with_secrets=False)
    assert loaded is not None
    assert problems
    assert all("/certs/" in problem.message and "does not exist" in problem.message for problem in problems)


def test_the_full_example_loads_with_every_key(clone: Path) -> None:
    settings = load_settings(clone / "example-full.yaml", environ=ENVIRON).settings
    assert settings.targets["support"].tls is not None
    assert settings.routes[3].phone_number_id == ("1065*", "0123456")
    assert settings.routes[3].display_phone_number == ("15550783881",)


def test_the_full_example_is_clean_but_for_its_development_certificates(clone: Path) -> None:
    _, problems = load_and_examine(clone / "example-full.yaml", environ=ENVIRON)
    assert problems
    assert all("development CA" in problem.message for problem in problems)


def test_a_fresh_clone_is_told_everything_that_is_missing_and_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(SMALL.read_text())
    _, problems = load_and_examine(tmp_path / "gateway.yaml", environ={})
    assert {problem.key_path for problem in problems} == {
        "tls.certificate",
        "tls.private_key",
        "tls.clients.meta.trust_anchors[0]",
        "apps.main.app_secrets[0].file",
        "apps.main.verify_token.file",
    }
    assert any("gateway init" in problem.remedy for problem in problems)


def test_the_small_configuration_is_what_init_writes() -> None:
    """But for where certificates and state are; so that there is one text to keep right."""
    template = (CONFIG.parent / "gateway/cli/init/development.yaml").read_text()

    def body(text: str) -> str:
        return re.sub(
            r"\.\./certs/", "certs/", text[text.index("listen:") : text.index("# What no route takes")]
        )

    assert body(SMALL.read_text()) == body(template)
