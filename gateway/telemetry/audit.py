"""The audit log: who did what to stored notifications, by hand. JSON lines, durable before the answer."""

import errno
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.private_file import sync_directory
from gateway.telemetry.redaction import redact

FILE_NAME: Final = "audit.log"
"""In the parent directory of the spool's."""
TAIL_BYTES: Final = 128 * 1024
"""What is read to tell of the last actions: a replay of ten thousand ids is one line, and may not fit."""
TAIL_LINES: Final = 200


class AuditLogError(GatewayError):
    """Ours: an action could not be put on record, so it must not be done."""


class AuditLog:
    """Appends one line an action to a file that only its owner may read. Fit for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    def record(self, action: str, **fields: object) -> None:
        """Write `{"at": ..., "action": ..., ...}`; on disk when this returns.

        It waits for the disk: from Trio, call it in a thread.

        Raises:
            AuditLogError: nothing (or not all) was written; the action must not be done.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = {key: redact(key, value) for key, value in fields.items()}
        line = json.dumps({"at": at, "action": action, **shown}).encode("ascii") + b"\n"
        try:
            with self._lock:
                self._append(line)
        except OSError as error:
            remedy = (
                "chown it and its directory to the gateway's user"
                if isinstance(error, PermissionError)
                else "make the directory writable, or free some space"
            )
            raise AuditLogError(
                f"cannot write {self._path}: {error.strerror}", remedy=f"{remedy}; nothing was done"
            ) from error

    def tail(self) -> list[Mapping[str, Any]]:
        """Read the last actions, oldest first: at most `TAIL_LINES`, out of the last `TAIL_BYTES`.

        What is no line of ours (cut in two, or written by others) is left out; without a file it is empty.

        Raises:
            AuditLogError: there is a file, and it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size - TAIL_BYTES)
                file.seek(start)
                content = file.read(TAIL_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuditLogError(f"cannot read {self._path}: {error.strerror}") from error
        whole = content.split(b"\n")[1 if start else 0 : -1]
        return [line for line in map(_read_line, whole[-TAIL_LINES:]) if line is not None]

    def _append(self, line: bytes) -> None:
        is_new = not self._path.exists()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size_before = os.fstat(descriptor).st_size
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size_before)
                raise OSError(errno.ENOSPC, "no room for the whole line")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self._path.parent)


def _read_line(content: bytes) -> Mapping[str, Any] | None:
    try:
        line = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None
