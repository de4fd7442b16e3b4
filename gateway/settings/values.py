"""The types of the values in the configuration: what a field says of itself, from its reader to its JSON
Schema.

Every scalar arrives as the text that stands in the file: YAML would read `0123456` as a number and lose the
zero; here the field decides. What is already a value, because Python code built the model, passes through.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo
from pydantic import WithJsonSchema as Shape

from gateway.settings.address import Address
from gateway.settings.amounts import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    at_least_one,
    positive,
    read_count,
    read_duration,
    read_size,
    refusable,
    write_duration,
    write_size,
)
from gateway.settings.reading import fault, read_named_file, read_path, read_text
from gateway.settings.secret import SECRET_SHAPE, Secret, read_header_value, read_signing_secret
from gateway.settings.texts import (
    NAME_PATTERN,
    read_app_path,
    read_header_name,
    read_name,
    read_public_url,
    read_target_url,
)

__all__ = [
    "Address", "AppPath", "Count", "Duration", "HeaderName", "HeaderValue", "IdList", "ListOrOne", "Name",
    "Otherwise", "PositiveDuration", "PublicUrl", "Secret", "SettingsPath", "SigningSecret", "Size",
    "Status", "TargetUrl", "Text", "Written",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How a type is spoken of in the reference, and how a value of it is written in the file."""

    kind: str

    def write(self, value: object) -> str:
        """Write a value as it would stand in the file."""
        if isinstance(value, float):
            return write_duration(value)
        if isinstance(value, int) and self.kind == "size":
            return write_size(value)
        return str(value)


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What holds where an optional key is absent, when no constant can say it."""

    text: str


Text = Annotated[
    str, PlainValidator(read_text), Shape({"type": "string", "minLength": 1}), Written(kind="text")
]
"""One line of text."""
Name = Annotated[
    str,
    PlainValidator(read_name),
    Shape({"type": "string", "pattern": f"^{NAME_PATTERN}$"}),
    Written(kind="name"),
]
"""Letters, digits, `-`, `_`; at most 64."""
HeaderName = Annotated[
    str, PlainValidator(read_header_name), Shape({"type": "string"}), Written(kind="header name")
]
"""A header that neither the gateway nor HTTP itself claims."""
HeaderValue = Annotated[
    Secret | str,
    PlainValidator(read_header_value),
    Shape({"anyOf": [{"type": "string"}, SECRET_SHAPE]}),
    Written(kind="text or secret"),
]
"""Plain text, `{env: NAME}` or `{file: PATH}`."""
SigningSecret = Annotated[
    Secret, PlainValidator(read_signing_secret), Shape(SECRET_SHAPE), Written(kind="secret")
]
"""`whsec_` and base64."""
AppPath = Annotated[
    str,
    PlainValidator(read_app_path),
    Shape({"type": "string", "pattern": "^/[^ ?#]*$"}),
    Written(kind="path of a URL"),
]
"""The path of a callback URL."""
TargetUrl = Annotated[
    str,
    PlainValidator(read_target_url),
    Shape({"type": "string", "pattern": "^https?://"}),
    Written(kind="URL"),
]
"""http or https, with a host."""
PublicUrl = Annotated[
    str,
    PlainValidator(read_public_url),
    Shape({"type": "string", "pattern": "^https://"}),
    Written(kind="URL"),
]
"""https, without a path."""


Count = Annotated[
    int,
    PlainValidator(read_count),
    AfterValidator(at_least_one),
    Shape({"type": "integer", "minimum": 1}),
    Written(kind="number"),
]
"""A whole number, 1 or more."""
Status = Annotated[
    int,
    PlainValidator(read_count),
    AfterValidator(refusable),
    Shape({"type": "integer", "minimum": 300, "maximum": 599}),
    Written(kind="HTTP status"),
]
"""An HTTP status that is no success."""


Duration = Annotated[
    float,
    PlainValidator(read_duration),
    Shape(
        {
            "type": "string",
            "pattern": f"^{DURATION_PATTERN}$",
            "examples": ["250ms", "10s", "5m", "2h", "3d"],
        }
    ),
    Written(kind="duration"),
]
"""`250ms 10s 5m 2h 3d` -> seconds."""
PositiveDuration = Annotated[Duration, AfterValidator(positive)]
"""A duration longer than nothing."""
Size = Annotated[
    int,
    PlainValidator(read_size),
    Shape({"type": "string", "pattern": f"^{SIZE_PATTERN}$", "examples": ["64KiB", "3MiB", "10GiB"]}),
    Written(kind="size"),
]
"""`64KiB 3MiB 10GiB` -> bytes."""


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def read_id_list(value: object, info: ValidationInfo) -> object:
    """One id, a list of them, or `{file: PATH}` with one a line; blank lines and what follows a # are
    skipped."""
    if not isinstance(value, dict):
        return _one_or_more(value)
    if set(value) != {"file"}:
        raise fault("is neither ids nor a file of ids", "write an id, a list of ids, or {file: PATH}")
    path, content = read_named_file(value["file"], info)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise fault(f"{path} is not UTF-8 text", "write one id a line", at=("file",)) from None
    ids = tuple(text for line in lines if (text := line.partition("#")[0].strip()))
    if not ids:
        raise fault(f"{path} holds no id", "write one id a line", at=("file",))
    return ids


SettingsPath = Annotated[
    Path, PlainValidator(read_path), Shape({"type": "string", "minLength": 1}), Written(kind="path")
]
"""Relative to the configuration file -> absolute."""
ListOrOne = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    Shape({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    Written(kind="text or list of texts"),
]
"""One string or a list of them."""
IdList = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(read_id_list),
    Shape(
        {
            "anyOf": [
                {"type": ["string", "integer"]},
                {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
                {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"],
                 "additionalProperties": False},
            ]
        }
    ),
    Written(kind="id, list of ids, or {file: PATH}"),
]  # fmt: skip
"""One id, a list of ids, or `{file: PATH}` with one a line."""
