"""The key of the seals: made once, read by its owner alone."""

import stat
from pathlib import Path

import pytest

from gateway.delivery.seal_key import load_or_make_seal_key, read_seal_key
from gateway.errors import DeadLetterError


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    key = load_or_make_seal_key(path)
    assert len(key) == 32
    assert load_or_make_seal_key(path) == read_seal_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["seal.key"]


@pytest.mark.parametrize("trouble", ["absent", "open", "short", "link", "directory"])
def test_what_cannot_be_trusted_is_refused(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "seal.key"
    if trouble == "open":
        path.write_bytes(b"k" * 32)
        path.chmod(0o644)
    elif trouble == "short":
        path.write_bytes(b"k" * 31)
        path.chmod(0o600)
    elif trouble == "link":
        load_or_make_seal_key(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    elif trouble == "directory":
        path.mkdir()
    with pytest.raises(DeadLetterError) as raised:
        read_seal_key(path)
    assert str(path) in str(raised.value)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeadLetterError, match="cannot be made"):
        load_or_make_seal_key(tmp_path / "absent" / "seal.key")
