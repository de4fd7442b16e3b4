"""`make conformance`: the public port as programs of others see it. `--help` says what can be chosen."""

import argparse
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

from conformance.clients import PROGRAMS
from conformance.http_clients import examine_http
from conformance.outcome import Outcome, tell
from conformance.scanners import examine_tls
from conformance.slowness import examine_slowness
from conformance.visits import visit_all

Section = Callable[[Path], AsyncGenerator[Outcome, None]]

SECTIONS: Final[Mapping[str, Section]] = {
    "zoo": lambda directory: visit_all(directory, PROGRAMS),
    "http": examine_http,
    "slow": examine_slowness,
    "tls": examine_tls,
}


async def _examine(names: Sequence[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="gateway-conformance-") as directory:
            async for outcome in SECTIONS[name](Path(directory)):
                sys.stderr.write(f"{outcome.state.value}: {outcome.section}: {outcome.name}\n")
                outcomes.append(outcome)
    return outcomes


def main() -> int:
    """Run what was chosen, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(SECTIONS), help="this section; may be repeated (default: all)"
    )
    chosen = parser.parse_args().only or list(SECTIONS)
    return tell(trio.run(_examine, chosen))


sys.exit(main())
