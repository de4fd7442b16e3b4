"""Pydantic's errors in our words: path, message, remedy."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.settings.crosschecks import Found
from gateway.settings.model import Settings
from gateway.settings.reading import FAULT, shown
from gateway.settings.shape import entries
from gateway.settings.tree import KeyPath


def complaints_of(error: ValidationError, *, standing: Collection[KeyPath]) -> Iterator[Found]:
    """Translate every error; `standing` are the paths that stand in the file."""
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # not empty: pydantic counts the items that were good
        message, remedy = _words(details)
        path = tuple(part for part in details["loc"] if part != "[key]")
        if details["type"] == FAULT:
            path += tuple(details.get("ctx", {}).get("at", ()))
        while path and isinstance(path[-1], int) and path not in standing:
            path = path[:-1]  # one value where a list might stand: the file has no position 0
        yield path, message, remedy


def _words(details: ErrorDetails) -> tuple[str, str]:
    if details["type"] == FAULT:
        context = details["ctx"]
        return context["message"], context["remedy"]
    if details["input"] is None:
        return "has no value", "write one, or remove the key"
    return _WORDS.get(details["type"], _unknown_words)(details)


def _missing(details: ErrorDetails) -> tuple[str, str]:
    description = _description(details["loc"])
    return "is missing", f"add it: {description}" if description else "add it"


def _literal(details: ErrorDetails) -> tuple[str, str]:
    value = details["input"]
    choices = str(details["ctx"]["expected"]).replace("'", "")
    return f"{shown(value) if isinstance(value, str) else 'this'} is not possible here", f"write {choices}"


def _unknown_words(details: ErrorDetails) -> tuple[str, str]:
    return str(details["msg"]), "correct it"


_WORDS: Final[Mapping[str, Callable[[ErrorDetails], tuple[str, str]]]] = {
    "missing": _missing,
    "literal_error": _literal,
    "extra_forbidden": lambda _: ("unknown key", "remove it"),
    "model_type": lambda _: ("must be a mapping", "write `key: value` lines under it"),
    "dict_type": lambda _: ("must be a mapping", "write `key: value` lines under it"),
    "tuple_type": lambda _: ("must be a list", "write [one, two], or items that begin with -"),
    "too_short": lambda _: ("is empty", "name at least one"),
    "greater_than": lambda _: ("is too small", "write more than zero"),
}


def _description(loc: tuple[str | int, ...]) -> str:
    """The first sentence of the reference on a key."""
    model: Any = Settings
    entry = None
    for part in loc:
        if model is not None and isinstance(part, str) and part in entries(model):
            entry = entries(model)[part]
            model = entry.model
    return entry.description.partition(". ")[0].rstrip(".") if entry else ""
