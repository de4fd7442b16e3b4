"""The admin token: 32 random bytes in a file that only its owner may read, made where none is configured.

The commands find it at the same place: `admin.token` in the parent directory of the spool's.
"""

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, Problem

FILE_NAME: Final = "admin.token"

_TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{32,512}")
"""What stands in the file: ours are 43 characters (base64url of 32 bytes); shorter ones can be guessed."""
_MAX_FILE_BYTES: Final = 1024


def load_or_make_token(path: Path) -> bytes:
    """Read the token, or make one: written whole under another name, on disk, then renamed.

    For the process that holds the spool's lock: nobody else makes the file at the same time.

    Raises:
        ConfigurationError: the file cannot be trusted (`read_token`), or none can be written.
    """
    try:
        if not os.path.lexists(path):
            _make(path)
    except OSError as error:
        raise _refused(
            path, f"cannot be made: {error.strerror}", "make its directory writable for the gateway"
        ) from error
    return read_token(path)


def read_token(path: Path) -> bytes:
    """Read the token.

    Raises:
        ConfigurationError: the file is absent or unreadable, a symbolic link, not a plain file, readable for
            others than its owner, or holds no token. A link or a loose mode means that others know the
            token, or chose it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        remedy = "it is made by gateway run; call the command as the gateway's user, or set admin.token"
        raise _refused(path, f"cannot be read: {error.strerror}", remedy) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, "is not a plain file", "remove it; a new one is made at start")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise _refused(
                path,
                f"may be read or written by others ({mode:04o})",
                "remove it; a new one is made at start",
            )
        content = os.read(descriptor, _MAX_FILE_BYTES)
    finally:
        os.close(descriptor)
    token = content.removesuffix(b"\n")
    if not _TOKEN.fullmatch(token):
        raise _refused(path, "holds no token", "remove it; a new one is made at start")
    return token


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a crashed process with our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _refused(path: Path, message: str, remedy: str) -> ConfigurationError:
    problem = Problem(file=path, line=0, column=0, key_path="", message=message, remedy=remedy)
    return ConfigurationError((problem,))
