"""What is left of a configuration when everything that is wrong in it is taken away.

Good for one thing: looking at the files that the rest of it names, so that a bad duration does not hide a
missing certificate. Nothing may run on it.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.errors import ConfigurationError
from gateway.settings.complaints import complaints_of
from gateway.settings.form import examine_form
from gateway.settings.load import Loaded, read_source
from gateway.settings.model import Settings
from gateway.settings.reading import Reading
from gateway.settings.tree import KeyPath, Plain


def load_remainder(path: Path, *, environ: Mapping[str, str], content: bytes | None = None) -> Loaded | None:
    """Load what is sound of a file (or, in its place, `content`), without secrets and lists in files; None
    where too much is wrong."""
    try:
        source, tree = read_source(path, content=content)
    except ConfigurationError:
        return None
    if not isinstance(tree.root, dict):
        return None
    context = Reading(base=path.absolute().parent, environ=environ, with_secrets=False, with_lists=False)
    root = deepcopy(examine_form(tree.root).root)
    while True:
        try:
            settings = Settings.model_validate(root, context=context, by_alias=True, by_name=False)
        except ValidationError as error:
            wrong = {where for where, _, _ in complaints_of(error, standing=tree.positions)}
            if not _take_away(root, wrong):
                return None
        else:
            return Loaded(settings=settings, source=source)


def _take_away(root: dict[str, Plain], wrong: Iterable[KeyPath]) -> bool:
    """Remove what stands at some places, or what is above where a key is missing; False where that is the
    whole."""
    places = {_standing(root, path) for path in wrong} - {()}
    if any(place[0] == "listen" for place in places):
        # Stands in for an address that is not known: of loopback nothing is demanded.
        root["listen"] = {"address": "127.0.0.1:0"}
    # From the back: what is below goes first, and the items of a list keep their numbers until they go.
    for place in sorted(places, key=lambda path: [(isinstance(part, str), part) for part in path])[::-1]:
        if place[0] != "listen":
            holder: Any = root
            for part in place[:-1]:
                holder = holder[part]
            del holder[place[-1]]
    return bool(places)


def _standing(root: dict[str, Plain], path: KeyPath) -> KeyPath:
    """Return as much of a path as leads somewhere."""
    below: Any = root
    for length, part in enumerate(path):
        try:
            below = below[part]
        except (KeyError, IndexError, TypeError):
            return path[:length]
    return path
