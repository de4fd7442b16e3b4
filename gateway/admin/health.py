"""Is the gateway ready? One check a line, each with its reason; no target is among them. Pure.

A failing target never makes the gateway unready: its deliveries wait on disk, while a gateway that no load
balancer asks would have Meta wait instead (contract, section 6).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from gateway.core.sizes import say_size

if TYPE_CHECKING:  # the commands read what is here, and need nothing of the spool
    from gateway.spool.contract import Room


WARN_DAYS: Final = 14
"""A certificate that ends within so many days is named: renewal at 30 days before has failed by then."""

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `/readyz`."""

    ok: bool
    detail: str = ""
    """Why not, or what to look after soon."""


Health = Callable[[], Mapping[str, Check] | Awaitable[Mapping[str, Check]]]
"""Asked at every `/readyz`; waits for other processes of the gateway alone, and not for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTerm:
    """When one certificate of the configuration is valid (Unix, milliseconds)."""

    name: str
    role: Literal["server", "anchor", "staged"]
    not_before_ms: int
    not_after_ms: int
    subject: str = ""
    """RFC 4514."""


def judge(
    *,
    listening: bool,
    draining: bool,
    room: "Room",
    certificates: Sequence[CertificateTerm],
    now_ms: int,
    reload_refused: str = "",
) -> Mapping[str, Check]:
    """Judge everything that readiness depends on; and tell of a reload that was refused (`reload_refused`, a
    sentence), which takes nothing away: what was loaded before it serves on."""
    return {
        "listener": Check(ok=listening, detail="" if listening else "not listening"),
        "spool": Check(ok=room.writable, detail="" if room.writable else room.detail),
        "free_space": _free_space(room),
        "certificates": judge_certificates(certificates, now_ms=now_ms),
        "draining": Check(ok=not draining, detail="about to stop" if draining else ""),
        "configuration": Check(ok=True, detail=reload_refused),
    }


def judge_certificates(terms: Sequence[CertificateTerm], *, now_ms: int) -> Check:
    """Not ok: nobody gets in, since the server's certificate or every trust anchor is out of its term."""
    # A staged anchor admits nobody anyway.
    terms = [term for term in terms if term.role != "staged"]
    out_of_term = [term for term in terms if not term.not_before_ms <= now_ms < term.not_after_ms]
    ending = [
        term for term in terms if term not in out_of_term and term.not_after_ms - now_ms < WARN_DAYS * _DAY_MS
    ]
    anchors = [term for term in terms if term.role == "anchor"]
    shut = any(term.role == "server" for term in out_of_term) or (
        bool(anchors) and all(term in out_of_term for term in anchors)
    )
    told = [f"{term.name} is {_state(term, now_ms)}" for term in out_of_term]
    told += [f"{term.name} expires in {(term.not_after_ms - now_ms) // _DAY_MS} days" for term in ending]
    return Check(ok=not shut, detail="; ".join(told))


def _state(term: CertificateTerm, now_ms: int) -> str:
    return "not yet valid" if now_ms < term.not_before_ms else "expired"


def _free_space(room: "Room") -> Check:
    if room.free_bytes is None:
        return Check(ok=True)
    left = f"{say_size(room.free_bytes)} of {say_size(room.total_bytes)} free"
    return Check(ok=room.enough, detail="" if room.enough else f"{left}: below spool.min_free")
