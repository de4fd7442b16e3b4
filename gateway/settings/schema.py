"""The JSON Schema of the configuration, for editors: completion, hover texts, most mistakes underlined."""

from typing import Any, Final

from gateway.settings.model import Settings
from gateway.settings.reserved import RESERVED
from gateway.settings.section import Model
from gateway.settings.shape import Entry, default_in_file, entries
from gateway.settings.texts import NAME_PATTERN

JsonSchema = dict[str, Any]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ANY_NAME: Final = "*"


def json_schema() -> JsonSchema:
    """Return the schema, by the keys of the file (draft 2020-12), without references."""
    schema = _section(Settings)
    for path, row in RESERVED.items():
        if row.default is not None:
            _reserve(schema, path, row.default)
    schema["patternProperties"] = {"^x-": {"description": "Ignored; a home for anchors."}}
    return {"$schema": _DIALECT, "title": "meta-webhook-gateway", **schema}


def _section(model: type[Model]) -> JsonSchema:
    known = entries(model)
    return {
        "type": "object",
        "properties": {key: _described(entry) for key, entry in known.items()},
        "required": [key for key, entry in known.items() if entry.required],
        "additionalProperties": False,
    }


def _described(entry: Entry) -> JsonSchema:
    default = default_in_file(entry)
    remark = f" Default: {entry.otherwise}." if entry.otherwise else ""
    return {
        **_held(entry),
        "description": entry.description + remark,
        **({} if default is None else {"default": default}),
    }


def _held(entry: Entry) -> JsonSchema:
    one = _one(entry)
    least = 0 if default_in_file(entry) in ([], {}) or entry.key == "refuse_statuses" else 1
    match entry.holds:
        case "mapping":
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^{NAME_PATTERN}$"} if entry.model else {},
                "additionalProperties": one,
                "minProperties": least,
            }
        case "list":
            return {"type": "array", "items": one, "minItems": least}
    return one


def _one(entry: Entry) -> JsonSchema:
    if entry.model is not None:
        return _section(entry.model)
    if entry.choices:
        return {"enum": list(entry.choices)}
    return dict(entry.written.shape) if entry.written else {}


def _reserve(schema: JsonSchema, path: tuple[str, ...], default: str) -> None:
    """Let a key of a later version stand at its default."""
    section = schema
    for part in path[:-1]:
        if part == _ANY_NAME:
            section = section["additionalProperties"]
        else:
            section = section["properties"].setdefault(
                part, {"type": "object", "properties": {}, "additionalProperties": False}
            )
    value: object = {"[]": [], "false": False}.get(default, int(default) if default.isdigit() else default)
    section["properties"][path[-1]] = {
        "const": value,
        "default": value,
        "description": "Belongs to a later version: nothing but the default is possible.",
    }
