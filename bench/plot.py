"""Bars as SVG: rates by contender, with the slowest and the fastest round. Readable in light and in dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import Final

WIDTH: Final = 860
LEFT: Final = 250
"""Where bars begin; their labels stand before it."""
RIGHT: Final = 110
"""Left free behind the longest bar, for its figure."""
BAR: Final = 22
STEP: Final = 46
HEAD: Final = 46
GAP: Final = 26

# A viewer's scheme decides; without one it is light.
STYLE: Final = """
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #0f172a; }
.page { fill: #ffffff; } .quiet { fill: #475569; } .ours { fill: #1d6f42; } .theirs { fill: #7c8ba1; }
.span { stroke: #0f172a; stroke-width: 1.5; } .grid { stroke: #e2e8f0; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .page { fill: #0d1117; } .quiet { fill: #9da7b3; } .ours { fill: #3fb26f; }
  .theirs { fill: #66758a; } .span { stroke: #e6edf3; } .grid { stroke: #21303f; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One contender."""

    label: str
    note: str
    value: float
    low: float
    high: float
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars with a scale of their own."""

    title: str
    bars: tuple[Bar, ...]


def tick_step(largest: float) -> float:
    """Return a round distance (1, 2 or 5 times a power of ten) that makes three to eight ticks."""
    if largest <= 0:
        return 1.0
    magnitude = 10.0 ** floor(log10(largest))
    return next(step for step in (0.2, 0.5, 1.0, 2.0) if largest / (step * magnitude) <= 8) * magnitude


def draw(panels: Sequence[Panel]) -> str:
    """Return an SVG document."""
    parts: list[str] = []
    top = 0
    for panel in panels:
        parts += _panel(panel, top)
        top += _height(panel)
    described = "; ".join(f"{bar.label}: {bar.value:,.0f}" for panel in panels for bar in panel.bars)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img"'
            ' aria-labelledby="t d">',
            '<title id="t">Rates of the contenders, side by side</title>',
            f'<desc id="d">{escape(described)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{top}" rx="8"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _height(panel: Panel) -> int:
    return HEAD + STEP * len(panel.bars) + GAP


def _panel(panel: Panel, top: int) -> list[str]:
    largest = max((bar.high for bar in panel.bars), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / largest
    bottom = top + HEAD + STEP * len(panel.bars)
    parts = [f'<text x="16" y="{top + 28}" font-size="15" font-weight="600">{escape(panel.title)}</text>']
    step, at = tick_step(largest), 0.0
    while at <= largest:
        x = LEFT + at * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 6}" y2="{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{x:.1f}" y="{bottom + 14}" font-size="11" text-anchor="middle">'
            f"{at:,.0f}</text>"
        )
        at += step
    for number, bar in enumerate(panel.bars):
        parts += _bar(bar, top + HEAD + STEP * number, scale)
    return parts


def _bar(bar: Bar, top: int, scale: float) -> list[str]:
    middle = top + BAR / 2 + 4
    low, high, end = (LEFT + value * scale for value in (bar.low, bar.high, bar.value))
    weight = ' font-weight="600"' if bar.ours else ""
    kind = "ours" if bar.ours else "theirs"
    return [
        f'<text x="{LEFT - 12}" y="{middle - 4:.1f}" font-size="13" text-anchor="end"{weight}>'
        f"{escape(bar.label)}</text>",
        f'<text class="quiet" x="{LEFT - 12}" y="{middle + 10:.1f}" font-size="10.5" text-anchor="end">'
        f"{escape(bar.note)}</text>",
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{max(1.0, end - LEFT):.1f}" height="{BAR}"'
        ' rx="3"/>',
        f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{top + BAR / 2}" y2="{top + BAR / 2}"/>',
        f'<text x="{max(high, end) + 8:.1f}" y="{middle:.1f}" font-size="13"{weight}>{bar.value:,.0f}</text>',
    ]
