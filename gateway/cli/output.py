"""How commands talk: results to stdout, everything else to stderr; exit codes; the global options."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
"""Failed while running."""
EXIT_USAGE: Final = 2
"""Wrong usage or configuration."""
EXIT_INTERRUPTED: Final = 130
"""By Ctrl-C: 128 and the number of SIGINT, as shells have it."""

DEFAULT_CONFIG: Final = Path("config/gateway.yaml")


@dataclass(slots=True)
class GlobalOptions:
    """What stands before the command: set once by the main callback."""

    config: Path = DEFAULT_CONFIG


options = GlobalOptions()


def out(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")


def out_json(value: object) -> None:
    """Print a result for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def err(text: str) -> None:
    """Print what is not the result: progress, remarks, complaints."""
    sys.stderr.write(text + "\n")
