"""The configuration: any bytes end with settings or with complaints, each with a place and a remedy."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError
from gateway.settings.load import load_settings

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
PLANTED: Final = "planted-app-secret-81"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 # a directory of our own in it
_DIRECTORY: Final = tempfile.TemporaryDirectory(
    prefix="gateway-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None
)
_FILE: Final = Path(_DIRECTORY.name) / "gateway.yaml"


class DefectError(AssertionError):
    """A complaint does not help, or tells a secret."""


def one(data: bytes) -> None:
    """Load it."""
    (_FILE.parent / "secret").write_text(PLANTED)
    _FILE.write_bytes(data)
    try:
        loaded = load_settings(_FILE, environ={"SECRET": PLANTED})
    except ConfigurationError as error:
        if not error.problems:
            raise DefectError("refused without a reason") from error
        for problem in error.problems:
            text = str(problem)
            if not problem.message or not problem.remedy or "\n" in text or PLANTED in text:
                raise DefectError(text) from error
        return
    if PLANTED in repr(loaded) or PLANTED in str(loaded.settings.model_dump()):
        raise DefectError("a secret is shown")


def seeds() -> Iterator[bytes]:
    """The example, and small ones."""
    yield (REPOSITORY / "config" / "gateway.yaml").read_bytes()
    yield (REPOSITORY / "config" / "example-full.yaml").read_bytes()
    yield _SMALL
    yield _SMALL.replace(b"{file: secret}", b"{env: SECRET}")
    yield b"a: &x [1, *x]\nb: {<<: {c: d}}\n--- !!binary aGVsbG8=\n"
    yield b'"\\u0000": |+\n  text\n? [complex, key]\n: >-\n  folded\n'


_SMALL: Final = b"""\
listen: {address: "[::]:8443", max_connections: 4096, max_body: 3MiB}
tls:
  certificate: a.pem
  private_key: a.key
  clients: {meta: {trust_anchors: [b.pem]}}
apps:
  main: {path: /a, app_secrets: [{file: secret}], verify_token: {file: secret}}
targets: {t: {url: "http://127.0.0.1:1/", retry: {schedule: [1s, 5m]}}}
routes: [{field: "*", to: [t]}]
"""
