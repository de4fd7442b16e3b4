"""Every refusal is counted; logged is what a disk can bear."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.conditions import Grade
from gateway.core.identity import LeafSummary, Reason, Refusal
from gateway.telemetry.line_budget import BURST_LINES as BURST
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.turned_away import RecentlyTurnedAway
from gateway.tls.refusals import LINES_PER_SECOND, RefusalLedger


@dataclass
class Lines:
    """A logger that keeps what it is told."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def debug(self, event: str, **fields: object) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, fields))


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def count(metrics: Metrics, reason: Reason) -> float | None:
    return metrics.registry.get_sample_value(
        "meta_gateway_handshakes_total", {"result": "refused", "reason": reason.value}
    )


def test_a_refusal_says_who_and_why() -> None:
    lines = Lines()
    ledger = RefusalLedger(metrics=Metrics(), log=lines, clock=Clock())
    leaf = LeafSummary(subject="CN=x", issuer="CN=y", serial="2a", sha256="ff")
    refusal = Refusal(reason=Reason.EXPIRED, detail="X509 error 10 at the leaf", leaf=leaf)
    ledger.refused(refusal, address="192.0.2.1", port=4711, connection="c-1")
    assert lines.lines == [
        (
            "warning",
            "handshake_refused",
            {
                "reason": "expired",
                "detail": "X509 error 10 at the leaf",
                "address": "192.0.2.1",
                "port": 4711,
                "subject": "CN=x",
                "issuer": "CN=y",
                "serial": "2a",
                "sha256": "ff",
                "claims": None,
                "staged": None,
                "connection": "c-1",
                "outcome": "closed",
                "suppressed": 0,
            },
        )
    ]


def test_a_scanner_does_not_fill_the_disk_and_does_not_hide_metas_trouble() -> None:
    lines, clock, metrics = Lines(), Clock(), Metrics()
    ledger = RefusalLedger(metrics=metrics, log=lines, clock=clock)
    noise = Refusal(reason=Reason.PROTOCOL, detail="http request")
    for _ in range(10_000):
        ledger.refused(noise, address="192.0.2.1", port=1)
    assert len(lines.lines) == BURST
    ledger.refused(Refusal(reason=Reason.EXPIRED, detail="x"), address="192.0.2.2", port=2)
    assert lines.lines[-1][2]["reason"] == "expired"
    clock.seconds += 1 / LINES_PER_SECOND
    ledger.refused(noise, address="192.0.2.1", port=1)
    assert lines.lines[-1][2]["suppressed"] == 10_000 - BURST
    assert count(metrics, Reason.PROTOCOL) == 10_001


@given(st.lists(st.floats(0, 100), max_size=300))
def test_lines_and_suppressed_ones_add_up_to_the_count(pauses: list[float]) -> None:
    lines, clock = Lines(), Clock()
    ledger = RefusalLedger(metrics=Metrics(), log=lines, clock=clock)
    refusal = Refusal(reason=Reason.TIMEOUT, detail="x")
    for pause in pauses:
        clock.seconds += pause
        ledger.refused(refusal, address="192.0.2.1", port=1)
    assert len(lines.lines) <= BURST + clock.seconds * LINES_PER_SECOND + 1
    clock.seconds += 1000
    ledger.refused(refusal, address="192.0.2.1", port=1)
    told = sum(int(str(fields["suppressed"])) for _, _, fields in lines.lines)
    assert told + len(lines.lines) == len(pauses) + 1


def test_who_bears_the_name_of_a_client_is_counted_besides() -> None:
    """Strangers fill the count of handshakes; an alert must be able to tell Meta from them."""
    metrics = Metrics()
    ledger = RefusalLedger(metrics=metrics, log=Lines(), clock=Clock())
    for claims, would_admit in ((None, None), ("meta", None), ("meta", "meta:0123456789abcdef")):
        refusal = Refusal(reason=Reason.UNKNOWN_ISSUER, detail="x", claims=claims, would_admit=would_admit)
        ledger.refused(refusal, address="192.0.2.1", port=1)
    assert count(metrics, Reason.UNKNOWN_ISSUER) == 3
    for staged in ("yes", "no"):
        labels = {"client": "meta", "reason": "unknown_issuer", "staged": staged}
        assert metrics.registry.get_sample_value("meta_gateway_refused_clients_total", labels) == 1


def test_who_may_be_meta_is_noted_for_the_judge_and_strangers_are_not() -> None:
    seen = RecentlyTurnedAway()
    ledger = RefusalLedger(metrics=Metrics(), log=Lines(), clock=Clock(), turned_away=seen, now_ms=lambda: 7)
    for claims, would_admit in ((None, None), ("meta", None), ("meta", "meta ab12")):
        refusal = Refusal(reason=Reason.UNKNOWN_ISSUER, detail="x", claims=claims, would_admit=would_admit)
        ledger.refused(refusal, address="192.0.2.1", port=1, connection="c-1")
        ledger.refused(refusal, address="192.0.2.1", port=1, connection="c-1", goes_on=True)
    assert [(one.app, one.word, one.grade, one.times_ms) for one in seen.all()] == [
        ("", "unknown_issuer", Grade.CLAIMED, [7]),
        ("", "unknown_issuer", Grade.PROVED, [7]),
    ]
