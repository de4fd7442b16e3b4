"""The page of fields is what the table says."""

from pathlib import Path

from gateway.cli.fields.page import render_page

PAGE = Path(__file__).parents[3] / "docs/fields.md"


def test_the_committed_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == render_page(), "write it anew: python -m gateway.cli.fields.page"
