"""Dead letters that are not yet, or no more, in their place: `DIRECTORY/.undecided/ID.TOKEN`.

Where gateways share a spool, a letter is listed in the database when its delivery goes. So it is written
here first, under the number of its lease, and comes to its place when the lease has been settled; and what is
to be replayed goes out of its place to here, before its delivery is stored. Whoever finds a file here after a
crash asks the database what became of it (`shared_letters`). What has a place, `TARGET/DAY/HOUR/ID.json`, is
a dead letter, and is removed by nobody who only tidies up.

Laws
 1. `write` and `take_out` return when the file is on disk under its name here, whole.
 2. No two files have one name: a token is drawn once. So what one gateway removes is never another's.
 3. To come to its place needs no fsync: until that is on disk, the file is here, and its state is in the
    database.
"""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.delivery.dead_letter import MAX_FILE_BYTES, DeadLetterStore
from gateway.delivery.dead_letter_place import SUFFIX, Found
from gateway.delivery.dead_letter_record import DeadLetter, decode, encode
from gateway.delivery.descriptors import identity, locked, make_directory, opened, read_file, write_file
from gateway.errors import DeadLetterError

NAME: Final = ".undecided"
ID_FILE: Final = ".directory-id"
"""Tells one directory from another, whoever mounts it where."""
_FILE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,199})\.([0-9]{1,19})")
_TOKENS_END: Final = 2**63
"""Of a bigint: what is beyond it no lease has had."""
_ID: Final = re.compile(rb"([0-9a-f]{32})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """A file here."""

    directory: Path
    """Of the store when it was written: the store may move."""
    id: str
    token: int
    inode: int
    changed_ms: int
    """When it came here, by the file system's clock."""

    @property
    def name(self) -> str:
        """Below `.undecided`."""
        return f"{self.id}.{self.token}"


def identify(directory: Path) -> str:
    """Return the number that a directory bears, 32 hexadecimal digits; give it one where it has none. Blocks.

    Raises:
        DeadLetterError: it cannot be read or made, or is none.
    """
    path = directory / ID_FILE
    temporary = directory / f"{ID_FILE}.{secrets.token_hex(8)}.tmp"
    try:
        if not os.path.lexists(path):
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                write_file(temporary.name, secrets.token_hex(16).encode() + b"\n", root)
                with suppress(FileExistsError):  # another gateway was first
                    os.link(temporary, path)
                temporary.unlink()
                os.fsync(root)
            finally:
                os.close(root)
    except OSError as error:
        raise _failed(directory, error) from error
    number = number_of(directory)
    if not number:
        raise DeadLetterError(
            f"{path} holds no number of a directory", remedy="remove it; a new one is made at the next start"
        )
    return number


def number_of(directory: Path) -> str:
    """Return the number that a directory bears; empty where it bears none, or there is none. Blocks."""
    try:
        found = _ID.fullmatch((directory / ID_FILE).read_bytes())
    except OSError:
        return ""
    return found[1].decode() if found else ""


class UndecidedLetters:
    """The files there, and the way to their places and back. All methods block."""

    def __init__(self, store: DeadLetterStore) -> None:
        self._store = store
        self._durable: set[Path] = set()
        """Directories in which the entry of `.undecided` is known to be on disk."""

    def write(self, letter: DeadLetter, token: int) -> Undecided:
        """Write a letter, durable on return.

        Raises:
            DeadLetterError: it could not be written.
        """
        directory = self._store.directory
        content = encode(letter, seal_key=self._store.seal_key)
        name, temporary = f"{letter.id}.{token}", f"{letter.id}.{secrets.token_hex(8)}.tmp"
        try:
            with self._store.root(directory, make=True) as root:
                self._make(directory, root)
                with opened(root, (NAME,)) as here:
                    try:
                        write_file(temporary, content, here)
                        os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
                    except BaseException:
                        with suppress(OSError):
                            os.unlink(temporary, dir_fd=here)
                        raise
                    os.fsync(here)
                    return _state(directory, name, here)
        except OSError as error:
            raise _failed(directory, error) from error

    def _make(self, directory: Path, root: int) -> None:
        # Where it was there already, another gateway may have made it and not yet come to its fsync.
        if make_directory(NAME, root) or directory not in self._durable:
            os.fsync(root)
            self._durable.add(directory)

    def here(self, identifier: str | None = None) -> list[Undecided]:
        """Return the files here, of one letter or all. Raises DeadLetterError: they cannot be read."""
        directory = self._store.directory
        found = []
        try:
            with self._store.root(directory) as root, opened(root, (NAME,)) as here:
                for name in sorted(os.listdir(here)):  # noqa: PTH208 - of a descriptor
                    match = _FILE.fullmatch(name)
                    if match and identifier in (None, match[1]) and int(match[2]) < _TOKENS_END:
                        with suppress(FileNotFoundError):
                            found.append(_state(directory, name, here))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failed(directory, error) from error
        return found

    def read(self, one: Undecided) -> DeadLetter:
        """Read one. Raises DeadLetterError: it is gone, or damaged."""
        name = str(one.directory / NAME / one.name)
        try:
            with self._store.root(one.directory) as root, opened(root, (NAME,)) as here:
                content = read_file(one.name, here, max_bytes=MAX_FILE_BYTES)
        except OSError as error:
            raise DeadLetterError(f"{name}: {os.strerror(error.errno or 0).lower()}") from error
        if content is None:
            raise DeadLetterError(f"{name}: not a plain file, or too large")
        letter = decode(content, name=name)
        if letter.id != one.id:
            raise DeadLetterError(f"{name}: it holds the letter {letter.id}")
        return letter

    def publish(self, one: Undecided, parts: tuple[str, str, str], *, replace: bool) -> bool:
        """Bring one to its place; False where it is not here any more, or (without `replace`) where its place
        is taken: then it goes if the bytes there are the same, and stays if not.

        Raises:
            DeadLetterError: it cannot be brought there; it is here still.
        """
        try:
            with self._store.root(one.directory) as root, opened(root, (NAME,)) as here:
                return self._store.bring(
                    root, parts, one.id + SUFFIX, source=here, old=one.name, replace=replace
                )
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failed(one.directory, error) from error

    def take_out(self, found: Found, token: int) -> Undecided | None:
        """Take a letter out of its place, durable on return; None where it is gone, or another is there.

        Raises:
            DeadLetterError: it cannot be taken out.
        """
        directory, name = self._store.directory, f"{found.id}.{token}"
        try:
            with self._store.root(directory) as root:
                self._make(directory, root)
                with opened(root, (NAME,)) as here, opened(root, found.parts) as hour:
                    with locked(root):
                        if identity(found.id + SUFFIX, hour) != found.identity:
                            return None
                        os.rename(found.id + SUFFIX, name, src_dir_fd=hour, dst_dir_fd=here)
                        self._store.note(found.parts, -1)
                    os.fsync(here)
                    os.fsync(hour)
                    return _state(directory, name, here)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(directory, error) from error

    def withdraw(self, one: Undecided, parts: tuple[str, str, str] | None = None) -> bool:
        """Remove one that nobody needs; False where it is gone. With `parts`, which it was taken out of, also
        where somebody who tidied up has brought it back there meanwhile; and what is empty of them goes.

        Raises:
            DeadLetterError: it cannot be removed.
        """
        try:
            with self._store.root(one.directory) as root:
                gone = self._unlink(root, one) or (parts is not None and self._unlink_back(root, one, parts))
                if parts is not None:
                    self._store.tidy(root, parts)
                return gone
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failed(one.directory, error) from error

    def _unlink(self, root: int, one: Undecided) -> bool:
        try:
            with opened(root, (NAME,)) as here:
                os.unlink(one.name, dir_fd=here)
        except FileNotFoundError:
            return False
        return True

    def _unlink_back(self, root: int, one: Undecided, parts: tuple[str, str, str]) -> bool:
        with opened(root, parts) as hour, locked(root):
            there = identity(one.id + SUFFIX, hour)
            if there is None or there[0] != one.inode:
                return False
            os.unlink(one.id + SUFFIX, dir_fd=hour)
            self._store.note(parts, -1)
            return True

    def sweep(self, before_ms: int) -> None:
        """Remove what a crash has left half written, as far as that can be done."""
        with (
            suppress(OSError),
            self._store.root(self._store.directory) as root,
            opened(root, (NAME,)) as here,
            os.scandir(here) as entries,
        ):
            for entry in entries:
                with suppress(OSError):
                    changed_ms = entry.stat(follow_symlinks=False).st_mtime_ns // 1_000_000
                    if entry.name.endswith(".tmp") and changed_ms < before_ms:
                        os.unlink(entry.name, dir_fd=here)


def _state(directory: Path, name: str, here: int) -> Undecided:
    state = os.stat(name, dir_fd=here, follow_symlinks=False)
    identifier, _, token = name.partition(".")
    return Undecided(
        directory=directory,
        id=identifier,
        token=int(token),
        inode=state.st_ino,
        changed_ms=state.st_ctime_ns // 1_000_000,
    )


def _failed(directory: Path, error: OSError) -> DeadLetterError:
    return DeadLetterError(
        f"a dead letter cannot be kept in {directory}: {os.strerror(error.errno or 0).lower()}",
        remedy=f"make room in, or give the gateway write access to, {directory}",
    )
