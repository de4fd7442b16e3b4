"""What a bystander can read of a running gateway: its dead-letter files and its metrics.

Read with the plainest means, not with the gateway's own code: the demo and the stories judge that code.
"""

import json
import re
import stat
from pathlib import Path
from typing import Final

from gateway.simulator.journeys import DeadLetterFile

PREFIX: Final = "meta_gateway_"
_SERIES: Final = re.compile(
    r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)", re.MULTILINE
)
_LABEL: Final = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"')


def read_dead_letters(directory: Path) -> tuple[DeadLetterFile, ...]:
    """Return all dead letters below a directory, by path; one that is not JSON has its error as content."""
    return tuple(_read(directory, path) for path in sorted(directory.glob("*/*/*/*.json")))


def _read(directory: Path, path: Path) -> DeadLetterFile:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        content = {"reason": f"not JSON: {error}"}
    return DeadLetterFile(
        path=path.relative_to(directory).as_posix(), mode=stat.S_IMODE(path.stat().st_mode), content=content
    )


def parse_metrics(text: str) -> dict[str, float]:
    """Return series -> value of a text exposition.

    A key reads `requests_total{app="main",status="200"}`: without the prefix, labels in alphabetical order.
    """
    found = {}
    for match in _SERIES.finditer(text):
        labels = ",".join(sorted(_LABEL.findall(match["labels"] or "")))
        name = match["name"].removeprefix(PREFIX)
        found[f"{name}{{{labels}}}" if labels else name] = float(match["value"])
    return found
