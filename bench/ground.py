"""What all contenders share: certificates, secret, message, a directory on the disk that is measured."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.signature import sign
from gateway.simulator.pki import PkiFiles, make_pki

BENCH: Final = Path(__file__).resolve().parent
REPOSITORY: Final = BENCH.parent
CALLBACK_PATH: Final = "/webhooks/main"
MARKER: Final = b"@@@@@@@@@@@@"
"""Where the load client puts each request's own twelve digits."""
ID_PREFIX: Final = b"wamid.HBgN"
"""What stands before those digits, in the message as in what a target receives."""
RUN: Final = BENCH / ".run"
"""On the disk of this repository: /tmp may be memory, where an fsync costs nothing."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (tempfile makes a directory of our own in it)
"""Where targets log, if it is there: their writing is not to share the disk with the spool's fsync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Everything that is the same for all."""

    directory: Path
    """On the disk; removed at the end."""
    memory: Path
    """In memory, where there is such a file system."""
    pki: PkiFiles
    secret: str
    body: Path
    signature: Path

    def fresh(self, name: str) -> Path:
        """Make an empty directory for one run of one contender."""
        directory = self.directory / f"{name}-{secrets.token_hex(4)}"
        directory.mkdir()
        return directory


@contextmanager
def made_ground(parent: Path = RUN) -> Iterator[Ground]:
    """Make the ground in a directory of its own, and remove it at the end."""
    parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=parent))
    memory = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=MEMORY if MEMORY.is_dir() else directory))
    try:
        secret = secrets.token_hex(32)
        body = directory / "message.json"
        body.write_bytes((BENCH / "message.json").read_bytes())
        signature = directory / "signature"
        signature.write_text(sign(secret.encode(), body.read_bytes()))
        yield Ground(
            directory=directory,
            memory=memory,
            pki=make_pki(directory / "certs"),
            secret=secret,
            body=body,
            signature=signature,
        )
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)
