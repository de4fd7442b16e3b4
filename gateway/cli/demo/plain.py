"""The demo in a pipe: plain lines as things happen, or one JSON object at the end."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from gateway.cli.output import out, out_json
from gateway.simulator.journeys import DeadLetterFile, Journey, State
from gateway.simulator.report import Addresses, Report, Step
from gateway.simulator.scenario import CALLBACK_PATH, TARGETS
from gateway.simulator.target import Received


def tell_end(journey: Journey) -> str:
    """Tell how a delivery ended."""
    if journey.end in {"delivered", ""}:
        return journey.end or "under way"
    return f"dead letter: {journey.end}"


def tell_answers(journey: Journey) -> list[tuple[int, str]]:
    """Tell what the target answered, status by status; what repeats more than twice is counted."""
    told = []
    for status, repeated in groupby(journey.answers):
        times = len(list(repeated))
        told += [(status, f"{times} x {status}")] if times > 2 else [(status, str(status))] * times
    return told


def tell_why(journey: Journey) -> str:
    """Tell why it went there, and how much of the notification."""
    return f"{journey.share}, {journey.because}" if journey.share else journey.because


def tell_dead_letter(letter: DeadLetterFile) -> str:
    """Tell what a dead letter holds, without the values in it."""
    content = letter.content
    attempts = content.get("attempts", [])
    words = [str(content.get("reason"))]
    if attempts:
        last = attempts[-1]
        words.append(
            f"{len(attempts)} {'attempt' if len(attempts) == 1 else 'attempts'}, the last answered"
            f" {last.get('status') or last.get('error')}"
        )
    fields = ", ".join(content.get("fields", [])) or "no changes"
    words.append(f"{fields} of {content.get('object')}" if content.get("object") else fields)
    words.append(f"{len(letter.body)} bytes, {'sealed' if content.get('integrity') else 'not sealed'}")
    return "; ".join(words)


def tell_counts(report: Report) -> str:
    """Tell how much was played."""
    delivered = sum(journey.end == "delivered" for journey in report.journeys)
    return (
        f"{len(report.steps)} checks, {len(report.journeys)} deliveries ({delivered} delivered,"
        f" {len(report.dead_letters)} dead letters), {report.seconds:.1f} s"
    )


def tell_addresses(addresses: Addresses) -> list[tuple[str, str]]:
    """List what is running, and what can be tried with it."""
    ca = addresses.pki.server_ca
    base = f"gateway --config {addresses.config}"
    certificate = f"--cert {addresses.pki.client_certificate} --key {addresses.pki.client_key}"
    challenge = f"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={addresses.verify_token}"
    return [
        ("callback URL", addresses.callback_url),
        ("admin port", f"{addresses.admin_url}/readyz  {addresses.admin_url}/metrics"),
        *((f"target {name}", f"{url}  ({TARGETS[name][1]})") for name, url in addresses.targets.items()),
        ("configuration", str(addresses.config)),
        ("dead letters", str(addresses.dead_letters)),
        ("log", str(addresses.log)),
        ("play Meta", f"{base} send --field messages"),
        ("explain", f"{base} routes --field security"),
        ("verify", f"curl --cacert {ca} '{addresses.callback_url}?{challenge}'"),
        ("refused", f"curl --cacert {ca} {certificate} -d '{{}}' {addresses.callback_url}"),
    ]


class PlainTeller:
    """Lines without escapes: `ok` or `FAIL`, then what happened."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def stage(self, title: str, sense: str) -> None:
        _tell(f"\n{title}: {sense}")

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        for name, told in facts:
            _tell(f"  {name}: {told}")

    def step(self, step: Step) -> None:
        took = f" ({step.milliseconds:.0f} ms)" if step.milliseconds is not None else ""
        difference = "" if step.ok else f"; expected {step.expected}"
        _tell(f"  {_mark(step.ok)} {step.what}: {step.happened}{took}{difference}")

    def journeys(self, journeys: tuple[Journey, ...], *, final: bool) -> None:
        for journey in journeys:
            key = (journey.label, journey.target)
            if key in self._told or (journey.state is State.UNDER_WAY and not final):
                continue
            self._told.add(key)
            answers = f" ({', '.join(told for _, told in tell_answers(journey))})" if journey.answers else ""
            difference = f"; {journey.difference}" if journey.difference else ""
            _tell(
                f"  {_mark(journey.state is State.AS_EXPECTED)} {journey.label} -> {journey.target}:"
                f" {tell_end(journey)}{answers}; why: {tell_why(journey)}{difference}"
            )

    def dead_letters(self, letters: tuple[DeadLetterFile, ...]) -> None:
        for letter in letters:
            _tell(f"  {letter.path}\n      {tell_dead_letter(letter)}")

    def summary(self, report: Report) -> None:
        if report.ok:
            _tell(f"\nEverything happened as it should: {tell_counts(report)}.")
            return
        _tell(f"\nNOT everything happened as it should: {tell_counts(report)}.")
        for difference in report.differences:
            _tell(f"  - {difference}")
        for line in report.log_tail:
            _tell(f"  log: {line}")

    def serving(self, addresses: Addresses, report: Report) -> None:
        self.summary(report)
        _tell("\nStill running; Ctrl-C ends it:")
        for name, value in tell_addresses(addresses):
            _tell(f"  {name + ':':<18} {value}")

    def received(self, target: str, received: Received) -> None:
        _tell(f"  {tell_received(target, received)}")

    def close(self) -> None:
        pass


def tell_received(target: str, received: Received) -> str:
    """Tell what a target got."""
    signature = "signature fits" if received.signature_fits else "signature does NOT fit"
    return (
        f"{target} got {len(received.body)} bytes of {received.notification_id}, attempt {received.attempt}"
        f" ({signature}), answered {received.status}"
    )


def _tell(text: str) -> None:
    out(text)
    sys.stdout.flush()  # a pipe is buffered, and whoever reads wants it as it happens


def _mark(ok: bool) -> str:
    return "ok  " if ok else "FAIL"


class JsonTeller:
    """Nothing until the end; then everything in one object."""

    def stage(self, title: str, sense: str) -> None:
        pass

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def journeys(self, journeys: tuple[Journey, ...], *, final: bool) -> None:
        pass

    def dead_letters(self, letters: tuple[DeadLetterFile, ...]) -> None:
        pass

    def summary(self, report: Report) -> None:
        out_json(_plain(report))

    def serving(self, addresses: Addresses, report: Report) -> None:
        out_json(
            _plain(report)
            | {
                "addresses": {
                    "callback_url": addresses.callback_url,
                    "callback_path": CALLBACK_PATH,
                    "admin_url": addresses.admin_url,
                    "targets": dict(addresses.targets),
                    "config": str(addresses.config),
                    "dead_letters": str(addresses.dead_letters),
                    "log": str(addresses.log),
                }
            }
        )

    def received(self, target: str, received: Received) -> None:
        pass

    def close(self) -> None:
        pass


def _plain(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "seconds": round(report.seconds, 3),
        "differences": list(report.differences),
        "steps": [dataclasses.asdict(step) for step in report.steps],
        "deliveries": [dataclasses.asdict(journey) for journey in report.journeys],
        "dead_letters": [{"path": one.path, **_without_body(one.content)} for one in report.dead_letters],
        "log_tail": list(report.log_tail),
    }


def _without_body(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in {"body", "body_base64"}}
