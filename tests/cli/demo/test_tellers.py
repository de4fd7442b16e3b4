"""How the demo is told, on a terminal and in a pipe: above all when something is not as it should be."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from gateway.cli.demo.command import Teller
from gateway.cli.demo.plain import JsonTeller, PlainTeller
from gateway.cli.demo.screen import ScreenTeller
from gateway.simulator.journeys import DeadLetterFile, Journey, State
from gateway.simulator.report import Report, Step

GOOD = Step(
    stage="Gateway", what="process 7", happened="ready", expected="ready", ok=True, milliseconds=612.4
)
BAD = Step(stage="Refusals", what="a forged signature", happened="200", expected="401", ok=False)


def journey(target: str, state: State, *answers: int, end: str = "", difference: str = "") -> Journey:
    return Journey(
        label="Test",
        target=target,
        answers=answers,
        end=end,
        because="route 6",
        share="1 of 4 changes",
        state=state,
        difference=difference,
    )


JOURNEYS = (
    journey("pager", State.UNDER_WAY, 500, 500, 500, 500),
    journey("archive", State.AS_EXPECTED, 503, 503, 200, end="delivered"),
    journey("billing", State.DIFFERS, 422, end="refused", difference="ended as refused, not as delivered"),
)
LETTER = DeadLetterFile(
    path="billing/2026-11-22/09/n-billing.json",
    mode=0o600,
    content={
        "reason": "refused",
        "attempts": [{"status": 422}],
        "fields": ["security"],
        "object": "page",
        "body": '{"secret content": 1}',
        "integrity": "sha256=00",
    },
)
FAILED = Report(
    steps=(GOOD, BAD),
    journeys=JOURNEYS,
    dead_letters=(LETTER,),
    differences=("Refusals: a forged signature: 200; expected 401",),
    seconds=3.21,
    log_tail=('{"event": "listening"}',),
)


def tell_all(teller: Teller) -> None:
    teller.stage("Gateway", "a real process")
    teller.facts((("support", "takes everything"),))
    teller.step(GOOD)
    teller.stage("Refusals", "who is not let in")
    teller.step(BAD)
    teller.stage("Deliveries", "where everything went, and why")
    teller.journeys(JOURNEYS, final=False)
    teller.journeys(JOURNEYS, final=True)
    teller.dead_letters((LETTER,))
    teller.close()
    teller.summary(FAILED)


def test_plain_lines_tell_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    tell_all(PlainTeller())
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Gateway: a real process",
        "  support: takes everything",
        "  ok   process 7: ready (612 ms)",
        "",
        "Refusals: who is not let in",
        "  FAIL a forged signature: 200; expected 401",
        "",
        "Deliveries: where everything went, and why",
        "  ok   Test -> archive: delivered (503, 503, 200); why: 1 of 4 changes, route 6",
        "  FAIL Test -> billing: dead letter: refused (422); why: 1 of 4 changes, route 6;"
        " ended as refused, not as delivered",
        "  FAIL Test -> pager: under way (4 x 500); why: 1 of 4 changes, route 6",
        "  billing/2026-11-22/09/n-billing.json",
        "      refused; 1 attempt, the last answered 422; security of page; 21 bytes, sealed",
        "",
        "NOT everything happened as it should: 2 checks, 3 deliveries (1 delivered, 1 dead letters), 3.2 s.",
        "  - Refusals: a forged signature: 200; expected 401",
        '  log: {"event": "listening"}',
    ]


@pytest.mark.parametrize(("width", "told"), [(80, False), (120, True)])
def test_a_narrow_terminal_has_the_routes_by_their_numbers(width: int, told: bool) -> None:
    screen = io.StringIO()
    teller = ScreenTeller(Console(file=screen, width=width, color_system=None))
    because = "route 3 (field account_* or business_*); route 5 (field account_update)"
    one = dataclasses.replace(JOURNEYS[1], target="accounts", because=because)
    teller.journeys((one,), final=True)
    shown = " ".join(screen.getvalue().split())
    assert "1 of 4 changes, route 3" in shown
    assert "route 5" in shown
    assert ("account_update" in shown) is told


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    screen = io.StringIO()
    teller = ScreenTeller(Console(file=screen, width=80, color_system=None))
    teller.step(dataclasses.replace(GOOD, happened="O=" + "x" * 100 + ",C=US"))
    teller.close()
    assert "…" not in screen.getvalue()
    assert ",C=US" in "".join(screen.getvalue().split())


@pytest.mark.parametrize("width", [60, 100, 200])
def test_a_terminal_shows_the_same(width: int) -> None:
    screen = io.StringIO()
    tell_all(
        ScreenTeller(Console(file=screen, width=width, height=50, force_terminal=True, color_system=None))
    )
    shown = " ".join(screen.getvalue().split())
    for expected in ("process 7", "ready", "forged", "expected 401", "4 x 500", "2 of 3 settled", "support"):
        assert expected in shown
    assert "billing/2026-11-22/09/n-billing.json" in shown
    assert "NOT everything happened as it should" in shown
    assert "listening" in shown


def test_json_tells_everything_but_the_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    tell_all(JsonTeller())
    out = capsys.readouterr().out
    told = json.loads(out)
    assert told["ok"] is False
    assert told["differences"] == list(FAILED.differences)
    assert told["log_tail"] == list(FAILED.log_tail)
    assert told["dead_letters"][0]["path"] == LETTER.path
    assert "secret content" not in out
