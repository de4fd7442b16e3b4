"""What differs between two configurations, by name: for the log of a reload. Values are never told."""

from collections.abc import Iterator

from gateway.settings.section import Model
from gateway.settings.tree import KeyPath


def differences(old: Model, new: Model, *, at: KeyPath = ()) -> Iterator[KeyPath]:
    """Return the keys, as the file writes them, whose values differ.

    An entry of a mapping that came or went is named itself; a list is named as a whole.
    """
    if type(old) is not type(new):
        yield at
        return
    for name, field in type(old).model_fields.items():
        yield from _differ(getattr(old, name), getattr(new, name), (*at, field.alias or name))


def _differ(old: object, new: object, at: KeyPath) -> Iterator[KeyPath]:
    match old, new:
        case Model(), Model():
            yield from differences(old, new, at=at)
        case dict(), dict():
            for key in dict.fromkeys((*old, *new)):
                if key in old and key in new:
                    yield from _differ(old[key], new[key], (*at, key))
                else:
                    yield (*at, key)
        case _ if old != new:
            yield at
