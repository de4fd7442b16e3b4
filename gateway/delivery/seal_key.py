"""The key of the dead letters' seals: 32 random bytes in a file that only its owner may read.

It stands in the parent directory of the spool's, made at the first start. Losing it loses no dead letter:
all of them then count as edited.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from gateway.errors import DeadLetterError

FILE_NAME: Final = "seal.key"
"""In the parent directory of the spool's."""
KEY_BYTES: Final = 32
"""As long as the output of SHA-256: more adds nothing to an HMAC (RFC 2104, section 3)."""


def load_or_make_seal_key(path: Path) -> bytes:
    """Read the key, or make one, on disk when this returns. For the process that holds the spool's lock.

    Raises:
        DeadLetterError: the file cannot be trusted (`read_seal_key`), or none can be written.
    """
    try:
        if not os.path.lexists(path):
            _make(path)
    except OSError as error:
        raise DeadLetterError(
            f"{path} cannot be made: {error.strerror}", remedy="make its directory writable for the gateway"
        ) from error
    return read_seal_key(path)


def read_seal_key(path: Path) -> bytes:
    """Read the key.

    Raises:
        DeadLetterError: absent, unreadable, a link, open to others, or not 32 bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeadLetterError(
            f"{path} cannot be read: {error.strerror}",
            remedy="it is made by gateway run; call the command as the gateway's user",
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise DeadLetterError(
                f"{path} is not a plain file of its owner alone",
                remedy="chmod 600, if you know who could read it",
            )
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES:
        raise DeadLetterError(
            f"{path} is not a key of {KEY_BYTES} bytes",
            remedy="restore it; or remove it, and replay what it sealed with --accept-edited",
        )
    return key


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
