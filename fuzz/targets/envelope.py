"""The envelope: reading, cutting, joining and routing, beside the json module and a model of a few lines.

The first two bytes choose the changes that a cut keeps.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.core.anatomy import CHANGED_FIELDS, CHANGES, MESSAGING, STANDBY
from gateway.core.cutting import cut
from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.joining import join, joinable_object
from gateway.core.routing import UNROUTED, Route, RoutingTable

PAYLOADS: Final = Path(__file__).resolve().parent.parent.parent / "tests" / "data" / "payloads"
_HOLDERS: Final = (CHANGES, MESSAGING, STANDBY, CHANGED_FIELDS)
_HALF: Final = re.compile("[\ud800-\udfff]")
_LARGEST_SEED_BYTES: Final = 4096
_TABLE: Final = RoutingTable(
    [
        Route(to=("a",), field=("messages",)),
        Route(to=("b", "c"), kind=("status",)),
        Route(to=("d",), object=("page", "insta*"), waba=("1*",)),
        Route(to=("e",), field=("*_template_*", "?"), phone_number_id=("1*",)),
    ],
    payload_original=frozenset({"c"}),
    drop_unrouted=False,
)


class DefectError(AssertionError):
    """Two ways to read the same bytes do not agree."""


def one(data: bytes) -> None:
    """Read, cut, join and route it, and compare."""
    choice, raw = int.from_bytes(data[:2], "big"), data[2:]
    envelope = parse_envelope(raw)
    plan = _TABLE.plan("main", envelope)
    if not isinstance(envelope, Envelope):
        _check_refusal(raw, envelope.detail)
        if [delivery.target for delivery in plan] != [UNROUTED]:
            raise DefectError("what is no envelope is unrouted")
        return
    parsed = _oracle(raw)
    model = list(_units(parsed))
    if len(model) != len(envelope.changes):
        raise DefectError(f"{len(envelope.changes)} changes, the model has {len(model)}")
    for change, (object_, field, _) in zip(envelope.changes, model, strict=True):
        if (change.object, change.field) != (_veiled(object_), _veiled(field)):
            raise DefectError(f"{change}, the model has {object_!r} {field!r}")
    routed = {position for one in plan for position in one.selection or range(len(model))}
    if routed != set(range(len(model))):
        raise DefectError("a change goes nowhere")
    if model and envelope.object != joinable_object(raw):
        raise DefectError("two readers do not agree on what can be joined")
    _check_cut(raw, envelope, model, choice)
    _check_join(raw, parsed)


def _veiled(text: str) -> str:
    """Half a surrogate pair is read as U+FFFD."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def _check_refusal(raw: bytes, detail: str) -> None:
    """What is refused is no JSON, or refused for a reason of our own."""
    if not detail.startswith(("not JSON", "not UTF-8")):
        return
    try:
        _oracle(raw)
    except (ValueError, RecursionError):
        return
    raise DefectError(f"json reads it, and we say: {detail}")


def _check_cut(raw: bytes, envelope: Envelope, model: list[tuple[str, str, Any]], choice: int) -> None:
    selection = [position for position in range(len(model)) if choice >> (position % 16) & 1]
    if not selection:
        return
    kept = cut(raw, selection)
    if list(_units(_oracle(kept))) != [model[position] for position in selection]:
        raise DefectError("the cut holds other changes")
    again = parse_envelope(kept)
    if not isinstance(again, Envelope):
        raise DefectError(f"the cut is no envelope: {again.detail}")
    if again.changes != tuple(envelope.changes[position] for position in selection):
        raise DefectError("the cut is read otherwise")


def _check_join(raw: bytes, parsed: Any) -> None:
    if joinable_object(raw) is None:
        return
    joined = _oracle(join([raw, raw]))
    entries = [entry for top in (parsed if isinstance(parsed, list) else [parsed]) for entry in top["entry"]]
    if joined != {"object": joined["object"], "entry": entries * 2}:
        raise DefectError("the joined envelope holds other entries")
    if len(join([raw, raw])) > 2 * len(raw):
        raise DefectError("the joined envelope is longer than its parts")


class _Number(str):
    """A number as it is written: no digit is lost in a comparison."""

    __slots__ = ()


def _oracle(raw: bytes) -> Any:
    """Read with the json module, without its leniences; numbers as they are written."""

    def refuse(text: str) -> None:
        raise ValueError(text)

    return json.loads(raw.decode("utf-8"), parse_int=_Number, parse_float=_Number, parse_constant=refuse)


def _units(body: Any) -> Iterator[tuple[str, str, Any]]:
    """The rules of `anatomy`, on what json has read: object, field and value of each unit, in order."""
    in_array = isinstance(body, list)
    for top in body if in_array else [body]:
        object_ = _text(top.get("object"))
        entries = top.get("entry")
        if entries is not None and not isinstance(entries, list):
            yield object_, "", top
            continue
        units = [unit for entry in entries or () for unit in _of_entry(entry)]
        others = [value for name, value in top.items() if name != "entry"]
        if in_array and not units and any(isinstance(value, dict | list) for value in others):
            yield object_, "", top
        for field, value in units:
            yield object_, field, value


def _of_entry(entry: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(entry, dict):
        yield "", entry
        return
    held = [(name, value) for name, value in entry.items() if name in _HOLDERS and value is not None]
    empty = not any(not isinstance(value, list) or value for _, value in held)
    others = (value for name, value in entry.items() if name not in _HOLDERS)
    if empty and any(isinstance(value, dict | list) for value in others):
        yield "", entry
        return
    for name, value in held:
        if not isinstance(value, list):
            yield "", value
            continue
        for unit in value:
            yield _field(name, unit), unit


def _field(holder: str, unit: Any) -> str:
    if holder == CHANGES:
        return _text(unit.get("field")) if isinstance(unit, dict) else ""
    if holder == CHANGED_FIELDS:
        return _text(unit)
    if not isinstance(unit, dict) or not unit:
        return ""
    if holder == STANDBY:
        return STANDBY
    if "message" in unit:
        message = unit["message"]
        is_echo = isinstance(message, dict) and message.get("is_echo") is True
        return "message_echoes" if is_echo else "messages"
    names = {
        "postback": "messaging_postbacks",
        "delivery": "message_deliveries",
        "read": "message_reads",
        "reaction": "message_reactions",
    }
    return next((field for key, field in names.items() if key in unit), MESSAGING)


def _text(value: Any) -> str:
    return value if isinstance(value, str) and not isinstance(value, _Number) else ""


def seeds() -> Iterator[bytes]:
    """Meta's samples, as they are and without white space, and what is odd."""
    for path in sorted(PAYLOADS.rglob("*.json")):
        raw = path.read_bytes()
        if len(raw) <= _LARGEST_SEED_BYTES:
            yield b"\x00\x01" + raw
            yield b"\x00\x02" + msgspec.json.encode(msgspec.json.decode(raw))
    for odd in (
        b'{"object":"page","entry":[{"messaging":[{"message":{"is_echo":true}},{"read":{}}],"changes":[{}]}]}',
        b'[{"object":"user","entry":[{"changed_fields":["a","b"]}]},{"entry":null,"x":[1]}]',
        b'{"entry":[5,{"changes":{"a": 1},"messaging":[{}]},{"new":[1, 2]},null]}',
        b'{"object":"page","entry":[{"id":1,"changes":[{"field":"\\ud83d","value":"\\ud83d\\ude00"},{}]}]}',
        b'{"entry":[{"changes":[{"field":"a","field":"b"}]}],"entry":[{"changes":[{"value":1e999}]}]}',
    ):
        yield b"\x00\x05" + odd
