"""The audit log: durable before the answer."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from gateway.telemetry.audit import TAIL_BYTES, TAIL_LINES, AuditLog, AuditLogError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def test_each_action_is_a_json_line_for_the_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        AuditLog(path).record("replay", ids=["a", "b"], accept_edited=True)
    finally:
        os.umask(before)
    AuditLog(path).record("discard", ids=["c\n{}"], admin_token="abc", raw=b"abc")
    one, other = [json.loads(line) for line in path.read_text().splitlines()]
    assert one.pop("at").endswith("Z")
    assert one == {"action": "replay", "ids": ["a", "b"], "accept_edited": True}
    other.pop("at")
    assert other == {"action": "discard", "ids": ["c\n{}"], "admin_token": "[hidden]", "raw": "[3 bytes]"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_of_several_threads_do_not_mix(path: Path) -> None:
    audit = AuditLog(path)

    def write(name: str) -> None:
        for number in range(20):
            audit.record("replay", who=name, number=number)

    threads = [Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [json.loads(line) for line in path.read_text().splitlines()]
    for name in "abc":
        assert [line["number"] for line in written if line["who"] == name] == list(range(20))


def test_a_line_is_fsynced_and_so_is_the_directory_of_a_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    real: Callable[[int], None] = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    AuditLog(path).record("one")
    assert synced == [False, True]
    AuditLog(path).record("other")
    assert synced == [False, True, False]


def test_what_cannot_be_put_on_record_is_an_error(path: Path) -> None:
    with pytest.raises(AuditLogError, match="nothing was done"):
        AuditLog(path / "nowhere" / "audit.log").record("replay")
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(AuditLogError):
        AuditLog(path).record("replay")
    assert not path.with_name("elsewhere").exists()


def test_a_line_that_finds_no_room_leaves_no_half_of_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = AuditLog(path)
    audit.record("one")
    whole = path.read_bytes()
    real: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:5]))
    with pytest.raises(AuditLogError, match="no room"):
        audit.record("other")
    assert path.read_bytes() == whole


def test_a_log_that_belongs_to_somebody_else_is_told_with_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # root, who may run this, is denied nothing
    with pytest.raises(AuditLogError, match=r"Permission denied; chown it .* to the gateway's user; nothing"):
        AuditLog(path).record("replay")


def test_the_tail_is_what_was_done_last_oldest_first(path: Path) -> None:
    audit = AuditLog(path)
    assert audit.tail() == [], "nothing has been done yet"
    for number in range(TAIL_LINES + 5):
        audit.record("pause", number=number)
    assert [line["number"] for line in audit.tail()] == list(range(5, TAIL_LINES + 5))


def test_the_tail_is_bounded_and_leaves_out_what_is_no_line(path: Path) -> None:
    long = json.dumps({"action": "replay", "ids": ["x" * (2 * TAIL_BYTES)]})
    lines = [b"{", long.encode(), b'{"action": "discard"}', b"\xff\xfe", b"[1]", b"null", b"[" * 5000]
    path.write_bytes(b"\n".join(lines) + b"\n" + b'{"action": "cut in tw')
    assert AuditLog(path).tail() == [{"action": "discard"}]


def test_a_tail_that_cannot_be_read_is_our_fault_and_told(tmp_path: Path) -> None:
    with pytest.raises(AuditLogError, match="cannot read"):
        AuditLog(tmp_path).tail()
