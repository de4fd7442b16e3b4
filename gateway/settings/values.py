"""The scalar values of the configuration: durations, sizes, addresses, secrets, paths, id lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

Duration = Annotated[float, BeforeValidator(lambda text: text)]
"""`250ms 10s 5m 2h 3d` -> seconds."""
Size = Annotated[int, BeforeValidator(lambda text: text)]
"""`64KiB 3MiB 10GiB` -> bytes."""
SettingsPath = Annotated[Path, BeforeValidator(lambda text: text)]
"""Relative to the configuration file -> absolute."""
ListOrOne = tuple[str, ...]
"""One string or a list of them."""
IdList = tuple[str, ...]
"""One id, a list of ids, or `{file: PATH}` with one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`HOST:PORT`, `[::]:8443`; port 0 asks the kernel for a free one."""

    host: str
    port: int


class Secret:
    """A secret with its source, `{env: NAME}` or `{file: PATH}`; its value is in no repr, str or dump (law 8)."""

    __slots__ = ("_value", "source")

    def __init__(self, value: bytes, *, source: str) -> None:
        self._value = value
        self.source = source
        """`env NAME` or `file /PATH`: fit for messages."""

    def reveal(self) -> bytes:
        """Return the bytes, one trailing newline dropped; empty under `--without-secrets`."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.source})"
