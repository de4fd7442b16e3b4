"""A file system of a few MiB, in a mount namespace that goes with the test, whatever becomes of it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


def _can_mount() -> bool:
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    mount = ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    tried = ["unshare", "--mount", "--propagation", "private", *mount]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(not _can_mount(), reason="no file system can be mounted for a test here")

_HOLD = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'
"""Holds the namespace until its stdin ends, which is with the test."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs that is seen under `path` by whoever was started through `wrapper`."""

    path: Path
    holder: int

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What a command is started with to see it."""
        return ("nsenter", "--target", str(self.holder), "--mount", "--")

    @property
    def seen(self) -> Path:
        """The same directory for the test, which stands outside."""
        return Path(f"/proc/{self.holder}/root{self.path}")

    def fill(self, *, leaving: int = 0) -> None:
        """Leave so many bytes free."""
        self.free()
        with (self.seen / "ballast").open("wb", buffering=0) as ballast:
            with suppress(OSError):
                while ballast.write(bytes(4096)):
                    pass
            ballast.truncate(max(0, ballast.tell() - leaving))

    def free(self) -> None:
        """Take the ballast away."""
        (self.seen / "ballast").unlink(missing_ok=True)

    def mount(self, options: str) -> None:
        """Change how it is mounted: `ro`, `rw`."""
        remount = ["mount", "-o", f"remount,bind,{options}", str(self.path)]
        subprocess.run([*self.wrapper, *remount], check=True)


@contextmanager
def small_disk(path: Path, *, size: str) -> Iterator[SmallDisk]:
    """Mount one, for tests that are marked `needs_mount`."""
    path.mkdir()
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _HOLD, "sh", size, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline()
            yield SmallDisk(path, holder.pid)
        finally:
            holder.stdin.close()
