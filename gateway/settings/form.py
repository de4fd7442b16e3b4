"""The form of the file against the models: unknown keys, keys without value, keys of later versions.

Goes before validation, so that one mistake gives one complaint.
"""

from dataclasses import dataclass, field

from gateway.settings.model import Settings
from gateway.settings.nearest import nearest
from gateway.settings.reserved import complain_of_reserved, reserved_under
from gateway.settings.section import Model
from gateway.settings.shape import Entry, entries
from gateway.settings.tree import KeyPath, Plain


@dataclass(slots=True, kw_only=True)
class Form:
    """What was found, and what is left for validation."""

    root: dict[str, Plain] = field(default_factory=dict)
    complaints: list[tuple[KeyPath, str, str]] = field(default_factory=list)
    """Path, message, remedy."""
    excused: set[KeyPath] = field(default_factory=set)
    """Keys that seem to be there under a misspelt name: not to be called missing too."""


def examine_form(root: dict[str, Plain]) -> Form:
    """Walk models and file together."""
    form = Form()
    own = {key: value for key, value in root.items() if not key.startswith("x-")}
    form.root = _section(Settings, own, (), (), form)
    return form


def _section(
    model: type[Model], values: dict[str, Plain], path: KeyPath, pattern: tuple[str, ...], form: Form
) -> dict[str, Plain]:
    known = entries(model)
    reserved = reserved_under(pattern)
    kept: dict[str, Plain] = {}
    for key, value in values.items():
        if key in reserved and (key not in known or known[key].model is None):
            form.complaints += complain_of_reserved((*pattern, key), (*path, key), value)
        elif key not in known:
            _complain_of_unknown(key, values, sorted({*known, *reserved}), path, form)
        elif value is None:
            form.complaints.append(((*path, key), "has no value", "write one, or remove the key"))
        else:
            kept[key] = _below(known[key], value, (*path, key), (*pattern, key), form)
    return kept


def _below(entry: Entry, value: Plain, path: KeyPath, pattern: tuple[str, ...], form: Form) -> Plain:
    if entry.model is None:
        return value
    model = entry.model
    match entry.holds, value:
        case "one", dict():
            return _section(model, value, path, pattern, form)
        case "mapping", dict():
            return {
                name: _section(model, below, (*path, name), (*pattern, "*"), form)
                if isinstance(below, dict)
                else below
                for name, below in value.items()
            }
        case "list", list():
            return [
                _section(model, below, (*path, index), (*pattern, "*"), form)
                if isinstance(below, dict)
                else below
                for index, below in enumerate(value)
            ]
    return value


def _complain_of_unknown(
    key: str, values: dict[str, Plain], known: list[str], path: KeyPath, form: Form
) -> None:
    remedy = f"known here: {', '.join(known)}"
    if near := nearest(key, known):
        remedy = f"did you mean {near}?"
        if near not in values:
            form.excused.add((*path, near))
    if not path:
        remedy += " (keys that begin with x- are ignored)"
    form.complaints.append(((*path, key), "unknown key", remedy))
