"""What can still be read of a broken file."""

from pathlib import Path

import pytest

from gateway.settings.model import Admin
from gateway.settings.salvage import salvage_admin
from gateway.settings.values import Address

BROKEN = "targets:\n  support: {url: http://x\nroutes:\n  - [\n"
OWN = Address(host="127.0.0.1", port=9955)


@pytest.mark.parametrize(
    "admin",
    [
        "admin: {address: 127.0.0.1:9955}\n",
        'admin:\n  address: "127.0.0.1:9955"   # ours\n  hosts: [gateway.internal]\n',
        '"admin": {"address": "127.0.0.1:9955"}\n',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_section_is_read_whatever_is_wrong_with_the_others(tmp_path: Path, admin: str, first: bool) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(admin + BROKEN if first else BROKEN + admin)
    assert salvage_admin(path, environ={}).address == OWN


@pytest.mark.parametrize("text", [BROKEN, "admin: {address: [", "admin: 5\n", "", "\x00"])
def test_else_it_is_the_default(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    assert salvage_admin(path, environ={}) == Admin()
    assert salvage_admin(tmp_path / "nowhere", environ={}) == Admin()


def test_a_token_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("admin: {token: {env: TOKEN}}\n" + BROKEN)
    token = salvage_admin(path, environ={"TOKEN": "x" * 40}, with_secrets=True).token
    assert token is not None
    assert token.reveal() == b"x" * 40
