"""What can still be read of a broken file: its sections one by one, as far as a command needs them to find
the gateway that runs with what the file said before."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from gateway.settings.files import read_within
from gateway.settings.model import Admin
from gateway.settings.reading import Reading
from gateway.settings.tree import Plain, read_tree

_MAX_BYTES: Final = 1024**2
"""As `load`: a configuration is no larger."""
_TOP_LEVEL: Final = re.compile(r"^(?=[A-Za-z_\"'])", re.MULTILINE)
"""Where a section begins: a key that is not indented."""


def salvage_admin(path: Path, *, environ: Mapping[str, str], with_secrets: bool = False) -> Admin:
    """Return the `admin` section as it stands in a file, whatever is wrong with the rest; the default where
    it cannot be read."""
    for section in _sections(path):
        if "admin" in section:
            context = Reading(base=path.absolute().parent, environ=environ, with_secrets=with_secrets)
            try:
                return Admin.model_validate(section["admin"], context=context, by_alias=True, by_name=False)
            except ValidationError:
                break
    return Admin()


def _sections(path: Path) -> Iterator[dict[str, Plain]]:
    try:
        content, _ = read_within(path, max_bytes=_MAX_BYTES)
    except (OSError, ValueError):
        return
    for text in _TOP_LEVEL.split(content.decode("utf-8", "replace")):
        root = read_tree(text).root
        if isinstance(root, dict):
            yield root
