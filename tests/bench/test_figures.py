"""Medians and ratios."""

import pytest

from bench.contenders import CONTENDERS
from bench.figures import Figure, figures
from tests.bench.conftest import Measured


def by_name(found: list[Figure]) -> dict[str, Figure]:
    return {one.name: one for one in found}


def test_a_ratio_is_made_within_each_round(measured: Measured) -> None:
    """A round in which the machine was slow for all does not move it."""
    found = by_name(
        figures(
            CONTENDERS,
            [
                *(measured("gateway", n, rate) for n, rate in enumerate((6000.0, 600.0, 6600.0))),
                *(measured("uvicorn", n, rate) for n, rate in enumerate((12000.0, 1000.0, 12000.0))),
            ],
        )
    )
    assert found["uvicorn"].ratio == pytest.approx(0.55)
    assert found["uvicorn"].accepted_per_second == 12000.0
    assert (found["uvicorn"].low, found["uvicorn"].high) == (1000.0, 12000.0)
    assert found["gateway"].ratio is None


def test_what_was_not_delivered_in_time_or_not_taken_is_told(measured: Measured) -> None:
    found = by_name(
        figures(
            CONTENDERS,
            [
                measured("gateway", 0, 1000.0, delivered=4990, bad=2),
                measured("gateway", 1, 1000.0, delivered=5003),
            ],
        )
    )
    assert found["gateway"].undelivered == 10
    assert found["gateway"].bad == 2


@pytest.mark.parametrize(("gateway", "verdict"), [(999.0, "below"), (5000.0, "floor"), (10000.0, "aim")])
def test_a_verdict_says_whether_floor_and_aim_are_met(
    measured: Measured, gateway: float, verdict: str
) -> None:
    found = figures(CONTENDERS, [measured("gateway", 0, gateway), measured("hypercorn", 0, 1000.0)])
    assert by_name(found)["hypercorn"].verdict == verdict


def test_handshakes_are_figures_of_their_own(measured: Measured) -> None:
    found = figures(
        CONTENDERS,
        [
            measured("gateway", 0, 500.0, kind="handshake"),
            measured("nginx", 0, 1000.0, kind="handshake"),
            measured("nginx", 0, 20000.0),
        ],
    )
    assert [(one.name, one.kind, one.ratio) for one in found] == [
        ("nginx", "keep-alive", None),
        ("gateway", "handshake", None),
        ("nginx", "handshake", 0.5),
    ]
