"""The shape of the models, as data: which keys a section has and what stands under them.

One description for the form check, the reference and the JSON Schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from gateway.settings.address import ACTIVATED, Address, ListenAddress
from gateway.settings.amounts import write_duration, write_size
from gateway.settings.secret import SECRET_SHAPE, Secret, SecretReference
from gateway.settings.section import Model
from gateway.settings.values import Otherwise, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of a section."""

    key: str
    info: FieldInfo
    model: type[Model] | None
    """The section below, where there is one."""
    holds: Literal["one", "mapping", "list"]
    """Whether the value is one of what `model` or `written` describe, or a mapping or a list of them."""
    written: Written | None
    choices: tuple[str, ...]
    """All values, where they can be listed."""

    @property
    def otherwise(self) -> str | None:
        """What holds where the key is absent, if no constant can say it."""
        return next((mark.text for mark in self.info.metadata if isinstance(mark, Otherwise)), None)

    @property
    def required(self) -> bool:
        """Must the file state it?"""
        return self.info.is_required() and self.otherwise is None

    @property
    def description(self) -> str:
        """The field's docstring on one line."""
        return " ".join((self.info.description or "").split())


@cache
def entries(model: type[Model]) -> Mapping[str, Entry]:
    """Return the keys of a section, in the order of the model."""
    return {
        (info.alias or name): _entry(info.alias or name, info) for name, info in model.model_fields.items()
    }


def _entry(key: str, info: FieldInfo) -> Entry:
    annotation, marks = _unwrap(info.annotation, tuple(info.metadata))
    holds: Literal["one", "mapping", "list"] = "one"
    written = next((mark for mark in marks if isinstance(mark, Written)), None)
    if written is None and get_origin(annotation) in {dict, tuple}:
        holds = "mapping" if get_origin(annotation) is dict else "list"
        annotation, marks = _unwrap(get_args(annotation)[1 if holds == "mapping" else 0], ())
        written = next((mark for mark in marks if isinstance(mark, Written)), None)
    is_model = isinstance(annotation, type) and issubclass(annotation, Model)
    choices = tuple(str(value) for value in get_args(annotation)) if get_origin(annotation) is Literal else ()
    return Entry(
        key=key,
        info=info,
        model=annotation if is_model else None,
        holds=holds,
        written=written or _OF_CLASSES.get(annotation),
        choices=choices,
    )


def _unwrap(annotation: Any, marks: tuple[object, ...]) -> tuple[Any, tuple[object, ...]]:
    """Peel `Annotated` and `| None` off a type, gathering the marks."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            marks = (*marks, *more)
        elif get_origin(annotation) in {Union, UnionType} and NoneType in get_args(annotation):
            (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
        else:
            return annotation, marks


_OF_CLASSES: Final[Mapping[object, Written]] = {
    Secret: Written("secret", SECRET_SHAPE),
    SecretReference: Written("secret", SECRET_SHAPE),
    Address: Written(
        "address",
        {"type": "string", "pattern": "^.+:[0-9]{1,5}$", "examples": ["127.0.0.1:9090", "[::]:8443"]},
    ),
    ListenAddress: Written(
        "address",
        {
            "type": "string",
            "pattern": f"^(.+:[0-9]{{1,5}}|{ACTIVATED})$",
            "examples": ["127.0.0.1:8443", "[::]:8443", ACTIVATED],
        },
    ),
}
"""Types that are classes of ours, and need no annotation to be read."""


def default_in_file(entry: Entry) -> object | None:
    """Return a default as it would stand in the file (`10s`, `3MiB`); None where no constant can say it."""
    default = entry.info.default
    if entry.info.is_required() or entry.otherwise or default is None or isinstance(default, Model):
        return None
    if isinstance(default, tuple):
        return [_in_file(entry, item) for item in default]
    return default if isinstance(default, dict) else _in_file(entry, default)


def _in_file(entry: Entry, value: Any) -> object:
    match entry.written.kind if entry.written else "":
        case "duration":
            return write_duration(value)
        case "size":
            return write_size(value)
        case "address":
            return str(value)
    return value
