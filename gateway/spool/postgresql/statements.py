"""The SQL files beside this module, read once: `statements.sql` and others by the names in them,
`schema/NNN-WHAT.sql` by number."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from gateway.spool.sql import named

_HERE = files("gateway.spool.postgresql")

STATEMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        name: text
        for file in ("statements.sql", "exchange.sql", "letters.sql")
        for name, text in named(_HERE.joinpath(file).read_text(encoding="utf-8")).items()
    }
)
"""Statement by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    """What the schema is after it."""
    name: str
    text: str


def _migrations() -> Mapping[int, Migration]:
    found = {}
    for file in _HERE.joinpath("schema").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("-")
        version = int(number)
        found[version] = Migration(
            version=version, name=name.replace("-", " "), text=file.read_text(encoding="utf-8")
        )
    return MappingProxyType(dict(sorted(found.items())))


MIGRATIONS: Final[Mapping[int, Migration]] = _migrations()
"""By version, in order."""
