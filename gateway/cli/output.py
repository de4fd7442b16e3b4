"""How commands talk: results to stdout, everything else to stderr; exit codes; the global options."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.telemetry.redaction import visible

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
"""Failed while running."""
EXIT_USAGE: Final = 2
"""Wrong usage or configuration."""
EXIT_INTERRUPTED: Final = 130
"""By Ctrl-C: 128 and the number of SIGINT, as shells have it."""

_STEERING: Final = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""DEL and C1 (0x9B begins a sequence as ESC [ does), separators of lines, what turns the direction of text;
surrogates alone, which UTF-8 cannot write."""

DEFAULT_CONFIG: Final = Path("config/gateway.yaml")


@dataclass(slots=True)
class GlobalOptions:
    """What stands before the command: set once by the main callback."""

    config: Path = DEFAULT_CONFIG
    chosen: bool = False
    """`--config` stood after the command, which goes before what stood in front of it."""


options = GlobalOptions()


def out(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")


def out_json(value: object) -> None:
    """Print a result for scripts."""
    out(json_text(value, indent=2))


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write JSON that steers no terminal: strangers' texts hold anything, and JSON escapes C0 alone."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def err(text: str) -> None:
    """Print what is not the result: progress, remarks, complaints. They may quote anybody: no text steers a
    terminal."""
    sys.stderr.write(visible_lines(text) + "\n")


def visible_lines(text: str) -> str:
    """Escape what could steer a terminal; line ends and tabs stay."""
    return "".join(part if part in "\n\t" else visible(part) for part in re.split(r"([\n\t])", text))
