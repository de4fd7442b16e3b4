"""Figures on a page of the documentation, between two marks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Where on a page the figures of one measurement stand; the marks stay."""

    begin: str
    end: str

    def replace(self, page: str, figures: str) -> str:
        """Put them between the marks. ValueError: the page has none."""
        before, begin, rest = page.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"the page has no {self.begin} ... {self.end}")
        return f"{before}{begin}\n\n{figures}\n\n{end}{after}"

    def rewrite(self, page: Path, figures: str) -> None:
        """Do so in the file."""
        page.write_text(self.replace(page.read_text(), figures))


def store(result: Path, found: Mapping[str, Any]) -> None:
    """Write what was measured as JSON."""
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(found, indent=1) + "\n")
