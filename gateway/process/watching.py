"""Noticing that a file of the configuration has changed. The only importer of watchfiles.

What the system tells of a directory (inotify) is a hint and no more: it says when to look. What has changed
is decided by content (`settings.files`): so a rename, a symbolic link that is turned elsewhere (Kubernetes
turns `..data`), or a write in place are all one, and a clock that was set back does not matter. What no hint
tells of (network file systems, a directory far above renamed) is seen at the next look, which comes by
itself.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import trio
from watchfiles import awatch

from gateway.settings.files import Sight, directories_of, look
from gateway.telemetry.log import get_logger

QUIET_SECONDS: Final = 1.0
"""Content must be the same for so long (contract, section 7): key and certificate arrive one by one."""
LOOK_EVERY_SECONDS: Final = 30.0
"""Without a hint: some ten small files are read, and a renewal is hours ahead of the expiry."""
PAUSE_SECONDS: Final = 0.25
"""Between two looks: a directory where something is always written costs no more than this."""
STEP_MS: Final = 100
"""The watching thread looks up so often: it notes what the kernel has told it, and whether it shall end."""
COLLECT_MS: Final = 200
"""Hints within this are one."""

log = get_logger("configuration")

_Places = frozenset[tuple[Path, int, int]]
"""Directories with device and inode: one that was removed and made anew must be watched anew."""


class FileWatch:
    """Calls `changed` whenever files have other content than `seen` says, and have come to rest."""

    def __init__(
        self,
        *,
        seen: Callable[[], Sight],
        changed: Callable[[], Awaitable[None]],
        quiet_seconds: float = QUIET_SECONDS,
        look_every_seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        """`seen` names the files, with the content that has been dealt with: after `changed`, the new one."""
        self._seen = seen
        self._changed = changed
        self._quiet_seconds = quiet_seconds
        self._look_every_seconds = look_every_seconds
        self._hint = trio.Event()
        self._watched: _Places = frozenset()
        self._watch_anew = trio.Event()

    def poke(self) -> None:
        """Look now: other files may be named."""
        self._hint.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            while True:
                with trio.move_on_after(self._look_every_seconds):
                    await self._hint.wait()
                self._hint = trio.Event()
                await self._settle()
                if await self._places() != self._watched:
                    self._watch_anew.set()
                await trio.sleep(PAUSE_SECONDS)

    async def _settle(self) -> None:
        """Where something is not as seen, wait until it changes no more; then tell."""
        sight = await self._look()
        while sight != self._seen():
            await trio.sleep(self._quiet_seconds)
            before, sight = sight, await self._look()
            if sight == before and sight != self._seen():
                await self._changed()
                sight = await self._look()

    async def _look(self) -> Sight:
        return await trio.to_thread.run_sync(look, self._seen().keys(), abandon_on_cancel=True)

    async def _places(self) -> _Places:
        return await trio.to_thread.run_sync(_places, self._seen().keys(), abandon_on_cancel=True)

    async def _listen(self) -> None:
        """Turn what the system tells into hints."""
        while True:
            self._watched = await self._places()
            self._watch_anew = stop = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, stop)
                await self._take_hints([path for path, _, _ in self._watched], stop)
                nursery.cancel_scope.cancel()

    async def _take_hints(self, directories: list[Path], stop: trio.Event) -> None:
        # What has changed before the watch is in place is seen by the look that this brings about: it comes
        # after awatch has set up its watch, which it does before its first wait.
        self._hint.set()
        try:
            async with aclosing(
                awatch(
                    *directories,
                    watch_filter=None,
                    debounce=COLLECT_MS,
                    step=STEP_MS,
                    stop_event=stop,
                    recursive=False,
                    ignore_permission_denied=True,
                )
            ) as changes:
                async for _ in changes:
                    self._hint.set()
        except* (OSError, RuntimeError) as errors:  # its own internal error is one of the latter
            reason = "; ".join(str(error) for error in errors.exceptions)
            log.warning("watch_unavailable", error=reason, look_seconds=self._look_every_seconds)
            await stop.wait()


async def _end_with(stop: trio.Event) -> None:
    """Have the watching thread end when this is cancelled: a thread cannot be."""
    try:
        await trio.sleep_forever()
    finally:
        stop.set()


def _places(files: Iterable[Path]) -> _Places:
    found = set()
    for directory in directories_of(files):
        try:
            state = directory.stat()
        except OSError:
            continue
        found.add((directory, state.st_dev, state.st_ino))
    return frozenset(found)
