"""A changed file is noticed, whatever way it is changed, once it has come to rest; and nothing else is."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio

from gateway.process import watching
from gateway.process.watching import FileWatch
from gateway.settings.files import look

QUIET_SECONDS = 0.15
NEVER = 3600.0


class Watched:
    """Files under watch, and how often they were said to have changed."""

    def __init__(self, *paths: Path, look_every_seconds: float = NEVER) -> None:
        self.seen = look(paths)
        self.told = 0
        self._again = trio.Event()
        self.watch = FileWatch(
            seen=lambda: self.seen,
            changed=self._changed,
            quiet_seconds=QUIET_SECONDS,
            look_every_seconds=look_every_seconds,
        )

    async def _changed(self) -> None:
        self.seen = look(self.seen)
        self.told += 1
        self._again.set()
        self._again = trio.Event()

    async def next(self) -> None:
        """Return when a change is told."""
        with trio.fail_after(10):
            await self._again.wait()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Watch; on the way out, end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            await trio.sleep(3 * QUIET_SECONDS)  # real directories, a real thread: there is no clock to turn
            yield
            nursery.cancel_scope.cancel()


async def test_written_in_place_renamed_over_removed_and_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    file = directory / "server.pem"
    file.write_text("one")
    watched = Watched(file)
    async with watched.running():
        file.write_text("two")
        await watched.next()
        (directory / "new").write_text("three")
        (directory / "new").rename(file)
        await watched.next()
        shutil.rmtree(directory)
        await watched.next()
        directory.mkdir()
        file.write_text("four")
        await watched.next()
        file.write_text("five")  # in a directory that is another one by now
        await watched.next()
    assert watched.told == 5


async def test_the_whole_directory_is_replaced_by_another(tmp_path: Path) -> None:
    for name in ("certs", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.pem").write_text(name)
    watched = Watched(tmp_path / "certs/server.pem")
    async with watched.running():
        (tmp_path / "certs").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "certs")
        await watched.next()
    assert watched.told == 1


async def test_a_link_on_the_way_is_turned_and_what_it_leads_to_is_watched_from_then_on(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
    (tmp_path / "data").symlink_to("one")
    watched = Watched(tmp_path / "data" / "secret")
    async with watched.running():
        (tmp_path / "tmp").symlink_to("two")
        (tmp_path / "tmp").replace(tmp_path / "data")
        await watched.next()
        (tmp_path / "two/secret").write_text("changed behind the link")
        await watched.next()


async def test_it_waits_until_all_has_come_to_rest(tmp_path: Path) -> None:
    """A certificate, its key and another file, each written a moment after the other: told once."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    watched = Watched(*paths)
    async with watched.running():
        for content in map(str, range(20)):
            before, written = watched.told, []
            for path in paths:
                path.write_text(content)
                written.append(trio.current_time())
                await trio.sleep(QUIET_SECONDS / 3)
            with trio.fail_after(10):
                while watched.seen != look(paths):  # noqa: ASYNC110 - told, with all of it
                    await trio.sleep(QUIET_SECONDS / 3)
            await trio.sleep(2 * QUIET_SECONDS)
            # A machine that keeps us waiting has let it come to rest in between: that proves nothing.
            if all(later - earlier < QUIET_SECONDS for earlier, later in pairwise(written)):
                break
        else:
            pytest.skip("this machine is too busy to write three files in a moment")
    assert watched.told - before == 1


async def test_what_else_happens_in_the_directory_and_the_same_content_are_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("same")
    watched = Watched(file)
    async with watched.running():
        for number in range(10):
            (tmp_path / "other.log").write_text(str(number))
            file.write_text("same")
            await trio.sleep(QUIET_SECONDS / 2)
    assert watched.told == 0


async def test_other_files_may_be_named_later(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    watched = Watched(tmp_path / "a/file")
    async with watched.running():
        watched.seen = look([tmp_path / "b/file"])
        watched.watch.poke()
        await trio.sleep(3 * QUIET_SECONDS)
        (tmp_path / "b/file").write_text("new")
        await watched.next()


async def test_without_word_from_the_system_it_looks_now_and_again_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on inotify instances is the whole machine's, so it cannot be reached here for real."""

    def out_of_instances(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watching, "awatch", out_of_instances)
    watched = Watched(tmp_path / "file", look_every_seconds=0.05)
    with structlog.testing.capture_logs() as logs:
        async with watched.running():
            (tmp_path / "file").write_text("new")
            await watched.next()
    (event,) = [entry for entry in logs if entry["event"] == "watch_unavailable"]
    assert "Too many open files" in event["error"]


async def test_it_ends_within_moments(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "file")
    async with watched.running():
        started = trio.current_time()
    assert trio.current_time() - started < 2
