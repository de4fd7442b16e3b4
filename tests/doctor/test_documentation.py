"""docs/doctor.md names every finding, and no other."""

import re
from pathlib import Path

from gateway.doctor.advice import ANCHOR_ADVICE

ROOT = Path(__file__).parents[2]


def test_the_page_names_every_code_and_no_other() -> None:
    sources = "\n".join(file.read_text() for file in (ROOT / "gateway/doctor").glob("*.py"))
    codes = set(re.findall(r'\bcode="([a-z_]+)"', sources))
    codes |= {words[0] for advice in ANCHOR_ADVICE for words in (advice.only, advice.beside)}
    page = (ROOT / "docs/doctor.md").read_text()
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = [code for row in rows for code in re.findall(r"`([a-z_]+)`", row)]
    assert len(named) == len(set(named))
    assert set(named) == codes
