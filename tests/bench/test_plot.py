"""The plot."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plot import Bar, Panel, draw, tick_step

SVG = "{http://www.w3.org/2000/svg}"


def bar(label: str, value: float, *, ours: bool = False) -> Bar:
    return Bar(label=label, note="keeps <nothing>", value=value, low=value * 0.9, high=value * 1.1, ours=ours)


def test_bars_are_as_long_as_their_figures_and_text_is_escaped() -> None:
    text = draw([Panel(title="A & B", bars=(bar("one", 1000.0, ours=True), bar("two", 4000.0)))])
    root = ET.fromstring(text)  # noqa: S314 (our own text)
    widths = {
        one.get("class"): float(one.get("width", "0"))
        for one in root.iter(f"{SVG}rect")
        if one.get("class") in ("ours", "theirs")
    }
    assert widths["theirs"] == pytest.approx(4 * widths["ours"], rel=0.01)
    assert "A & B" in [one.text for one in root.iter(f"{SVG}text")]


def test_it_is_readable_in_the_dark() -> None:
    assert "prefers-color-scheme: dark" in draw([Panel(title="t", bars=(bar("one", 1.0),))])


def test_nothing_measured_draws_nothing_and_does_not_fail() -> None:
    ET.fromstring(draw([Panel(title="t", bars=(bar("dead", 0.0),))]))  # noqa: S314 (our own text)


@given(st.floats(min_value=0.01, max_value=1e7))
def test_ticks_are_neither_none_nor_many(largest: float) -> None:
    assert 2.0 <= largest / tick_step(largest) <= 8.01
