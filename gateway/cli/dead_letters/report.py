"""What became of dead letters, told as it happens: there may be more than memory should hold."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from gateway.cli.output import EXIT_FAILED, err, json_text, out, visible_lines


class Report:
    """Prints a line a letter, or the members of a JSON object, and counts."""

    def __init__(self, *, as_json: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._as_json = as_json

    def add(self, identifier: str, word: str, detail: str) -> None:
        """Tell what became of one."""
        if self._as_json:
            separator = "," if self.counts else ""
            content = json_text({"result": word, "detail": detail})
            out(f"{separator}{json.dumps(identifier)}: {content}")
        else:
            out(visible_lines(f"{word}\t{identifier}\t{detail}"))
        self.counts[word] += 1


@contextmanager
def reporting(good: frozenset[str], *, as_json: bool) -> Iterator[Report]:
    """Report; at the end, however it comes, the counts. Exit 1 where a word is none of `good`."""
    report = Report(as_json=as_json)
    if as_json:
        out('{"results": {')
    try:
        yield report
    finally:
        if as_json:
            out(f'}}, "counts": {json.dumps(report.counts)}}}')
        elif report.counts:
            err(", ".join(f"{number} {word.replace('_', ' ')}" for word, number in report.counts.items()))
    if not good.issuperset(report.counts):
        raise typer.Exit(EXIT_FAILED)
