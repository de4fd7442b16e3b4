"""The admin token's file."""

import os
import stat
from pathlib import Path

import pytest

from gateway.admin.token import load_or_make_token, read_token
from gateway.errors import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.token"


def test_a_token_is_made_once_for_its_owner_alone(path: Path) -> None:
    made = load_or_make_token(path)
    assert len(made) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_token(path) == made == read_token(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["admin.token"]


def test_tokens_differ(tmp_path: Path) -> None:
    assert load_or_make_token(tmp_path / "one") != load_or_make_token(tmp_path / "other")


def test_the_umask_cannot_open_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_make_token(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_crash_left_behind_is_in_nobodys_way(path: Path) -> None:
    leftover = path.with_name(f".admin.token.{os.getpid()}.tmp")
    leftover.write_bytes(b"half")
    load_or_make_token(path)
    assert not leftover.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(path: Path, mode: int) -> None:
    load_or_make_token(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"others .{mode:04o}.*remove it"):
        load_or_make_token(path)


def test_a_link_is_refused_whatever_it_leads_to(path: Path, tmp_path: Path) -> None:
    load_or_make_token(tmp_path / "real")
    for target in ("real", "nowhere"):
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / target)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            load_or_make_token(path)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"a" * 31, b"x" * 40 + b"\nmore", b"\xff" * 40])
def test_a_file_without_a_token_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no token"):
        load_or_make_token(path)


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_plain_file_is_refused_at_once(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir(mode=0o700)
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="not a plain file"):
        load_or_make_token(path)


def test_an_absent_file_says_what_to_do(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gateway run"):
        read_token(path)
    with pytest.raises(ConfigurationError, match="cannot be made"):
        load_or_make_token(path / "nowhere" / "admin.token")
