"""Judge: does Meta still send? By what the running gateway makes of its gap ledger. Pure."""

from collections.abc import Iterator
from typing import Final

from gateway.doctor.finding import Area, Finding, Level
from gateway.doctor.observed import LEDGER, Observations
from gateway.doctor.reading import mappings, text, texts

_SILENT: Final = "meta_silent"


def judge_silence(seen: Observations) -> Iterator[Finding]:
    """Tell of suspicious silences alone: refusals and targets have judges of their own."""
    ledger = seen.running.content(LEDGER) if seen.running is not None else None
    if ledger is None:
        return
    for one in mappings(ledger, "conditions"):
        if text(one, "condition") == _SILENT:
            yield Finding(
                code="meta_silent",
                level=Level.PROBLEM,
                area=Area.CLIENTS,
                what=text(one, "summary"),
                why="; ".join(texts(one, "evidence")),
                remedy="; ".join(
                    step for step in texts(one, "next_steps") if not step.startswith("gateway doctor")
                ),
            )
