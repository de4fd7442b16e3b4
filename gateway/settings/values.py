"""The types of the values in the configuration: what a field says of itself, from its reader to its JSON
Schema.

Every scalar arrives as the text that stands in the file: YAML would read `0123456` as a number and lose the
zero; here the field decides. What is already a value, because Python code built the model, passes through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.core.merging import MAX_MERGED_CHANGES
from gateway.settings.address import Address, IPNetwork, ListenAddress, read_network
from gateway.settings.amounts import (
    DURATION_PATTERN,
    MAX_WORKERS,
    SIZE_PATTERN,
    at_least_one,
    mergeable,
    positive,
    read_count,
    read_duration,
    read_size,
    read_switch,
    read_workers,
    refusable,
)
from gateway.settings.reading import fault, read_named_file, read_path, read_text, reading, shown
from gateway.settings.secret import (
    SECRET_SHAPE,
    Secret,
    SecretReference,
    read_header_value,
    read_signing_secret,
)
from gateway.settings.texts import (
    MAX_OVERRIDE_CHARACTERS,
    NAME_PATTERN,
    read_app_path,
    read_graph_url,
    read_graph_version,
    read_header_name,
    read_id,
    read_name,
    read_override_url,
    read_public_url,
    read_target_url,
)

__all__ = [
    "Address", "AppPath", "Count", "Duration", "ExactId", "ExactIdList", "GraphUrl", "GraphVersion",
    "HeaderName", "HeaderValue", "IdList", "ListOrOne", "ListenAddress", "MergedChanges", "Name", "Network",
    "Otherwise", "OverrideUrl", "PositiveDuration", "PublicUrl", "Secret", "SecretReference",
    "SettingsPath", "SigningSecret", "Size", "Status", "Switch", "TargetUrl", "Text", "Workers",
    "Written",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """How a type stands in the file: its name in the reference, and its JSON Schema."""

    kind: str
    shape: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What holds where an optional key is absent, when no constant can say it."""

    text: str


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def read_id_list(value: object, info: ValidationInfo) -> object:
    """One id, a list of them, or `{file: PATH}` with one a line; blank lines and what follows a # are
    skipped."""
    if not isinstance(value, dict):
        return _one_or_more(value)
    if set(value) != {"file"}:
        raise fault("is neither ids nor a file of ids", "write an id, a list of ids, or {file: PATH}")
    if not reading(info).with_lists:
        return ("*",)
    path, content = read_named_file(value["file"], info)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise fault(f"{path} is not UTF-8 text", "write one id a line", at=("file",)) from None
    ids = tuple(text for line in lines if (text := line.partition("#")[0].strip()))
    if not ids:
        raise fault(f"{path} holds no id", "write one id a line", at=("file",))
    for text in ids:
        _read_listed_id(path, text)
    return ids


def _read_listed_id(path: Path, text: str) -> None:
    """Read one line of a list; its fault names the list."""
    try:
        read_id(text)
    except PydanticCustomError as error:
        context = error.context or {}
        raise fault(f"{path}: {context.get('message')}", str(context.get("remedy")), at=("file",)) from None


def read_exact_id(value: object) -> str:
    """Read one id of Meta's, without wildcards: it is called by it."""
    text = read_id(value)
    if not text.isdigit():
        raise fault(f"{shown(text)} is a pattern, and one account is meant", "write the digits of its id")
    return text


def _exact(ids: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Take each id once; a list that was not opened stands for any."""
    if reading(info).with_lists:
        for text in ids:
            read_exact_id(text)
    return tuple(dict.fromkeys(ids))


def _pattern(pattern: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"} | ({"examples": list(examples)} if examples else {})


def _one_or_list(item: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}, *more]}


_LINE: Final = {"type": "string", "minLength": 1}
_ID: Final = {"type": ["string", "integer"], "pattern": "^[0-9*?]+$"}
_EXACT_ID: Final = {"type": ["string", "integer"], "pattern": "^[0-9]+$"}
_ID_FILE: Final = {
    "type": "object",
    "properties": {"file": _LINE},
    "required": ["file"],
    "additionalProperties": False,
}

Text = Annotated[str, PlainValidator(read_text), Written("text", _LINE)]
"""One line of text."""
Name = Annotated[str, PlainValidator(read_name), Written("name", _pattern(NAME_PATTERN))]
"""Letters, digits, `-`, `_`; at most 64."""
HeaderName = Annotated[str, PlainValidator(read_header_name), Written("header name", _LINE)]
"""A header that neither the gateway nor HTTP itself claims."""
HeaderValue = Annotated[
    Secret | str,
    PlainValidator(read_header_value),
    Written("text or secret", {"anyOf": [_LINE, SECRET_SHAPE]}),
]
"""Plain text, `{env: NAME}` or `{file: PATH}`."""
SigningSecret = Annotated[Secret, PlainValidator(read_signing_secret), Written("secret", SECRET_SHAPE)]
"""`whsec_` and base64."""
AppPath = Annotated[str, PlainValidator(read_app_path), Written("path of a URL", _pattern("/[^ ?#]*"))]
"""The path of a callback URL."""
TargetUrl = Annotated[str, PlainValidator(read_target_url), Written("URL", _pattern("https?://.+"))]
"""http or https, with a host."""
PublicUrl = Annotated[str, PlainValidator(read_public_url), Written("URL", _pattern("https://.+"))]
"""https, without a path."""
Count = Annotated[
    int,
    PlainValidator(read_count),
    AfterValidator(at_least_one),
    Written("number", {"type": "integer", "minimum": 1}),
]
"""A whole number, 1 or more."""
Workers = Annotated[
    int | Literal["auto"],
    PlainValidator(read_workers),
    Written(
        "number or `auto`",
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_WORKERS}, {"const": "auto"}]},
    ),
]
"""How many processes accept."""
MergedChanges = Annotated[
    int,
    PlainValidator(read_count),
    AfterValidator(mergeable),
    Written("number", {"type": "integer", "minimum": 1, "maximum": MAX_MERGED_CHANGES}),
]
"""How many changes one POST may hold."""
Status = Annotated[
    int,
    PlainValidator(read_count),
    AfterValidator(refusable),
    Written("HTTP status", {"type": "integer", "minimum": 300, "maximum": 599}),
]
"""An HTTP status that is no success."""
Duration = Annotated[
    float,
    PlainValidator(read_duration),
    Written("duration", _pattern(DURATION_PATTERN, "250ms", "10s", "5m", "2h", "3d")),
]
"""`250ms 10s 5m 2h 3d` -> seconds."""
PositiveDuration = Annotated[Duration, AfterValidator(positive)]
"""A duration longer than nothing."""
Size = Annotated[
    int, PlainValidator(read_size), Written("size", _pattern(SIZE_PATTERN, "64KiB", "3MiB", "10GiB"))
]
"""`64KiB 3MiB 10GiB` -> bytes."""
Switch = Annotated[bool, PlainValidator(read_switch), Written("true or false", {"type": "boolean"})]
"""`true` or `false`."""
Network = Annotated[
    IPNetwork, PlainValidator(read_network), Written("network", _LINE | {"examples": ["10.0.8.0/24"]})
]
"""`10.0.8.0/24`, `2001:db8:8::/48`, or one address."""
SettingsPath = Annotated[Path, PlainValidator(read_path), Written("path", _LINE)]
"""Relative to the configuration file -> absolute."""
ListOrOne = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    Written("text or list of texts", _one_or_list(_LINE)),
]
"""One string or a list of them."""
Id = Annotated[str, PlainValidator(read_id), Written("id", _ID)]
"""Digits, `*` and `?`."""
IdList = Annotated[
    tuple[Id, ...],
    Field(min_length=1),
    BeforeValidator(read_id_list),
    Written("id, list of ids, or `{file: PATH}`", _one_or_list(_ID, _ID_FILE)),
]
"""One id, a list of ids, or `{file: PATH}` with one a line."""
ExactId = Annotated[str, PlainValidator(read_exact_id), Written("id", _EXACT_ID)]
"""Digits."""
ExactIdList = Annotated[
    tuple[Id, ...],
    Field(min_length=1),
    BeforeValidator(read_id_list),
    AfterValidator(_exact),
    Written("id, list of ids, or `{file: PATH}`", _one_or_list(_EXACT_ID, _ID_FILE)),
]
"""One id, a list of ids, or `{file: PATH}` with one a line; no wildcards."""
GraphUrl = Annotated[str, PlainValidator(read_graph_url), Written("URL", _pattern("https://.+"))]
"""https, without a query."""
GraphVersion = Annotated[
    str, PlainValidator(read_graph_version), Written("version", _pattern(r"v[0-9]+\.[0-9]+", "v25.0"))
]
"""As in the URLs of the Graph API."""
OverrideUrl = Annotated[
    str,
    PlainValidator(read_override_url),
    Written("URL", _pattern("https://.+") | {"maxLength": MAX_OVERRIDE_CHARACTERS}),
]
"""https, as long as Meta takes it."""
