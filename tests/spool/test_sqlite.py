"""What is SQLite's own: group commit, the bounds of the queue, full and failing disks, many deliveries."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from gateway.errors import SpoolBrokenError, SpoolUnavailableError
from gateway.spool import engine, room, writer
from gateway.spool.contract import Appended, Done, Lease, Spool
from gateway.spool.database import FILE_NAME, wal_of
from gateway.spool.requests import NextDue
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.writer import Writer
from gateway.telemetry.metrics import Metrics
from tests.spool.rig import NOW_MS, Disk, disk, in_an_hour, note, opened


@pytest.fixture
def faulty() -> Iterator[Disk]:
    with disk() as made:
        yield made


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the writer thread from doing anything unasked, so that a test may use its connection."""
    monkeypatch.setattr(writer, "IDLE_SECONDS", writer.SLEEP_SECONDS)
    monkeypatch.setattr(writer, "CHECKPOINT_EVERY", 1 << 30)


def connection_of(spool: SqliteSpool) -> apsw.Connection:
    """Return the writer's connection; with `still`, and while nothing is queued."""
    return spool._engine._file.connection


async def take(spool: Spool, *, limit: int = 100, now_ms: int = NOW_MS) -> tuple[Lease, ...]:
    return await spool.lease("support", now_ms=now_ms, limit=limit, next_due_ms=in_an_hour)


async def append_many(spool: SqliteSpool, number: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(spool.append, note())


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the writer thread does of its own accord, of which nobody is told."""
    while not true():  # noqa: ASYNC110 - there is no event for it
        await trio.sleep(0.05)


def commits(metrics: Metrics) -> float:
    count = metrics.registry.get_sample_value("meta_gateway_spool_commit_seconds_count")
    assert count is not None
    return count


# -- group commit


async def test_what_waits_together_is_committed_together(tmp_path: Path, faulty: Disk) -> None:
    metrics = Metrics()
    async with opened(tmp_path, vfs=faulty.name, metrics=metrics) as spool:
        await spool.append(note())
        faulty.calls.clear()
        before = commits(metrics)
        await append_many(spool, 500)
        assert faulty.calls.count("sync") <= 20
        assert commits(metrics) - before <= 20


async def test_only_what_met_the_disk_counts_as_a_commit(tmp_path: Path) -> None:
    metrics = Metrics()
    async with opened(tmp_path, metrics=metrics) as spool:
        await spool.append(note(b"same"))
        assert commits(metrics) == 1
        await spool.append(note(b"same"))
        await spool.next_due_ms("support")
        await spool.lease("nobody", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
        assert commits(metrics) == 1
        await take(spool)
        assert commits(metrics) == 2


async def test_nobody_hears_before_the_disk_has_synced(tmp_path: Path, faulty: Disk) -> None:
    """Promises 1 and 3: while the fsync runs, neither an append returns nor a duplicate of what it writes."""
    async with opened(tmp_path, vfs=faulty.name) as spool:
        await spool.append(note())
        syncing, go_on = threading.Event(), threading.Event()

        def pause() -> None:
            syncing.set()
            assert go_on.wait(10)

        faulty.while_syncing = pause
        answers: list[Appended] = []

        async def append() -> None:
            answers.append(await spool.append(note(b"same")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append)
            await trio.to_thread.run_sync(syncing.wait)
            nursery.start_soon(append)
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            assert answers == []
            assert spool.pending() == {"support": 1}
            go_on.set()
        assert set(answers) == {Appended.STORED, Appended.DUPLICATE}


async def test_a_full_queue_refuses_at_once(tmp_path: Path, faulty: Disk) -> None:
    async with opened(tmp_path, vfs=faulty.name, max_queued_requests=3, max_queued_bytes=5000) as spool:
        with pytest.raises(SpoolUnavailableError, match="too many"):
            await spool.append(note(b"x" * 5001))
        syncing, go_on = threading.Event(), threading.Event()

        def pause() -> None:
            syncing.set()
            assert go_on.wait(10)

        faulty.while_syncing = pause
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.append, note())
            await trio.to_thread.run_sync(syncing.wait)
            for _ in range(2):
                nursery.start_soon(spool.append, note())
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(SpoolUnavailableError, match="too many"):
                await spool.append(note())
            go_on.set()
        assert spool.pending() == {"support": 3}
        assert await spool.append(note(b"x" * 5000)) is Appended.STORED


async def test_a_callback_that_raises_harms_nobody(tmp_path: Path) -> None:
    def raises(_: frozenset[str]) -> None:
        raise ValueError("no")

    told: list[frozenset[str]] = []
    async with opened(tmp_path) as spool:
        spool.on_ready(raises)
        spool.on_ready(told.append)
        assert await spool.append(note()) is Appended.STORED
        assert told == [frozenset({"support"})]


def test_a_run_that_crashes_leaves_no_thread_and_no_lock(tmp_path: Path) -> None:
    async def crash() -> None:
        manager = opened(tmp_path)
        spool = await manager.__aenter__()
        await spool.append(note(b"kept"))
        kept.append(manager)  # never left
        # what the thread answers to when the run is over: as after an internal error of Trio
        orphans.append(spool._writer)

    kept: list[object] = []
    orphans: list[Writer] = []
    trio.run(crash)
    [orphan] = orphans
    orphan._queue.put([NextDue(target="support")])
    deadline = time.monotonic() + 10
    while any(thread.name == "spool-writer" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


# -- a full disk


@pytest.mark.usefixtures("still")
async def test_without_a_page_left_nothing_is_stored_and_deliveries_still_leave(tmp_path: Path) -> None:
    """Promise 15 with SQLite's own limit of pages, which gives SQLITE_FULL where a full disk would."""
    async with opened(tmp_path) as spool:
        for _ in range(20):
            await spool.append(note(os.urandom(3000)))
        connection = connection_of(spool)
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
        with pytest.raises(SpoolUnavailableError, match="the disk is full"):
            await spool.append(note(b"x" * 4096 * 40))
        assert spool.pending() == {"support": 20}
        for lease in await take(spool):
            assert await spool.settle(lease, Done())
        assert spool.pending() == {}
        # what they left makes room
        assert await spool.append(note(b"y" * 4096)) is Appended.STORED
        connection.pragma("max_page_count", 1 << 30)
        assert await spool.append(note(b"x" * 4096 * 40)) is Appended.STORED


@pytest.mark.usefixtures("still")
async def test_in_one_batch_only_what_stores_is_refused(tmp_path: Path, faulty: Disk) -> None:
    async with opened(tmp_path, vfs=faulty.name) as spool:
        await append_many(spool, 5)
        leases = await take(spool)
        connection_of(spool).pragma("max_page_count", connection_of(spool).pragma("page_count"))
        syncing, go_on = threading.Event(), threading.Event()

        def pause() -> None:
            syncing.set()
            assert go_on.wait(10)

        faulty.while_syncing = pause
        refused = 0

        async def append() -> None:
            nonlocal refused
            with pytest.raises(SpoolUnavailableError):
                await spool.append(note(b"x" * 4096 * 50))
            refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.settle, leases[0], Done())
            await trio.to_thread.run_sync(syncing.wait)
            # all of these pile up during that fsync, and so are one batch
            for lease in leases[1:]:
                nursery.start_soon(append)
                nursery.start_soon(spool.settle, lease, Done())
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
        assert refused == 4
        assert spool.pending() == {}


def test_a_file_system_without_space(tmp_path: Path) -> None:
    """Promise 15 on a real file system, in a mount namespace of its own: it goes with the process."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*unshare, *mount], check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    script = (
        'directory="$1"; shift; "$@" "$directory" && exec "$PYTHON" -m tests.spool.full_disk "$directory"'
    )
    ran = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", str(tmp_path), *mount[:-1]],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("ok\n")


# -- a failing disk


@pytest.mark.parametrize("what", ["write", "sync"])
async def test_after_eio_not_one_more_byte_is_written(tmp_path: Path, faulty: Disk, what: str) -> None:
    async with opened(tmp_path, vfs=faulty.name) as spool:
        await spool.append(note(b"before"))
        faulty.error = {"write": apsw.SQLITE_IOERR_WRITE, "sync": apsw.SQLITE_IOERR_FSYNC}[what]
        faulty.failing = frozenset({what})
        with pytest.raises(SpoolBrokenError, match="the disk failed"):
            await spool.append(note(b"lost"))
        await spool.wait_broken()
        faulty.failing = frozenset()
        faulty.calls.clear()
        for _ in range(3):
            with pytest.raises(SpoolBrokenError):
                await spool.append(note())
    assert faulty.calls == []  # closing included
    async with opened(tmp_path) as spool:
        assert b"before" in {lease.raw for lease in await take(spool)}


async def test_eio_in_the_checkpoint_ends_it_as_well(
    tmp_path: Path, faulty: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 1)
    async with opened(tmp_path, vfs=faulty.name) as spool:
        faulty.fail_file = FILE_NAME
        faulty.failing = frozenset({"sync"})
        # this one is durable in the log; only then the checkpoint fails
        assert await spool.append(note(b"kept")) is Appended.STORED
        with trio.fail_after(5):
            await spool.wait_broken()
        with pytest.raises(SpoolBrokenError):
            await spool.append(note())
    async with opened(tmp_path) as spool:
        assert [lease.raw for lease in await take(spool)] == [b"kept"]


@pytest.mark.usefixtures("still")
async def test_a_delivery_without_its_notification_ends_it(tmp_path: Path) -> None:
    """Promise 16: not a matter of one notification's bytes; who knows what else is gone."""
    async with opened(tmp_path) as spool:
        await spool.append(note())
        connection_of(spool).execute("DELETE FROM body")
        with pytest.raises(SpoolBrokenError, match="has lost its notification or its bytes"):
            await take(spool)
        await spool.wait_broken()


@pytest.mark.parametrize("name", [FILE_NAME, wal_of(Path(FILE_NAME)).name])
@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_without_its_name_takes_no_more_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, replaced: bool
) -> None:
    """What was answered 200 would be gone with the process."""
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    directory = tmp_path / "0"
    async with opened(tmp_path) as spool:
        await spool.append(note(b"before"))
        assert spool.room().writable
        (directory / name).rename(tmp_path / "moved")
        if replaced:
            (directory / name).write_bytes(b"another")
        found = {file.name: file.read_bytes() for file in directory.iterdir()}
        assert not spool.room().writable
        with trio.fail_after(5):
            await spool.wait_broken()
        for _ in range(2):
            with pytest.raises(SpoolBrokenError, match="is gone, or another"):
                await spool.append(note(b"lost"))
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == found  # closing included
    (tmp_path / "moved").rename(directory / name)
    async with opened(tmp_path) as spool:
        assert [lease.raw for lease in await take(spool)] == [b"before"]


@pytest.mark.usefixtures("still")
async def test_a_delivery_without_its_body_ends_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.append(note())
        connection_of(spool).execute("DELETE FROM body")
        with pytest.raises(SpoolBrokenError, match="has lost its notification or its bytes"):
            await take(spool)


# -- upkeep


async def test_the_log_is_moved_when_it_is_quiet(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await append_many(spool, 300)
        with trio.fail_after(10):
            await until(lambda: (tmp_path / "0" / FILE_NAME).stat().st_size > 4096 * 20)


async def test_under_load_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 100)
    async with opened(tmp_path) as spool:
        for _ in range(40):
            await append_many(spool, 50)
        assert wal_of(tmp_path / "0" / FILE_NAME).stat().st_size < 4096 * 1500


async def test_room_that_deliveries_left_goes_back_to_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SPARE_PAGES", 64)
    async with opened(tmp_path) as spool:
        for _ in range(12):
            await spool.append(note(os.urandom(256 * 1024)))
        full_bytes = spool.size_bytes()
        for _ in range(12):
            for lease in await take(spool, limit=1):
                await spool.settle(lease, Done())
        with trio.fail_after(20):
            await until(lambda: (tmp_path / "0" / FILE_NAME).stat().st_size < 1024**2)
        assert full_bytes > 3 * 1024**2


# -- cost


@pytest.mark.usefixtures("still")
async def test_14_many_deliveries_cost_as_few(tmp_path: Path) -> None:
    """Counts, leases and questions do not walk the pending deliveries: measured in steps of SQLite."""

    async def steps(spool: SqliteSpool, ask: Callable[[], object]) -> int:
        seen = 0

        def step() -> bool:
            nonlocal seen
            seen += 1
            return False

        connection_of(spool).set_progress_handler(step, 1)
        await ask()  # type: ignore[misc]  # whatever it returns is awaited
        connection_of(spool).set_progress_handler(None)
        return seen

    async def costs(spool: SqliteSpool) -> list[int]:
        async def lease_and_settle() -> None:
            for lease in await take(spool, limit=10):
                await spool.settle(lease, Done())

        return [
            await steps(spool, lambda: spool.append(note())),
            await steps(spool, lease_and_settle),
            await steps(spool, lambda: spool.next_due_ms("support")),
            await steps(spool, spool.oldest_received_ms),
            await steps(spool, lambda: spool.hasten("support", now_ms=NOW_MS, limit=10)),
            await steps(spool, lambda: spool.restore(note(), clock_started_ms=NOW_MS)),
        ]

    # So large a window that none of its buckets is full: to make a filter takes steps in every batch.
    async with opened(tmp_path, duplicates_max=1_000_000) as spool:
        await append_many(spool, 30)
        few = await costs(spool)
        await append_many(spool, 5000)
        many = await costs(spool)
        started = time.perf_counter()
        for _ in range(1000):
            assert spool.pending()["support"] > 5000
        assert time.perf_counter() - started < 0.5
    for before, after in zip(few, many, strict=True):
        assert after < before * 1.5 + 20, (few, many)


@pytest.mark.usefixtures("still")
async def test_no_statement_is_planned_twice(tmp_path: Path) -> None:
    """Whatever is bound to it: SQLite would else compile anew what a limit or a time is bound to."""
    planned_anew: list[str] = []

    def look(profile: dict[str, Any]) -> None:
        if profile["stmt_status"]["SQLITE_STMTSTATUS_REPREPARE"]:
            planned_anew.append(profile["sql"])

    async with opened(tmp_path) as spool:
        connection_of(spool).trace_v2(apsw.SQLITE_TRACE_PROFILE, look)
        for round_ in range(1, 4):
            await append_many(spool, 20 * round_)
            for lease in await take(spool, limit=10 * round_, now_ms=NOW_MS + round_):
                await spool.settle(lease, Done())
            await spool.hasten("support", now_ms=NOW_MS, limit=round_)
        connection_of(spool).trace_v2(0)
    assert planned_anew == []
