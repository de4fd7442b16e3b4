"""The SQL files beside this module, read once: `schema.sql` whole, `queries.sql` and `migrations.sql` by the
names in them."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def _read(name: str) -> str:
    return files("gateway.spool").joinpath(name).read_text(encoding="utf-8")


def named(text: str) -> Mapping[str, str]:
    """Return the statements of a file by the names in it."""
    _, *parts = _NAME.split(text)
    return MappingProxyType(dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True)))


SCHEMA: str = _read("schema.sql")
QUERIES: Mapping[str, str] = named(_read("queries.sql"))
"""Statement by name."""
MIGRATIONS: Mapping[str, str] = named(_read("migrations.sql"))
"""By the schema that they lead to: `to_2`, ..."""
