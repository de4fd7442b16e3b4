"""A disk that is full, failing or read-only: what was answered 200 is still there, and arrives."""

import errno
import hashlib
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER, REFUSE
from tests.stories.accounts import CONNECTIONS, Books, messages_alone
from tests.stories.faults import Call, Faults
from tests.stories.rig import Config, Rig, open_target, until
from tests.stories.small_disk import needs_mount, small_disk


def probed(config: Config) -> None:
    """Probe often, so that a target that is well again is found out soon."""
    config["targets"]["support"]["breaker"] = {"probe_every": "200ms"}


@needs_mount
async def test_a_full_disk_under_the_spool_answers_503_and_nothing_that_was_answered_200_is_lost(
    rig: Rig,
) -> None:
    def on_small_disk(config: Config) -> None:
        probed(config)
        config["spool"] = {"directory": str(disk.path / "spool"), "min_free": "1B"}

    books = Books()
    with small_disk(rig.directory / "small", size="6m") as disk:
        rig.wrapper = disk.wrapper
        async with open_target(behaviour=FAIL_FOR_EVER) as target:
            rig.write(targets={"support": target.url}, change=on_small_disk)
            async with rig.running() as gateway:
                disk.fill(leaving=1 << 20)
                with trio.fail_after(30):
                    while not books.refused:
                        await books.post(rig, 20, padding=20_000)
                assert set(books.refused) == {503}
                assert books.acknowledged
                assert (await rig.admin_get("/readyz")).status_code == 503
                os.kill(gateway.pid, signal.SIGKILL)  # with no room to tidy up
                await gateway.wait()
            async with rig.running(ready=False) as gateway:
                disk.free()
                await gateway.wait_ready()
                before = len(books.acknowledged)
                await books.post(rig, 5)
                assert len(books.acknowledged) == before + 5
                target.behaviour = ACCEPT
                await books.balance(rig, target)
    assert rig.dead_letters == []


@needs_mount
async def test_a_full_disk_under_the_dead_letters_keeps_them_in_the_spool_until_there_is_room(
    rig: Rig, faults: Faults
) -> None:
    def on_small_disk(config: Config) -> None:
        messages_alone(config)
        config["dead_letter"] = {"directory": str(disk.path / "dead")}

    books = Books()
    with small_disk(rig.directory / "small", size="1m") as disk:
        rig.wrapper, rig.seen = disk.wrapper, disk.seen / "dead"
        async with open_target(behaviour=REFUSE) as target:
            rig.write(targets={"support": target.url}, change=on_small_disk)
            async with rig.running():
                await books.post(rig, 2)
                await books.balance(rig, target)
                assert len(books.dead) == 2
                disk.fill()
                await books.post(rig, 10)
                await books.post_unrouted(rig, 10)
                assert len(books.acknowledged) == 22
                await until(lambda: rig.log.count("dead_letter_not_written") >= 20)
                assert len(rig.dead_letters) == 2
                assert await rig.metric('meta_gateway_spool_pending{target="support"}') == 10
                assert await rig.metric('meta_gateway_spool_pending{target="_unrouted"}') == 10
                assert (await rig.admin_get("/readyz")).status_code == 200
                disk.free()
                # what has no target is tried again within seconds; the rest waits for a minute, as documented
                await until(lambda: len(rig.dead_letters) == 12)
            faults.step_clock(120)
            async with rig.running():
                await books.balance(rig, target)
    assert len(books.dead) == 22
    assert not list(disk.path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("calls", "file", "error"),
    [
        (Call.SYNC, "spool.sqlite-wal", errno.EIO),
        (Call.WRITE, "spool.sqlite-wal", errno.EIO),
        (Call.SYNC | Call.WRITE, "spool.sqlite", errno.EROFS),
    ],
    ids=["fsync", "write", "read-only of a sudden"],
)
async def test_a_disk_that_fails_under_load_ends_the_process_once_and_the_next_loses_nothing(
    rig: Rig, faults: Faults, calls: Call, file: str, error: int
) -> None:
    books = Books()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=messages_alone)
        async with rig.running() as gateway, trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(partial(books.post_until_gone, rig, one_in=4))
            await until(lambda: len(books.acknowledged) > 20)
            faults.fail(calls, file, error=error)
            with trio.fail_after(20):
                assert await gateway.wait() == 1
        assert faults.failed == 1, "after the first failure the file is not touched again"
        assert "spool_broken" in rig.log
        assert "Traceback" not in rig.log
        faults.mend()
        async with rig.running():
            await books.balance(rig, target)


async def test_a_dead_letter_directory_that_fails_keeps_deliveries_in_the_spool(
    rig: Rig, faults: Faults
) -> None:
    books = Books()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=messages_alone)
        async with rig.running():
            faults.fail(Call.SYNC, "/dead/")
            await books.post_unrouted(rig, 5)
            assert len(books.acknowledged) == 5
            await until(lambda: rig.log.count("dead_letter_not_written") >= 5)
            assert await rig.metric('meta_gateway_spool_pending{target="_unrouted"}') == 5
            faults.mend()
            await until(lambda: len(rig.dead_letters) == 5)
            await books.balance(rig, target)


@needs_mount
async def test_a_dead_letter_directory_that_becomes_read_only_keeps_deliveries_in_the_spool(rig: Rig) -> None:
    def on_small_disk(config: Config) -> None:
        messages_alone(config)
        config["dead_letter"] = {"directory": str(disk.path / "dead")}

    books = Books()
    with small_disk(rig.directory / "small", size="4m") as disk:
        rig.wrapper, rig.seen = disk.wrapper, disk.seen / "dead"
        async with open_target() as target:
            rig.write(targets={"support": target.url}, change=on_small_disk)
            async with rig.running():
                disk.mount("ro")
                await books.post_unrouted(rig, 3)
                await books.post(rig, 3)
                await until(lambda: "read-only file system" in rig.log)
                assert rig.dead_letters == []
                disk.mount("rw")
                await books.balance(rig, target)
    assert len(books.dead) == 3


@needs_mount
async def test_a_spool_on_a_read_only_file_system_is_told_at_the_start_and_left_alone(rig: Rig) -> None:
    def on_small_disk(config: Config) -> None:
        config["spool"] = {"directory": str(disk.path / "spool"), "min_free": "1B"}

    books = Books()
    with small_disk(rig.directory / "small", size="6m") as disk:
        rig.wrapper = disk.wrapper
        async with open_target(behaviour=FAIL_FOR_EVER) as target:
            rig.write(targets={"support": target.url}, change=on_small_disk)
            async with rig.running():
                await books.post(rig, 3)
            disk.mount("ro")
            before = digests(disk.seen)
            outcome = await rig.command("run", check=False)
            said = outcome.stderr.decode()
            assert outcome.returncode == 2
            assert "spool.directory" in said
            assert "cannot be written to" in said
            assert "Traceback" not in said
            assert digests(disk.seen) == before
            disk.mount("rw")
            target.behaviour = ACCEPT
            async with rig.running():
                await books.balance(rig, target)


def digests(directory: Path) -> dict[str, str]:
    """Return what stands in every file."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
