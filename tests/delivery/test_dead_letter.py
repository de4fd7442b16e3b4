"""Dead letters as files: durable before `write` returns, whole at every moment, never out of place."""

import errno
import fcntl
import json
import os
import stat
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter
from gateway.errors import DeadLetterError
from tests.delivery.rig import EPOCH_MS, a_letter

KEY = b"k" * 32
HOUR_MS = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    return DeadLetterStore(tmp_path / "var" / "dead-letter", KEY)


def found(store: DeadLetterStore, identifier: str) -> Found:
    result = store.find(identifier)
    assert result is not None
    return result


def test_the_file_stands_where_the_contract_says(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    path = store.directory / "support" / "2026-02-02" / "02" / f"{letter.id}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_bytes())["id"] == letter.id
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_writing_twice_is_writing_once(store: DeadLetterStore) -> None:
    store.write(a_letter())
    store.write(a_letter(body=b"second"))
    (one,) = store.iterate()
    assert store.read(one).body == b"second"
    assert store.counts() == {"support": 1}


def test_it_is_read_back(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    again = store.read(found(store, letter.id))
    assert (again.id, again.body, again.attempts) == (letter.id, letter.body, letter.attempts)


def test_no_directory_is_no_dead_letter(store: DeadLetterStore) -> None:
    assert list(store.iterate()) == []
    assert store.find("x") is None
    assert store.remove_delivered("support", EPOCH_MS, "x") is False
    store.count()
    assert store.counts() == {}
    assert store.prune(keep_seconds=1, max_size_bytes=1, now_ms=EPOCH_MS) == []


@pytest.mark.parametrize("identifier", ["../x", "a/b", "", ".", "..", "x.json", "a\0b", "é", "x" * 201, "-x"])
def test_an_id_cannot_name_another_place(store: DeadLetterStore, identifier: str) -> None:
    with pytest.raises(DeadLetterError, match="not the id of a dead letter"):
        store.find(identifier)


def test_an_id_is_found_wherever_its_file_is(store: DeadLetterStore) -> None:
    """The path is guessed from the id's time stamp; an id that tells nothing is looked for."""
    letters = [a_letter(), a_letter(target="other", received_at_ms=EPOCH_MS + 7 * HOUR_MS)]
    for letter in letters:
        store.write(letter)
    odd = DeadLetter(**{**{name: getattr(letters[0], name) for name in DeadLetter.__slots__}, "id": "odd-id"})
    store.write(odd)
    assert [found(store, letter.id).target for letter in letters] == ["support", "other"]
    assert found(store, "odd-id").id == "odd-id"


def test_links_are_not_followed(store: DeadLetterStore, tmp_path: Path) -> None:
    letter = a_letter()
    store.write(letter)
    path = store.directory / found(store, letter.id).name
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert store.find(letter.id) is None
    assert list(store.iterate()) == []
    # a directory that is a link: nothing is read through it, nothing is written through it
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.directory / "linked").symlink_to(outside)
    with pytest.raises(DeadLetterError, match="cannot be written"):
        store.write(a_letter(target="linked"))
    assert list(outside.iterdir()) == []
    assert list(store.iterate(target="linked")) == []


def test_a_link_that_appears_between_finding_and_reading_is_not_followed(
    store: DeadLetterStore, tmp_path: Path
) -> None:
    letter = a_letter()
    store.write(letter)
    seen = found(store, letter.id)
    path = store.directory / seen.name
    path.rename(tmp_path / "x")
    path.symlink_to(tmp_path / "x")
    with pytest.raises(DeadLetterError, match=r"support/2026-02-02/02/.*\.json: "):
        store.read(seen)


def test_a_pipe_does_not_hang_the_reader(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    seen = found(store, letter.id)
    path = store.directory / seen.name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DeadLetterError, match="not a plain file"):
        store.read(seen)


def test_a_file_in_another_place_than_it_says_is_not_trusted(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    path = store.directory / found(store, letter.id).name
    path.rename(path.with_name("another.json"))
    with pytest.raises(DeadLetterError, match="do not fit the file's place"):
        store.read(found(store, "another"))


def test_a_damaged_file_is_told_and_hides_no_other(store: DeadLetterStore) -> None:
    first, second = a_letter(number=1), a_letter(number=2)
    store.write(first)
    store.write(second)
    (store.directory / found(store, first.id).name).write_bytes(b"{")
    with pytest.raises(DeadLetterError, match=f"{first.id}.json: not a dead letter"):
        store.read(found(store, first.id))
    assert [one.id for one in store.iterate()] == [first.id, second.id]
    assert store.read(found(store, second.id)).id == second.id


def test_removing_takes_the_file_and_its_empty_directories(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    seen = found(store, letter.id)
    assert store.remove(seen) is True
    assert store.remove(seen) is False
    assert store.find(letter.id) is None
    assert [entry.name for entry in store.directory.iterdir()] == ["support"]
    assert list((store.directory / "support").iterdir()) == []
    store.write(letter)
    assert store.find(letter.id) is not None


def test_a_letter_that_was_written_meanwhile_is_not_removed(store: DeadLetterStore) -> None:
    """A replayed delivery may be refused and buried again before its replay comes to removing the file."""
    store.write(a_letter())
    seen = found(store, a_letter().id)
    store.write(a_letter(body=b"died again"))
    assert store.remove(seen) is False
    assert store.read(found(store, seen.id)).body == b"died again"


def test_a_delivered_delivery_keeps_no_letter(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.write(letter)
    assert store.remove_delivered("support", EPOCH_MS, letter.id) is True
    assert store.remove_delivered("support", EPOCH_MS, letter.id) is False
    assert store.counts()["support"] == 0


def test_counting_is_right_whenever_it_is_done(store: DeadLetterStore) -> None:
    for number in range(5):
        store.write(a_letter(number=number, received_at_ms=EPOCH_MS + number * HOUR_MS))
    store.write(a_letter(target=UNROUTED))
    another = DeadLetterStore(store.directory, KEY)
    another.write(a_letter(number=9))
    another.count()
    assert another.counts() == {"support": 6, UNROUTED: 1}
    assert another.remove(found(another, a_letter(number=9).id))
    assert another.counts() == {"support": 5, UNROUTED: 1}


def test_counting_beside_writers_and_removers_is_exact(store: DeadLetterStore) -> None:
    for number in range(200):
        store.write(a_letter(number=number, received_at_ms=EPOCH_MS + number % 20 * HOUR_MS))

    def work(first: int) -> None:
        for number in range(first, first + 100):
            store.write(a_letter(number=1000 + number, received_at_ms=EPOCH_MS + number % 30 * HOUR_MS))
            letter = a_letter(number=number, received_at_ms=EPOCH_MS + number % 20 * HOUR_MS)
            if number % 2 and (seen := store.find(letter.id)):
                store.remove(seen)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    store.count()
    for thread in threads:
        thread.join()
    assert store.counts() == {"support": sum(1 for _ in store.iterate())}


def test_pruning_takes_the_old_and_then_the_oldest(
    store: DeadLetterStore, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = [a_letter(number=number, received_at_ms=EPOCH_MS + number * HOUR_MS) for number in range(6)]
    for letter in letters:
        store.write(letter)
    now_ms = time.time_ns() // 1_000_000
    old = store.directory / found(store, letters[0].id).name
    os.utime(old, (now_ms / 1000 - 100, now_ms / 1000 - 100))
    assert store.prune(keep_seconds=50, max_size_bytes=1 << 30, now_ms=now_ms) == [letters[0].id]
    assert store.find(letters[0].id) is None
    size = found(store, letters[1].id).size_bytes
    assert store.prune(keep_seconds=50, max_size_bytes=3 * size, now_ms=now_ms) == [
        letters[1].id,
        letters[2].id,
    ]
    assert [one.id for one in store.iterate()] == [letter.id for letter in letters[3:]]
    assert store.counts() == {"support": 3}
    assert "dead_letter_pruned" in "".join(capsys.readouterr())


def test_pruning_sweeps_what_a_crash_left(store: DeadLetterStore) -> None:
    store.write(a_letter())
    hour = (store.directory / found(store, a_letter().id).name).parent
    (hour / ".x.1.tmp").touch()
    os.utime(hour / ".x.1.tmp", (1, 1))
    (hour / ".y.2.tmp").touch()
    store.prune(keep_seconds=1e9, max_size_bytes=1 << 30, now_ms=time.time_ns() // 1_000_000)
    assert sorted(entry.name for entry in hour.iterdir()) == [".y.2.tmp", f"{a_letter().id}.json"]


def test_going_through_many_holds_few(store: DeadLetterStore) -> None:
    store.write(a_letter())
    path = store.directory / found(store, a_letter().id).name
    for number in range(20_000):
        os.link(path, path.with_name(f"{number}.json"))
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.iterate()) == 20_001
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * 1024**2


def test_a_directory_that_cannot_be_written_is_told(store: DeadLetterStore) -> None:
    store.directory.parent.mkdir()
    store.directory.write_text("a file")
    with pytest.raises(DeadLetterError, match="cannot be written"):
        store.write(a_letter())


class Crash(BaseException):
    """The process dies here."""


class Recorder:
    """Counts the system calls that change something, and dies or fails at one of them."""

    NAMES = ("open", "mkdir", "write", "fsync", "rename", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: int) -> None:
        self.calls: list[str] = []
        self._error = error
        self._at = at
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            # The dead make no more calls; a disk that failed once works again for the clean-up.
            if number == self._at or (number > self._at and isinstance(self._error, Crash)):
                raise self._error
            return function(*args, **kwargs)

        return call


def number_of_calls(store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with monkeypatch.context() as patch:
        recorder = Recorder(patch, Crash(), at=10**9)
        store.write(a_letter())
    return recorder.calls


def test_every_directory_on_the_way_is_fsynced_and_the_file_before_its_name(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = number_of_calls(store, monkeypatch)
    assert calls.index("write") < calls.index("rename")
    assert "fsync" in calls[calls.index("write") : calls.index("rename")]
    assert calls[-1] == "fsync"
    # the root, and target, day and hour below it: one fsync a parent
    assert calls[: calls.index("write")].count("fsync") >= 3


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_crash_at_any_call_leaves_nothing_or_a_whole_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Law 2; `again`: over a letter that stood there before, which then stays whole, old or new."""
    counted = DeadLetterStore(tmp_path / "count", KEY)
    if again:
        counted.write(a_letter())
    for at in range(1, len(number_of_calls(counted, monkeypatch)) + 1):
        store = DeadLetterStore(tmp_path / f"{again}{at}", KEY)
        if again:
            store.write(a_letter(body=b"old"))
        with monkeypatch.context() as patch:
            Recorder(patch, Crash(), at=at)
            with pytest.raises(Crash):
                store.write(a_letter(body=b"new"))
        bodies = [store.read(one).body for one in store.iterate()]
        assert bodies in ([[b"old"], [b"new"]] if again else [[], [b"new"]])
        # and the next process, which has the delivery still in its spool, buries it
        DeadLetterStore(store.directory, KEY).write(a_letter(body=b"new"))
        assert [store.read(one).body for one in store.iterate()] == [b"new"]


@pytest.mark.parametrize("number", [28, 5, 30], ids=["ENOSPC", "EIO", "EROFS"])
def test_a_failure_at_any_call_is_told_and_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    total = len(number_of_calls(DeadLetterStore(tmp_path / "count", KEY), monkeypatch))
    for at in range(1, total + 1):
        store = DeadLetterStore(tmp_path / str(at), KEY)
        with monkeypatch.context() as patch:
            Recorder(patch, OSError(number, os.strerror(number)), at=at)
            with pytest.raises(DeadLetterError, match="cannot be written"):
                store.write(a_letter())
        assert not list(store.directory.rglob("*.tmp"))
        store.write(a_letter())
        assert len(list(store.iterate())) == 1


def test_the_directory_is_made_at_start_or_the_start_says_why_not(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "a" / "b", b"k" * 32)
    store.prepare()
    store.prepare()
    assert list(store.iterate()) == []
    assert store.directory.is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeadLetterError, match="cannot be made"):
        DeadLetterStore(tmp_path / "file" / "b", b"k" * 32).prepare()


def test_in_another_directory_it_writes_finds_and_counts_what_is_there(
    store: DeadLetterStore, tmp_path: Path
) -> None:
    before, after = a_letter(), a_letter(target="audit")
    store.write(before)
    store.move(tmp_path / "elsewhere")
    store.prepare()
    store.count()
    assert store.counts() == {}
    store.write(after)
    assert [one.target for one in store.iterate()] == ["audit"]
    assert store.counts() == {"audit": 1}
    assert (tmp_path / "var" / "dead-letter" / "support").is_dir()


def test_where_a_directory_cannot_be_locked_a_file_in_it_is(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS has it: a lock is the server's, and needs a file that is open for writing."""
    locks: list[str] = []
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        locks.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    store.write(a_letter())
    assert store.remove(found(store, a_letter().id)) is True
    assert locks == [".lock", ".lock"]
    assert list(store.iterate()) == []


def test_what_else_keeps_it_from_being_locked_is_told(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(DeadLetterError, match="no locks available"):
        store.write(a_letter())
