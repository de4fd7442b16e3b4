"""The judge of the demo: content with what should be, and with nothing else."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.routing import UNROUTED
from gateway.core.signature import sign
from gateway.simulator.journeys import DeadLetterFile, Evidence, Journey, State, judge, strays
from gateway.simulator.payloads import as_meta_writes
from gateway.simulator.scenario import APP, Expected, Line, Notification
from gateway.simulator.target import Received

CHANGES = [{"field": "messages", "value": {"a": 1}}, {"field": "security", "value": {"b": "ä"}}]


def envelope(*changes: dict[str, Any]) -> bytes:
    return as_meta_writes({"object": "whatsapp_business_account", "entry": [{"id": "7", "changes": changes}]})


BODY = envelope(*CHANGES)
CUT = envelope(CHANGES[0])


def notification(*deliveries: Expected, body: bytes = BODY) -> Notification:
    return Notification(line=Line(label="two changes", sample="", deliveries=deliveries), body=body)


def received(body: bytes, *, status: int = 200, attempt: int = 1, target: str = "support") -> Received:
    headers = {
        "gateway-app": APP,
        "gateway-notification": "n1",
        "gateway-attempt": str(attempt),
        "idempotency-key": f"n1-{target}",
        "x-hub-signature-256": sign(b"secret", body),
    }
    return Received(path=f"/{target}", headers=headers, body=body, signature_fits=True, status=status)


def letter(target: str, reason: str, body: bytes, *, attempts: int = 1, **more: Any) -> DeadLetterFile:
    content = {
        "id": f"n1-{target}",
        "notification_id": "n1",
        "target": target,
        "reason": reason,
        "attempts": [{}] * attempts,
        "body_base64": base64.b64encode(body).decode(),
    }
    return DeadLetterFile(path=f"{target}/2026-11-22/09/n1-{target}.json", mode=0o600, content=content | more)


ARCHIVED = received(BODY, target="archive")
TO_SUPPORT = Expected(target="support", fields=("messages",))
RECOVERS = Expected(target="support", fields=("messages",), answers=(503, 503, 200))
REFUSED = Expected(target="support", fields=("messages",), answers=(422,), end="refused")
GIVES_UP = Expected(target="support", fields=("messages",), answers=(500,), end="gave_up")
LOST = Expected(target=UNROUTED, fields=("messages", "security"), answers=(), end="unrouted")


def one_journey(
    expected: Expected, *got: Received, letters: tuple[DeadLetterFile, ...] = (), because: str = "route 1"
) -> Journey:
    evidence = Evidence(received={"archive": [ARCHIVED], "support": got}, dead_letters=letters)
    (journey,) = judge([notification(expected)], evidence, because=lambda _sent, _target: because)
    return journey


def test_what_is_delivered_as_expected_is_as_expected() -> None:
    journey = one_journey(TO_SUPPORT, received(CUT))
    assert (journey.state, journey.end, journey.answers) == (State.AS_EXPECTED, "delivered", (200,))
    assert journey.because == "route 1"
    assert journey.share == "1 of 2 changes"


def test_a_recovery_shows_all_its_attempts() -> None:
    attempts = [received(CUT, status=status, attempt=n) for n, status in enumerate((503, 503, 200), start=1)]
    assert one_journey(RECOVERS, *attempts).state is State.AS_EXPECTED
    assert one_journey(RECOVERS, *attempts[:2]).state is State.UNDER_WAY
    assert one_journey(RECOVERS).state is State.UNDER_WAY


def test_a_refusal_and_a_surrender_need_their_dead_letter() -> None:
    refused = received(CUT, status=422)
    assert one_journey(REFUSED, refused).state is State.UNDER_WAY
    buried = one_journey(REFUSED, refused, letters=(letter("support", "refused", CUT),))
    assert (buried.state, buried.end) == (State.AS_EXPECTED, "refused")
    failures = [received(CUT, status=500, attempt=n) for n in (1, 2, 3, 4)]
    gave_up = letter("support", "gave_up", CUT, attempts=4)
    assert one_journey(GIVES_UP, *failures, letters=(gave_up,)).state is State.AS_EXPECTED


def test_what_no_route_takes_is_a_dead_letter_with_the_original_bytes() -> None:
    evidence = Evidence(received={}, dead_letters=[letter(UNROUTED, "unrouted", BODY, attempts=0)])
    (journey,) = judge([notification(LOST)], evidence, because=lambda *_: "no route takes it")
    assert journey.state is State.AS_EXPECTED


Break = Callable[[Received], Received]


@pytest.mark.parametrize(
    ("broken", "difference"),
    [
        (lambda one: replace(one, signature_fits=False), "X-Hub-Signature-256 does not fit"),
        (lambda one: replace(one, headers={**one.headers, "gateway-app": "other"}), "Gateway-App"),
        (lambda one: replace(one, headers={**one.headers, "gateway-attempt": "2"}), "Gateway-Attempt"),
        (lambda one: replace(one, headers={**one.headers, "idempotency-key": ""}), "Idempotency-Key"),
        (lambda one: replace(one, body=BODY), r"carries \['messages', 'security'\]"),
        (lambda one: replace(one, body=envelope(CHANGES[1])), r"carries \['security'\]"),
        (lambda one: replace(one, body=CUT.replace(b'{"a":1}', b'{"a": 1}')), "byte-identical"),
        (lambda one: replace(one, body=CUT.replace(b'{"a":1}', b'{"a":2}')), "byte-identical"),
        (lambda one: replace(one, status=201), r"answers \[201\], expected \[200\]"),
    ],
)
def test_whatever_is_wrong_with_a_request_is_told(broken: Break, difference: str) -> None:
    journey = one_journey(TO_SUPPORT, broken(received(CUT)))
    assert journey.state is State.DIFFERS
    assert re.search(difference, journey.difference), journey.difference


@pytest.mark.parametrize(
    ("broken", "difference"),
    [
        (letter("support", "gave_up", CUT), "ended as gave_up, not as refused"),
        (replace(letter("support", "refused", CUT), mode=0o644), "mode is 644"),
        (replace(letter("support", "refused", CUT), path="support/x.json"), "not named by its id"),
        (letter("support", "refused", CUT, attempts=3), "tells of 3 attempts, not 1"),
        (letter("support", "refused", envelope(CHANGES[1])), "carries ['security']"),
    ],
)
def test_whatever_is_wrong_with_a_dead_letter_is_told(broken: DeadLetterFile, difference: str) -> None:
    journey = one_journey(REFUSED, received(CUT, status=422), letters=(broken,))
    assert journey.state is State.DIFFERS
    assert difference in journey.difference


def test_a_dead_letter_instead_of_a_delivery_differs() -> None:
    journey = one_journey(TO_SUPPORT, letters=(letter("support", "unrouted", CUT, attempts=0),))
    assert journey.state is State.DIFFERS
    assert "ended as unrouted, not as delivered" in journey.difference


def test_a_journey_that_no_route_explains_differs() -> None:
    assert one_journey(TO_SUPPORT, received(CUT), because="").difference == "no route explains it"


def test_the_archive_must_have_the_original_bytes() -> None:
    expected = Expected(target="archive", fields=("messages", "security"))
    evidence = Evidence(received={"archive": [ARCHIVED]}, dead_letters=[])
    (journey,) = judge([notification(expected)], evidence, because=lambda *_: "route 7")
    assert journey.state is State.AS_EXPECTED


def test_strays_are_what_nobody_expected() -> None:
    sent = [notification(TO_SUPPORT, Expected(target="archive", fields=("messages", "security")))]
    calm = Evidence(received={"archive": [ARCHIVED], "support": [received(CUT)]}, dead_letters=[])
    assert strays(sent, calm) == ()
    astray = Evidence(
        received={
            "archive": [ARCHIVED],
            "support": [received(CUT)],
            "pager": [received(CUT, target="pager")],
        },
        dead_letters=[letter("support", "refused", CUT)],
    )
    found = strays(sent, astray)
    assert found[0] == "pager received n1, which is not for it"


def test_the_same_bytes_stored_twice_are_a_stray() -> None:
    again = replace(ARCHIVED, headers={**ARCHIVED.headers, "gateway-notification": "n2"})
    sent = [notification(TO_SUPPORT, Expected(target="archive", fields=("messages", "security")))]
    found = strays(sent, Evidence(received={"archive": [ARCHIVED, again]}, dead_letters=[]))
    assert found == ("two changes: stored 2 times, under different ids",)


def test_a_dead_letter_of_a_notification_that_was_never_sent_is_a_stray() -> None:
    evidence = Evidence(received={}, dead_letters=[letter("pager", "gave_up", b"other")])
    assert strays([notification(TO_SUPPORT)], evidence) == (
        "pager/2026-11-22/09/n1-pager.json is a dead letter that nobody expected",
    )
