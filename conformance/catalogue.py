"""The zoo as tables for docs/security.md: `python -m conformance.catalogue` writes them there."""

import re
from pathlib import Path
from typing import Final

from conformance.specimen import DoorKind, fate
from conformance.zoo import ZOO

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "security.md"
_PLACE: Final = re.compile(r"(<!-- zoo -->\n)(.*?)(<!-- end of zoo -->\n)", re.DOTALL)


def tables() -> str:
    """Write both tables: what each verdict leads to, and the specimens."""
    verdicts = dict.fromkeys(specimen.verdict for specimen in ZOO)
    lines = ["| reason | `ask` | `demand` | while an app is on `report` |", "|---|---|---|---|"]
    for verdict in verdicts:
        met = [str(fate(verdict, kind).status or "closed") for kind in DoorKind]
        lines.append(f"| {f'`{verdict}`' if verdict else 'none: it is Meta'} | {' | '.join(met)} |")
    lines += ["", f"The {len(ZOO)} specimens:", "", "| client certificate | reason | why |", "|---|---|---|"]
    for one in ZOO:
        lines.append(f"| {one.name} | {f'`{one.verdict}`' if one.verdict else 'admitted'} | {one.why} |")
    return "\n".join(lines) + "\n"


def with_tables(document: str) -> str:
    """Put the tables where the document has its marks."""
    return _PLACE.sub(lambda match: match[1] + "\n" + tables() + "\n" + match[3], document)


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
