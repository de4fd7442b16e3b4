"""The key of the dead letters' seals: 32 random bytes in a file that only its owner may read.

It stands in the parent directory of the spool's, made at the first start. Losing it loses no dead letter:
all of them then count as edited.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from gateway.errors import DeadLetterError
from gateway.private_file import LooseFileError, make_private_file, read_private_file

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
            make_private_file(path, secrets.token_bytes(KEY_BYTES))
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
        key = read_private_file(path, max_bytes=KEY_BYTES + 1)
    except OSError as error:
        raise DeadLetterError(
            f"{path} cannot be read: {error.strerror}",
            remedy="it is made by gateway run; call the command as the gateway's user",
        ) from error
    except LooseFileError as error:
        raise DeadLetterError(
            f"{path} {error.message}", remedy="chmod 600, if you know who could read it"
        ) from error
    if len(key) != KEY_BYTES:
        raise DeadLetterError(
            f"{path} is not a key of {KEY_BYTES} bytes",
            remedy="restore it; or remove it, and replay what it sealed with --accept-edited",
        )
    return key
