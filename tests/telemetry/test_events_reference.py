"""docs/events.md is the table of events."""

from pathlib import Path

from gateway.telemetry.events import EVENTS, SECTIONS
from gateway.telemetry.events_reference import render_events_reference, sections

PAGE = Path(__file__).parent.parent.parent / "docs" / "events.md"


def test_the_page_in_docs_is_the_one_that_the_table_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_events_reference(), (
        "python -m gateway.telemetry.events_reference"
    )


def test_every_event_stands_under_a_heading() -> None:
    assert SECTIONS.keys() <= EVENTS.keys()
    found = list(sections())
    assert [name for _, names in found for name in names] == list(EVENTS)
    assert [title for title, _ in found] == list(SECTIONS.values())
