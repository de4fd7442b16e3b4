"""Figures on a page, between two marks."""

import pytest

from bench.page import Section

SECTION = Section(begin="<!-- begin -->", end="<!-- end -->")


def test_figures_replace_those_before() -> None:
    page = "above\n<!-- begin -->\nold\n<!-- end -->\nbelow\n"
    once = SECTION.replace(page, "new")
    assert once == "above\n<!-- begin -->\n\nnew\n\n<!-- end -->\nbelow\n"
    assert SECTION.replace(once, "new") == once


@pytest.mark.parametrize("page", ["nothing here", "<!-- end --> <!-- begin -->"])
def test_a_page_without_the_marks_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        SECTION.replace(page, "new")
