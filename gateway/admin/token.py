"""The admin token: 32 random bytes in a file that only its owner may read, made where none is configured.

The commands find it at the same place: `admin.token` in the parent directory of the spool's.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, Problem
from gateway.private_file import LooseFileError, make_private_file, read_private_file

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
            make_private_file(path, secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
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
        content = read_private_file(path, max_bytes=_MAX_FILE_BYTES)
    except OSError as error:
        remedy = "it is made by gateway run; call the command as the gateway's user, or set admin.token"
        raise _refused(path, f"cannot be read: {error.strerror}", remedy) from error
    except LooseFileError as error:
        raise _refused(path, error.message, "remove it; a new one is made at start") from error
    token = content.removesuffix(b"\n")
    if not _TOKEN.fullmatch(token):
        raise _refused(path, "holds no token", "remove it; a new one is made at start")
    return token


def _refused(path: Path, message: str, remedy: str) -> ConfigurationError:
    problem = Problem(file=path, line=0, column=0, key_path="", message=message, remedy=remedy)
    return ConfigurationError((problem,))
