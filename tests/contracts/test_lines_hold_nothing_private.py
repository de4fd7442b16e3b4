"""Whatever the settings of the log, no line holds text, a whole phone number or a secret of a known payload.

All samples come in as Meta sends them, with a wrong signature, and cut off; one target takes them, one
refuses and one fails, and what these answer quotes the payload. What the log says of it is searched.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import structlog
import trio

from gateway.core.outcome import Answer
from gateway.core.routing import Route
from gateway.delivery.dead_letter_record import DeadLetter
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.message import OutgoingRequest
from gateway.delivery.sender import Endpoint
from gateway.errors import DeadLetterError
from gateway.telemetry.log import Level, configure_logging
from gateway.telemetry.notification_lines import NotificationLog
from gateway.telemetry.redaction import visible
from tests.delivery.dispatching import a_target
from tests.ingress.rig import NOW_MS, SECRET, VERIFY_TOKEN, Edge

PAYLOADS = Path(__file__).parent.parent / "data" / "payloads"
SAMPLES: Final = sorted(PAYLOADS.glob("*/*.json"))
LONG_CHARACTERS: Final = 16
"""A value so long is nobody's vocabulary but its sender's."""
PHONE_DIGITS: Final = 7


def leaves(value: Any) -> Iterator[str]:
    """Every text and number in a payload."""
    match value:
        case dict():
            for item in value.values():
                yield from leaves(item)
        case list():
            for item in value:
                yield from leaves(item)
        case str():
            yield value
        case int() if not isinstance(value, bool):
            yield str(value)


def is_private(leaf: str) -> bool:
    """Whether a value says something of a person or their message, as words of Meta's own do not."""
    digits = sum(letter.isdigit() for letter in leaf)
    return " " in leaf or digits >= PHONE_DIGITS or len(leaf) >= LONG_CHARACTERS or not leaf.isascii()


def private_texts() -> set[str]:
    """Return all that must be in no line, in the ways in which a line would write it."""
    vocabulary = {path.name.split(".")[0] for path in SAMPLES} | {path.parent.name for path in SAMPLES}
    found = {
        leaf
        for path in SAMPLES
        for leaf in leaves(json.loads(path.read_bytes()))
        if is_private(leaf) and leaf not in vocabulary
    }
    found |= {SECRET.decode(), VERIFY_TOKEN.decode(), "s3cr3t"}
    return {written for text in found for written in (text, json.dumps(text)[1:-1], visible(text))}


class QuotingLane:
    """A target that quotes what it was sent."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._status = int(endpoint.url.rsplit("/", 1)[1])

    async def send(self, request: OutgoingRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(status=self._status, retry_after=None, excerpt=request.body[:4096].decode())

    def cut_short(self) -> None: ...

    async def aclose(self) -> None: ...


class NoRoom:
    """A place for dead letters that takes every other one."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, letter: DeadLetter) -> None:
        self.written += 1
        if self.written % 2:
            raise DeadLetterError("no space left", remedy="make room")

    def remove_delivered(self, target: str, received_at_ms: int, identifier: str) -> bool:
        return True


async def live_through(notifications: NotificationLog) -> None:
    """Have every sample come in and go out."""
    edge = Edge(
        log_notifications=notifications,
        routes=(Route(to=("taking",), field=("m*",)), Route(to=("refusing", "failing"), field=("*_*",))),
    )
    dispatcher = Dispatcher(
        spool=edge.spool,
        targets={
            name: a_target(f"http://127.0.0.1:1/{status}", give_up_after=0.0)
            for name, status in (("taking", 200), ("refusing", 422), ("failing", 500))
        },
        dead_letters=NoRoom(),
        metrics=edge.metrics,
        now_ms=lambda: NOW_MS,
        random=lambda: 0.5,
        app_secret={"main": SECRET, "lax": SECRET}.get,
        sender=QuotingLane,
        log_notifications=lambda: notifications,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(dispatcher.run)
        for path in SAMPLES:
            body = path.read_bytes()
            assert (await edge.post(body)).status == 200
            await edge.post(body)
            await edge.post(body, signature=[b"sha256=" + b"0" * 64])
            await edge.post(body[: len(body) // 2], path=b"/webhooks/lax", peer=None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


SETTINGS: Final = [
    *((level, "all") for level in get_args(Level)),
    *(("debug", setting) for setting in get_args(NotificationLog) if setting != "all"),
]
"""With `all`, whatever a level lets through is told; the other settings tell less of it."""


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
@pytest.mark.parametrize(("level", "notifications"), SETTINGS)
async def test_no_line_holds_text_a_whole_number_or_a_secret(
    capsys: pytest.CaptureFixture[str], level: Level, notifications: NotificationLog, as_json: bool
) -> None:
    configure_logging(level=level, json=as_json)
    try:
        await live_through(notifications)
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert said.count("\n") >= (100 if notifications == "all" and level in ("debug", "info") else 1)
    assert [text for text in private_texts() if text in said] == []


def test_the_search_would_find_one() -> None:
    texts = private_texts()
    assert len(SAMPLES) >= 120
    assert len(texts) > 500
    (spoken,) = {text for text in texts if text.startswith("4915560017342")}
    assert spoken
