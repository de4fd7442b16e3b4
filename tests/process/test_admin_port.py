"""Whose token opens the admin port, and where it is to be found. The port itself: tests/stories."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.token import read_token
from gateway.errors import ConfigurationError
from gateway.process.admin_port import Token
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.simulator.pki import PkiFiles, make_pki
from tests.stories.rig import Rig

CONFIGURED = b"a token that is long enough"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


def settings(directory: Path, pki: PkiFiles, *, configured: bytes | None) -> Settings:
    def change(config: dict[str, Any]) -> None:
        if configured is not None:
            config["admin"]["token"] = {"file": "token"}
            (directory / "token").write_bytes(configured)
            (directory / "token").chmod(0o600)

    rig = Rig(directory=directory, pki=pki)
    rig.write(targets={"support": "http://127.0.0.1:1/"}, change=change)
    (directory / "state").mkdir(exist_ok=True)
    return load_settings(rig.config, environ=os.environ).settings


def test_where_the_settings_name_no_token_one_is_made_and_found_again(tmp_path: Path, pki: PkiFiles) -> None:
    found = settings(tmp_path, pki, configured=None)
    token, file = Token(lambda: found), tmp_path / "state" / "admin.token"
    assert token.now() == read_token(file)
    assert token.place() == f"in the file {file}"
    assert Token(lambda: found).now() == token.now()


def test_a_configured_token_is_the_one_of_now_and_no_file_is_made(tmp_path: Path, pki: PkiFiles) -> None:
    before, after = (settings(tmp_path, pki, configured=each) for each in (CONFIGURED, CONFIGURED * 2))
    now = [before]
    token = Token(lambda: now[0])
    assert token.now() == CONFIGURED
    now[0] = after
    assert token.now() == CONFIGURED * 2
    assert token.place() == "what admin.token of the configuration names"
    assert not (tmp_path / "state" / "admin.token").exists()


def test_a_token_that_others_can_read_keeps_the_gateway_from_starting(tmp_path: Path, pki: PkiFiles) -> None:
    found = settings(tmp_path, pki, configured=None)
    Token(lambda: found)
    file = tmp_path / "state" / "admin.token"
    file.chmod(stat.S_IRUSR | stat.S_IROTH)
    with pytest.raises(ConfigurationError):
        Token(lambda: found)
