"""Dead letters as files: `DIRECTORY/TARGET/YYYY-MM-DD/HH/ID.json` (contract, section 5).

Laws
 1. `write` returns only when the file and every directory entry on the way to it are on disk.
 2. A name that ends in `.json` is a whole file, at every moment: content is written and fsynced under a
    temporary name, and only then renamed. So every prefix of `write`'s system calls leaves either nothing,
    a leftover `*.tmp` (swept after an hour), or the whole letter; and the delivery is still in the spool
    until `write` has returned.
 3. What is removed is what was read. A replayed delivery may die again at once and be written under the
    same name: `remove` compares the file's identity under the lock that `write`'s rename takes, so a new
    letter is never lost.
 4. No symbolic link below the directory is followed, and no id or target can name a place outside it.

The lock is `flock` on the directory: it holds among threads and among processes, and ends with its holder.
All methods block; the gateway calls them in threads.
"""

import errno
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.delivery.dead_letter_place import SUFFIX, Found, files_back, files_of, likely, look, names_of
from gateway.delivery.dead_letter_record import DELIVERY_ID, TARGET_NAME, DeadLetter, decode, encode
from gateway.delivery.descriptors import (
    DIRECTORY_FLAGS,
    identity,
    locked,
    make_directory,
    make_parents,
    opened,
    read_file,
    subdirectories,
    write_file,
)
from gateway.delivery.message import rfc3339
from gateway.errors import DeadLetterError
from gateway.telemetry.log import get_logger

MAX_FILE_BYTES: Final = 64 * 1024**2
"""A 3 MiB body of control characters is 18 MiB in JSON, and attempts add to it; what is larger is none
of ours.
"""
LEFTOVER_SECONDS: Final = 3600
"""A temporary file that old belongs to no write under way: a crash left it."""

_MAKE_TRIES: Final = 5
"""A directory just made may be pruned, being empty, before its first file; a few turns always win that
race.
"""

_log = get_logger("dead_letter")


def is_same_letter(one: str, there: int, other: str, here: int) -> bool:
    """Whether two files hold the same bytes of the same delivery, whatever else they tell."""
    contents = [
        read_file(one, there, max_bytes=MAX_FILE_BYTES),
        read_file(other, here, max_bytes=MAX_FILE_BYTES),
    ]
    try:
        first, second = (decode(content or b"", name="") for content in contents)
    except DeadLetterError:
        return contents[0] == contents[1]
    return (first.id, first.app, first.body) == (second.id, second.app, second.body)


def _any_hour(_day: str, _hour: str) -> bool:
    return True


class DeadLetterStore:
    """The directory of dead letters."""

    def __init__(self, directory: Path, seal_key: bytes) -> None:
        self.directory = directory
        self.seal_key = seal_key
        self.keys: tuple[bytes, ...] = (seal_key,)
        """Of seals that hold, the one that seals first."""
        self._counts: Counter[str] = Counter()
        self._counts_lock = threading.Lock()
        self._uncounted: set[tuple[str, str, str]] | None = None
        """While `count` runs: directories that it has still to look at."""
        self._durable: set[tuple[str, ...]] = set()
        """Directories whose entries in their parents are known to be on disk."""

    # -- writing

    def prepare(self) -> None:
        """Make the directory: one that cannot be made is told at start, and an empty one can be listed.

        Raises:
            DeadLetterError: it cannot be made.
        """
        try:
            make_parents(self.directory)
        except OSError as error:
            raise DeadLetterError(
                f"{self.directory} cannot be made: {os.strerror(error.errno or 0).lower()}",
                remedy="make its parent writable for the gateway, or correct dead_letter.directory",
            ) from error

    def take_key(self, key: bytes) -> None:
        """Seal with another key from now on; what the former one has sealed holds."""
        self.keys = tuple(dict.fromkeys((key, *self.keys)))
        self.seal_key = key

    def move(self, directory: Path) -> None:
        """Write, find and remove in another directory from now on, which `prepare` has made; what lies in the
        former one stays there. `count` is due."""
        self.directory = directory
        self._durable = set()

    def write(self, letter: DeadLetter) -> None:
        """Write one dead letter, durable on return; writing it again replaces it.

        Raises:
            DeadLetterError: it could not be written; nothing, or a whole file, stands under its name.
        """
        if not DELIVERY_ID.fullmatch(letter.id) or not TARGET_NAME.fullmatch(letter.target):
            raise DeadLetterError("a dead letter's id or target is not fit for a file name")
        content = encode(letter, seal_key=self.seal_key)
        try:
            self._store(letter.directory, letter.id, content)
        except OSError as error:
            raise DeadLetterError(
                f"dead letter {letter.id} cannot be written: {os.strerror(error.errno or 0).lower()}",
                remedy=f"make room in, or give the gateway write access to, {self.directory}",
            ) from error

    def _store(self, parts: tuple[str, str, str], identifier: str, content: bytes) -> None:
        with self.root(self.directory, make=True) as root:
            for _ in range(_MAKE_TRIES):
                try:
                    with self._made(root, parts) as hour:
                        self._place(root, hour, parts, identifier, content)
                        return
                except FileNotFoundError:
                    self._durable.clear()
        raise FileNotFoundError(errno.ENOENT, "the directory goes away as it is made")

    def bring(
        self, root: int, parts: tuple[str, str, str], name: str, *, source: int, old: str, replace: bool
    ) -> bool:
        """Move a whole file from an opened directory (`undecided`) to its place; without `replace`, only
        where nothing is there, or the same body: then it goes. False where it is gone before, or stays.

        Raises:
            OSError: it could not be moved.
        """
        for _ in range(_MAKE_TRIES):
            try:
                with self._made(root, parts) as hour, locked(root):
                    new = identity(name, hour) is None
                    if not replace and not new:
                        if not is_same_letter(old, source, name, hour):
                            return False
                        os.unlink(old, dir_fd=source)
                        return True
                    os.rename(old, name, src_dir_fd=source, dst_dir_fd=hour)
                    if new:
                        self.note(parts, +1)
                    return True
            except FileNotFoundError:
                if identity(old, source) is None:
                    return False
                self._durable.clear()
        raise FileNotFoundError(errno.ENOENT, "the directory goes away as it is made")

    def _place(
        self, root: int, hour: int, parts: tuple[str, str, str], identifier: str, content: bytes
    ) -> None:
        """Write, fsync, rename, fsync (law 2)."""
        name, temporary = identifier + SUFFIX, f".{identifier}.{secrets.token_hex(8)}.tmp"
        try:
            write_file(temporary, content, hour)
            with locked(root):
                new = identity(name, hour) is None
                os.rename(temporary, name, src_dir_fd=hour, dst_dir_fd=hour)
                if new:
                    self.note(parts, +1)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=hour)
            raise
        os.fsync(hour)

    @contextmanager
    def _made(self, root: int, parts: tuple[str, str, str]) -> Iterator[int]:
        """Open the directory of an hour, making and fsyncing what is missing on the way."""
        current = os.dup(root)
        try:
            for depth, part in enumerate(parts, start=1):
                made = make_directory(part, current)
                if made or parts[:depth] not in self._durable:
                    # Where it was there already, another writer may have made it and not yet come to its
                    # fsync.
                    os.fsync(current)
                    self._durable.add(parts[:depth])
                child = os.open(part, DIRECTORY_FLAGS, dir_fd=current)
                os.close(current)
                current = child
            yield current
        finally:
            os.close(current)

    # -- reading

    def find(self, identifier: str, *, thorough: bool = True) -> Found | None:
        """Find a dead letter by its id; None where there is none. Not `thorough`: only where its id says that
        it lies, at the cost of a few looks.

        Raises:
            DeadLetterError: the id is not one, or the directory cannot be read.
        """
        if not DELIVERY_ID.fullmatch(identifier):
            raise DeadLetterError(f"{identifier!r:.80} is not the id of a dead letter")
        with self._reading(), self.root(self.directory) as root:
            for parts in likely(identifier):
                if found := look(root, parts, identifier):
                    return found
            for parts in self._hours(root) if thorough else ():
                if found := look(root, parts, identifier):
                    return found
        return None

    def read(self, found: Found) -> DeadLetter:
        """Read a dead letter; its seal is judged by whoever replays it.

        Raises:
            DeadLetterError: it is gone, or damaged; names the file and says what is wrong.
        """
        name = str(self.directory / found.name)
        try:
            with self.root(self.directory) as root, opened(root, found.parts) as hour:
                content = read_file(found.id + SUFFIX, hour, max_bytes=MAX_FILE_BYTES)
        except OSError as error:
            raise DeadLetterError(f"{name}: {os.strerror(error.errno or 0).lower()}") from error
        if content is None:
            raise DeadLetterError(f"{name}: not a plain file, or larger than {MAX_FILE_BYTES} bytes")
        letter = decode(content, name=name)
        if (letter.target, letter.id) != (found.target, found.id):
            raise DeadLetterError(
                f"{name}: id and target do not fit the file's place", remedy="move it back, or discard it"
            )
        return letter

    def look_at(self, parts: tuple[str, str, str], identifier: str) -> Found | None:
        """See whether a letter is in a place. Raises DeadLetterError: the directory cannot be read."""
        found: list[Found | None] = []
        with self._reading(), self.root(self.directory) as root:
            found.append(look(root, parts, identifier))
        return found[0] if found else None

    def is_there(self, found: Found) -> bool:
        """Whether a file is still in its place, or another in its stead. Raises as `look_at`."""
        return self.look_at(found.parts, found.id) is not None

    def iterate(
        self, *, target: str | None = None, may_hold: Callable[[str, str], bool] = _any_hour
    ) -> Iterator[Found]:
        """Go through the files, oldest hour first; holds one hour's names in memory at a time.

        What `may_hold` says no to (day, hour) is not looked into.

        Raises:
            DeadLetterError: the directory cannot be read.
        """
        with self._reading(), self.root(self.directory) as root:
            for parts in self._hours(root, target=target):
                if may_hold(*parts[1:]):
                    yield from files_of(root, parts)

    def iterate_back(
        self,
        *,
        target: str | None = None,
        before: tuple[str, ...] = (),
        may_hold: Callable[[str, str], bool] = _any_hour,
    ) -> Iterator[Found]:
        """Go through the files, newest hour first, from before a place (`Found.place`) on; as `iterate`.

        Raises:
            DeadLetterError: the directory cannot be read.
        """
        with self._reading(), self.root(self.directory) as root:
            for parts in reversed(self._hours(root, target=target)):
                if may_hold(*parts[1:]):
                    yield from files_back(root, parts, before)

    def _hours(self, root: int, *, target: str | None = None) -> list[tuple[str, str, str]]:
        hours = [
            (name, day, hour)
            for name in subdirectories(root, ())
            if TARGET_NAME.fullmatch(name) and target in (None, name)
            for day in subdirectories(root, (name,))
            for hour in subdirectories(root, (name, day))
        ]
        return sorted(hours, key=lambda parts: (parts[1], parts[2], parts[0]))

    # -- removing

    def remove(self, found: Found) -> bool:
        """Remove this very file, durable on return; False where it is gone, or another took its place.

        Raises:
            DeadLetterError: it cannot be removed.
        """
        try:
            with self.root(self.directory) as root:
                return self._remove(root, found)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DeadLetterError(
                f"{self.directory / found.name} cannot be removed: {os.strerror(error.errno or 0).lower()}"
            ) from error

    def _remove(self, root: int, found: Found) -> bool:
        with opened(root, found.parts) as hour:
            with locked(root):
                if identity(found.id + SUFFIX, hour) != found.identity:
                    return False
                os.unlink(found.id + SUFFIX, dir_fd=hour)
                self.note(found.parts, -1)
            os.fsync(hour)
        self.tidy(root, found.parts)
        return True

    def remove_delivered(self, target: str, received_at_ms: int, identifier: str) -> bool:
        """Remove the dead letter of a delivery that was delivered after all; False where there is none.

        There is one when the process ended between the file and the spool's settlement, or between a replay's
        storing and its removing.
        """
        moment = rfc3339(received_at_ms)
        found = self.look_at((target, moment[:10], moment[11:13]), identifier)
        return found is not None and self.remove(found)

    def tidy(self, root: int, parts: tuple[str, str, str]) -> None:
        """Remove directories that have become empty."""
        for depth in (3, 2):
            try:
                with opened(root, parts[: depth - 1]) as parent:
                    os.rmdir(parts[depth - 1], dir_fd=parent)
            except OSError:
                return  # not empty, or gone already
            self._durable.discard(parts[:depth])

    def prune(self, *, keep_seconds: float, max_size_bytes: int, now_ms: int) -> list[str]:
        """Remove what is older than `keep_seconds` (since it died), then the oldest above `max_size_bytes`.

        Returns the ids of what was removed; each is logged.

        Raises:
            DeadLetterError: the directory cannot be read, or a file not be removed.
        """
        total, removed = 0, list[str]()
        for found in self.iterate():
            if found.written_ms < now_ms - keep_seconds * 1000:
                removed += self._prune(found, "age")
            else:
                total += found.size_bytes
        if total > max_size_bytes:
            for found in self.iterate():
                if total <= max_size_bytes:
                    break
                total -= found.size_bytes
                removed += self._prune(found, "size")
        self._sweep(now_ms)
        return removed

    def _prune(self, found: Found, why: str) -> list[str]:
        gone = self.remove(found)
        if gone:
            _log.warning("dead_letter_pruned", target=found.target, delivery=found.id, reason=why)
        return [found.id] if gone else []

    def _sweep(self, now_ms: int) -> None:
        """Remove temporary files that a crash left."""
        with self._reading(), self.root(self.directory) as root:
            for parts in self._hours(root):
                with suppress(OSError), opened(root, parts) as hour, os.scandir(hour) as entries:
                    for entry in entries:
                        age_seconds = now_ms / 1000 - entry.stat(follow_symlinks=False).st_mtime
                        if entry.name.endswith(".tmp") and age_seconds > LEFTOVER_SECONDS:
                            os.unlink(entry.name, dir_fd=hour)

    # -- counting

    def counts(self) -> Mapping[str, int]:
        """Files per target, as far as counted; costs nothing."""
        return dict(self._counts)

    def count(self) -> None:
        """Count what is there, once, at start; writing and removing may go on meanwhile.

        Raises:
            DeadLetterError: the directory cannot be read.
        """
        with self._reading(), self.root(self.directory) as root:
            with self._counts_lock:
                # A directory that is made from here on is counted as its files come.
                waiting = self._hours(root)
                self._uncounted = set(waiting)
                self._counts.clear()
            for parts in waiting:
                with locked(root):
                    number = sum(1 for _ in names_of(root, parts))
                    with self._counts_lock:
                        self._uncounted.discard(parts)
                        self._counts[parts[0]] += number
            self._uncounted = None

    def note(self, parts: tuple[str, str, str], change: int) -> None:
        """Keep the count; called under the directory's lock, so that `count` sees a file or its change,
        never both.
        """
        with self._counts_lock:
            if self._uncounted is None or parts not in self._uncounted:
                self._counts[parts[0]] += change

    # -- the directory itself

    @contextmanager
    def root(self, directory: Path, *, make: bool = False) -> Iterator[int]:
        """Open the store's directory (which the operator may have made a link), made if need be."""
        if make and not directory.is_dir():
            make_parents(directory)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            return  # no directory yet: no dead letter yet
        except OSError as error:
            raise DeadLetterError(
                f"{self.directory} cannot be read: {os.strerror(error.errno or 0).lower()}"
            ) from error
