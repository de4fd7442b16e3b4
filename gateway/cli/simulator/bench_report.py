"""What `gateway bench` prints: the figures, for people."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from gateway.core.sizes import say_size
from gateway.simulator.answers import explain_status
from gateway.simulator.bench.figures import REPLIES, Figures, tell_ms
from gateway.simulator.bench.latencies import MEDIAN_BAR_MS
from gateway.simulator.bench.receiver import Verified

_BAR_CHARACTERS: Final = 40
_LABEL_CHARACTERS: Final = 12
_TEXT_CHARACTERS: Final = 64


def lines(figures: Figures) -> Iterator[str]:
    """Write the report; at most 80 columns but for what cannot be broken."""
    tally, wanted = figures.tally, figures.wanted
    processes = f", {wanted.processes} processes" if wanted.processes > 1 else ""
    yield wanted.url
    yield f"{wanted.rate:g}/s for {wanted.seconds:g} s, {wanted.connections} connections{processes}"
    yield ""
    yield _row("due", f"{tally.due} notifications in {tally.seconds:.1f} s")
    yield _row(
        "answered 200",
        f"{tally.accepted} ({figures.reached:.1f}/s), {tally.changes} changes, {say_size(tally.sent_bytes)}",
    )
    yield from _failures(figures)
    if tally.kinds:
        kinds = ", ".join(f"{kind}\xa0{number}" for kind, number in sorted(tally.kinds.items()))
        yield from _wrapped("kinds", kinds)
    yield ""
    percentiles = {**figures.percentiles_ms(), "max": tally.slowest_us / 1000}
    told = [f"{name}\xa0{tell_ms(value)}".replace(" ", "\xa0") for name, value in percentiles.items()]
    yield from _wrapped("latency", "  ".join(told))
    yield _row("", "(from when a request was due, waiting for a connection included)")
    yield ""
    yield from _histogram(figures)
    if figures.verified is not None:
        yield from _verified(figures.verified)
    yield ""
    yield from _verdict(figures)


def _failures(figures: Figures) -> Iterator[str]:
    tally = figures.tally
    for status, number in sorted(tally.statuses.items()):
        if status != 200:
            yield from _wrapped(f"answered {status}", f"{number}: {explain_status(status)}")
    for fault, number in tally.faults.items():
        yield from _wrapped("failed", f"{number}: {fault}")
    missing = figures.failed - tally.unsent - (tally.answered - tally.accepted) - sum(tally.faults.values())
    if missing > 0:
        yield _row("cut off", f"{missing} that were under way at the end")


def _histogram(figures: Figures) -> Iterator[str]:
    rows = figures.histogram()
    most = max((number for _, number in rows), default=0)
    for edge, number in rows:
        label = f"<= {edge:g} ms" if edge is not None else "slower"
        bar = "#" * max(1 if number else 0, round(_BAR_CHARACTERS * number / most))
        share = number / figures.tally.accepted
        yield f"{label:>{_LABEL_CHARACTERS}}  {number:>9}  {share:>6.1%}  {bar}".rstrip()
        if edge == MEDIAN_BAR_MS and rows[-1][0] != edge:
            yield " " * _LABEL_CHARACTERS + "  - - - Meta's bar for the median - - -"


def _verified(verified: Verified) -> Iterator[str]:
    yield ""
    yield _row(
        "verify",
        f"{verified.expected} changes expected, {verified.arrived} arrived, {verified.lost} lost,"
        f" {verified.duplicates} duplicates",
    )
    yield _row("", f"in {verified.posts} POSTs")
    if verified.foreign:
        yield from _wrapped(
            "",
            f"{verified.foreign} POSTs held something else, and were answered 503: the gateway keeps it"
            " for the real target",
        )
    if verified.unanswered:
        yield from _wrapped(
            "", f"{verified.unanswered} arrived though their notification got no 200: allowed"
        )
    if verified.strays:
        yield from _wrapped(
            "",
            f"{verified.strays} arrived that the routes of this configuration give to others: the gateway"
            " runs on another one",
        )
    if verified.lost and not verified.posts:
        yield from _wrapped(
            "",
            "nothing came at all: does the gateway know this target (reload it after a change), and does it"
            " reach the address? gateway status shows what waits for it, and why",
        )
    elif verified.lost:
        yield from _wrapped(
            "",
            "what is not there may still be on its way: gateway targets list shows what waits, and"
            " gateway dead-letters list what was given up",
        )
    if verified.duplicates:
        yield from _wrapped("", "delivery is at least once: consumers tell repeats by Idempotency-Key")


def _verdict(figures: Figures) -> Iterator[str]:
    if figures.interrupted:
        yield "interrupted: the figures are those so far"
    elif figures.ended:
        yield f"ended early: {figures.ended}"
    if figures.passed:
        yield from _wrapped(
            "PASS",
            f"covers {figures.quota:.0f} messages/s of sending quota (3 x sent + 1 x received, with"
            f" {REPLIES:.0%} replies)",
        )
    for failure in figures.failures():
        yield from _wrapped("FAIL", failure)
    for remark in figures.remarks():
        yield from _wrapped("note", remark)


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL_CHARACTERS}}  {text}"


def _wrapped(label: str, text: str) -> Iterator[str]:
    # A no-break space holds a name and its number together, and is none where it is printed.
    for position, line in enumerate(wrap(text, _TEXT_CHARACTERS, break_long_words=False)):
        yield _row(label if not position else "", line.replace("\xa0", " "))
