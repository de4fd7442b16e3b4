"""What was last used when, over restarts, without giving a secret away."""

import stat
from pathlib import Path

import pytest

from gateway.core.identity import Identity, LeafSummary
from gateway.telemetry.last_seen import (
    KEPT,
    LAST_SEEN,
    LastSeen,
    last_seen_of_others,
)
from gateway.telemetry.state_file import StateFileError, state_file_name, write_state

KEY = bytes(range(32))
OLD, NEW = b"the-old-app-secret", b"the-new-app-secret"
LEAF = LeafSummary(subject="CN=x", issuer="CN=y", serial="01", sha256="ab", not_after_ms=9_000)


def identity(anchor: str = "aa" * 32) -> Identity:
    return Identity(clients=frozenset({"meta"}), name="x", leaf=LEAF, anchor_sha256=anchor)


def restarted(seen: LastSeen, path: Path, *, key: bytes = KEY) -> LastSeen:
    """Store, and begin another life."""
    write_state(path, seen.content())
    next_life = LastSeen(key=key)
    next_life.load(path)
    return next_life


def test_times_outlive_a_restart(tmp_path: Path) -> None:
    seen = LastSeen(key=KEY)
    seen.admit(identity(), 5_000)
    seen.secrets["main", OLD] = 6_000
    again = restarted(seen, tmp_path / "last-seen.json")
    assert again.anchor("meta", "aa" * 32) == 5_000
    assert again.secret("main", OLD) == 6_000
    assert [(name, one.not_after_ms, one.at_ms) for name, one in again.clients()] == [("meta", 9_000, 5_000)]
    assert again.content() == seen.content()


def test_a_secret_keeps_its_time_when_its_index_moves_and_another_does_not_inherit_it(tmp_path: Path) -> None:
    seen = LastSeen(key=KEY)
    seen.secrets["main", OLD] = 6_000
    again = restarted(seen, tmp_path / "last-seen.json")
    assert again.secret("main", NEW) is None
    assert again.secret("shop", OLD) is None
    again.secrets["main", NEW] = 7_000
    third = restarted(again, tmp_path / "last-seen.json")
    assert (third.secret("main", OLD), third.secret("main", NEW)) == (6_000, 7_000)


def test_the_file_is_private_and_holds_no_secret(tmp_path: Path) -> None:
    seen, path = LastSeen(key=KEY), tmp_path / "last-seen.json"
    seen.secrets["main", OLD] = 6_000
    write_state(path, seen.content())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert OLD not in path.read_bytes()
    assert "secret" not in repr(seen)
    # Without the key nobody can try secrets against it.
    assert restarted(seen, path, key=bytes(32)).secret("main", OLD) is None


def test_each_entry_that_accepts_has_its_own_anchor_noted() -> None:
    """An anchor that only the second entry needs must not look as if nobody did."""
    seen = LastSeen(key=KEY)
    both = Identity(
        clients=frozenset({"meta", "probe"}), name="x", leaf=LEAF, anchor_sha256="aa" * 32,
        other_anchors=(("probe", "bb" * 32),),
    )  # fmt: skip
    seen.admit(both, 5_000)
    assert seen.anchor("meta", "aa" * 32) == seen.anchor("probe", "bb" * 32) == 5_000
    assert seen.anchor("probe", "aa" * 32) is seen.anchor("meta", "bb" * 32) is None


def test_an_anchor_is_in_use_as_long_as_a_connection_is_open() -> None:
    """Meta keeps connections open; one that began days ago is no sign that nobody comes."""
    seen, root = LastSeen(key=KEY), "aa" * 32
    seen.admit(identity(), 1_000)
    seen.admit(identity(), 2_000)
    seen.leave(identity(), 3_000)
    seen.touch(9_000)
    assert seen.anchor("meta", root) == 9_000
    seen.leave(identity(), 9_500)
    seen.touch(20_000)
    assert seen.anchor("meta", root) == 9_500


def test_no_file_is_a_first_start(tmp_path: Path) -> None:
    seen = LastSeen(key=KEY)
    seen.load(tmp_path / "last-seen.json")
    assert seen.anchor("meta", "aa" * 32) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"anchors": {"aa": "x"}}', b"\xff\xfe", b'{"anchors": {}}', b"0" * 300_000],
)
def test_a_file_that_cannot_be_read_is_told_and_changes_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last-seen.json"
    path.write_bytes(content)
    path.chmod(0o600)
    seen = LastSeen(key=KEY)
    with pytest.raises(StateFileError, match=r"last-seen\.json cannot be used"):
        seen.load(path)
    assert seen.anchor("meta", "aa" * 32) is None


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "last-seen.json"
    path.write_bytes(LastSeen(key=KEY).content())
    path.chmod(0o666)
    with pytest.raises(StateFileError, match="others"):
        LastSeen(key=KEY).load(path)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot be written"):
        write_state(tmp_path / "gone" / "last-seen.json", b"{}")


def test_the_file_does_not_grow_for_ever() -> None:
    seen = LastSeen(key=KEY)
    for number in range(KEPT + 100):
        seen.admit(identity(f"{number:064x}"), number)
    content = seen.content()
    assert content.count(b'"meta ' + b"0" * 60) == KEPT
    assert f"{KEPT + 99:064x}".encode() in content


def test_what_each_worker_saw_is_put_together_the_latest_of_each(tmp_path: Path) -> None:
    one, other = LastSeen(key=KEY), LastSeen(key=KEY)
    one.admit(identity("aa" * 32), 5_000)
    one.admit(identity("bb" * 32), 9_000)
    other.admit(identity("aa" * 32), 7_000)
    other.secrets["main", OLD] = 6_000
    write_state(tmp_path / state_file_name(LAST_SEEN, 0), one.content())
    write_state(tmp_path / state_file_name(LAST_SEEN, 3), other.content())
    both = LastSeen(key=KEY)
    for path in (tmp_path / state_file_name(LAST_SEEN, 0), *last_seen_of_others(tmp_path)):
        both.load(path)
    assert both.anchor("meta", "aa" * 32) == 7_000
    assert both.anchor("meta", "bb" * 32) == 9_000
    assert both.secret("main", OLD) == 6_000
    assert [(name, seen.at_ms) for name, seen in both.clients()] == [("meta", 9_000)]
