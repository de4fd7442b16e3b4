"""What Meta's part sends at a rate: kinds of notifications, their shares, and bodies to fill ids into.

A body is made once, as a template; each sending replaces one mark in it. So ids are new every time, of the
same length, and cost next to nothing. Each change carries a number of its own besides, in its value: a target
that gets some of the changes, or several notifications in one POST, still knows which ones it got.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import Any, Final

from gateway.core.envelope import Unparseable, parse_envelope
from gateway.core.routing import RoutingTable
from gateway.errors import UsageError
from gateway.simulator.payloads import MAIN_OBJECT, find_sample, freshen, samples

DEFAULT_SHARES: Final = {
    "statuses": 70.0,
    "messages": 21.0,
    "fields": 4.0,
    "unicode": 3.0,
    "batches": 1.0,
    "duplicates": 1.0,
    "large": 0.01,
}
"""Three statuses to a message sent, and an answer to a third of them: Meta's own example."""

MEANINGS: Final = {
    "statuses": "sent, delivered, read, played, failed",
    "messages": "what customers write: text, media, replies, orders ...",
    "fields": "every other field, of other objects too",
    "unicode": "long texts, each letter escaped (\\ud83d\\ude00)",
    "batches": "50 changes in one POST",
    "duplicates": "the same bytes as before, as Meta's retries",
    "large": "1000 changes in a body of --large",
}

BATCH_CHANGES: Final = 50
LARGE_CHANGES: Final = 1000
"""Meta: up to 1000 updates in one POST."""
LEAST_LARGE_BYTES: Final = 1024
MOST_LARGE_BYTES: Final = 3 * 1024 * 1024
"""Meta: up to 3 MB; beyond the default of `listen.max_body` nothing is to be learned."""

MARK: Final = b"THE-RUN-AND-A-NUMBER"
"""Stands in a template for what is new in each notification; as long as what `stamp` returns."""
RUN_LETTERS: Final = 8
PROBE_WORKER: Final = 255
"""Stands for the process in what is sent before the run, and is not counted."""
NUMBER_KEY: Final = "simulation_id"
"""Beside Meta's own keys in each value; consumers ignore new keys, as they must with Meta's."""

_UNICODE_TEXT: Final = "Grüße aus Köln, ça va? Привет, مرحبا, こんにちは, 你好, 😀👍🏽👨‍👩‍👧 / " * 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One body to be sent many times over."""

    kind: str
    body: bytes
    """With `MARK` wherever something new goes."""
    changes: int
    """How many; they are numbered in the order in which they stand."""

    def fill(self, mark: bytes) -> bytes:
        """Return a body that was never sent before. `mark` is what `stamp` returns."""
        return self.body.replace(MARK, mark)


def stamp(run: str, worker: int, number: int) -> bytes:
    """Return what stands for `MARK`: the run, which process of it, and the number of the first change."""
    return b"%s%02x%010x" % (run.encode(), worker, number)


def number_pattern(run: str) -> "re.Pattern[bytes]":
    """Return what finds the changes of a run in a body: process, number of the first, place after (hex)."""
    return re.compile(
        rb'"%s":"%s([0-9a-f]{2})([0-9a-f]{10})\.([0-9a-f]{3})"' % (NUMBER_KEY.encode(), run.encode())
    )


def parse_shares(text: str) -> dict[str, float]:
    """Read `statuses=70,messages=30`; what is not named is not sent.

    Raises:
        UsageError: it cannot be read, or nothing new is left to send.
    """
    remedy = f"write KIND=SHARE, separated by commas; kinds: {', '.join(DEFAULT_SHARES)}"
    shares: dict[str, float] = {}
    for part in text.split(","):
        kind, equals, share = part.strip().partition("=")
        if kind not in DEFAULT_SHARES or not equals or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", share):
            raise UsageError(f"--mix: {part.strip()!r:.60} is no share", remedy=remedy)
        shares[kind] = float(share)
    if not any(share for kind, share in shares.items() if kind != "duplicates"):
        raise UsageError(
            "--mix: nothing is left to send", remedy="give a share to a kind other than duplicates"
        )
    return shares


def make_templates(
    shares: dict[str, float], *, changes: int, large_bytes: int, now_ms: int
) -> tuple[Template, ...]:
    """Make the bodies of every kind that has a share. The same arguments make the same bodies.

    `changes` is how many stand in a notification of the kinds that are not about size.
    """
    statuses, messages = _pieces("messages.status"), _messages()
    bodies: dict[str, Iterator[Any]] = {
        "statuses": _notifications(statuses, changes),
        "messages": _notifications(messages, changes),
        "fields": _notifications(_other_fields(), changes),
        "unicode": _notifications([_text(_UNICODE_TEXT)], changes),
        "batches": _notifications([*statuses, *messages], BATCH_CHANGES),
        "large": iter(_large(large_bytes, now_ms) for _ in range(1)),
    }
    return tuple(
        _template(kind, body, now_ms)
        for kind, made in bodies.items()
        if shares.get(kind)  # a large one is made where it is wanted alone
        for body in made
    )


def expected_places(template: Template, *, app: str, table: RoutingTable, target: str) -> tuple[int, ...]:
    """Return which of its changes the routes give to a target, by their numbers."""
    envelope = parse_envelope(template.fill(stamp("0" * RUN_LETTERS, 0, 0)))
    if isinstance(envelope, Unparseable):
        return ()
    for delivery in table.plan(app, envelope):
        if delivery.target == target:
            return tuple(range(len(envelope.changes))) if delivery.selection is None else delivery.selection
    return ()


# -- what they are made of

_Piece = tuple[str, dict[str, Any]]
"""An object, and an entry with one change."""


def _pieces(prefix: str) -> list[_Piece]:
    return [
        piece
        for sample in samples()
        if sample.object == MAIN_OBJECT and sample.name.startswith(prefix)
        for piece in _taken_apart(sample.read())
    ]


def _messages() -> list[_Piece]:
    statuses = {sample.name for sample in samples() if sample.name.startswith("messages.status")}
    return [
        piece
        for sample in samples()
        if sample.object == MAIN_OBJECT and sample.field == "messages" and sample.name not in statuses
        for piece in _taken_apart(sample.read())
    ]


def _other_fields() -> list[_Piece]:
    return [
        piece
        for sample in samples()
        if sample.field not in {"messages", "batch"} or sample.object != MAIN_OBJECT
        for piece in _taken_apart(sample.read())
    ]


def _taken_apart(body: Any) -> Iterator[_Piece]:
    """Return its changes one by one; none of those that cannot carry a number."""
    for envelope in body if isinstance(body, list) else [body]:
        for entry in envelope["entry"]:
            for change in entry.get("changes", ()):
                if isinstance(change.get("value"), dict):
                    yield envelope["object"], {**entry, "changes": [change]}


def _text(text: str) -> _Piece:
    """Return a customer's message of this text."""
    (piece,) = _taken_apart(find_sample("messages.text").read())
    (message,) = piece[1]["changes"][0]["value"]["messages"]
    message["text"]["body"] = text
    return piece


def _notifications(pieces: Sequence[_Piece], changes: int) -> Iterator[Any]:
    """Put so many changes into each, until every piece was in one: an entry a change, one object a body."""
    for object_ in dict.fromkeys(object_ for object_, _ in pieces):
        entries = [entry for found, entry in pieces if found == object_]
        supply = cycle(entries)
        for _ in range(-(-len(entries) // changes)):
            yield {"object": object_, "entry": list(islice(supply, changes))}


def _large(size_bytes: int, now_ms: int) -> Any:
    """Make a body of exactly this size, of up to 1000 texts of a customer."""
    changes = max(1, min(LARGE_CHANGES, size_bytes // LEAST_LARGE_BYTES))

    def body(letters: int, rest: int) -> Any:
        entries = [_text("x" * (letters + (rest if not number else 0)))[1] for number in range(changes)]
        return {"object": MAIN_OBJECT, "entry": entries}

    missing = size_bytes - len(_template("large", body(0, 0), now_ms).body)
    return body(*divmod(max(0, missing), changes))


def _template(kind: str, body: Any, now_ms: int) -> Template:
    numbers = count()
    entries = [
        {
            **entry,
            "changes": [
                {**change, "value": {**change["value"], NUMBER_KEY: f"{MARK.decode()}.{next(numbers):03x}"}}
                for change in entry["changes"]
            ],
        }
        for entry in body["entry"]
    ]
    ids = count()
    raw = freshen({**body, "entry": entries}, now_ms=now_ms, draw=lambda: f"{MARK.decode()}{next(ids):03x}")
    return Template(kind=kind, body=raw, changes=next(numbers))
