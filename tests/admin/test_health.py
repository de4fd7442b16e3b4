"""Readiness: one check a line."""

import pytest

from gateway.admin.health import CertificateTerm, Check, judge, judge_certificates
from gateway.spool.contract import Room

DAY_MS = 86_400_000
NOW_MS = 1_795_000_000_000
WELL = Room(free_bytes=10 * 1024**3, total_bytes=20 * 1024**3, enough=True, writable=True, detail="")


def term(name: str = "server", *, begins: int = -30, ends: int = 60) -> CertificateTerm:
    """Return a certificate that is valid from and until so many days from now."""
    return CertificateTerm(
        name=name,
        role="server" if name == "server" else "anchor",
        not_before_ms=NOW_MS + begins * DAY_MS,
        not_after_ms=NOW_MS + ends * DAY_MS,
    )


def failing(*, listening: bool = True, draining: bool = False, room: Room = WELL) -> dict[str, str]:
    checks = judge(
        listening=listening, draining=draining, room=room, certificates=[term(), term("meta")], now_ms=NOW_MS
    )
    assert list(checks) == ["listener", "spool", "free_space", "certificates", "draining", "configuration"]
    return {name: check.detail for name, check in checks.items() if not check.ok}


def test_all_is_well() -> None:
    assert failing() == {}


def test_a_reload_that_was_refused_is_told_and_takes_nothing_away() -> None:
    told = judge(
        listening=True,
        draining=False,
        room=WELL,
        certificates=[],
        now_ms=NOW_MS,
        reload_refused="the key does not fit",
    )
    assert told["configuration"] == Check(ok=True, detail="the key does not fit")


def test_each_condition_fails_its_own_check() -> None:
    assert failing(listening=False) == {"listener": "not listening"}
    assert failing(draining=True) == {"draining": "about to stop"}
    read_only = Room(free_bytes=1, total_bytes=1, enough=True, writable=False, detail="read-only")
    assert failing(room=read_only) == {"spool": "read-only"}
    full = Room(free_bytes=1024**2, total_bytes=1024**3, enough=False, writable=True, detail="low")
    assert failing(room=full) == {"free_space": "1 MiB of 1 GiB free: below spool.min_free"}


@pytest.mark.parametrize(
    ("terms", "check"),
    [
        ([term(), term("meta")], Check(ok=True)),
        ([term(ends=0), term("meta")], Check(ok=False, detail="server is expired")),
        ([term(begins=1), term("meta")], Check(ok=False, detail="server is not yet valid")),
        ([term(), term("meta", ends=-1)], Check(ok=False, detail="meta is expired")),
        ([term(), term("meta", ends=-1), term("next")], Check(ok=True, detail="meta is expired")),
        ([term(ends=13), term("meta")], Check(ok=True, detail="server expires in 13 days")),
        ([term(ends=14), term("meta")], Check(ok=True)),
        ([term()], Check(ok=True)),
    ],
)
def test_certificates_are_well_while_somebody_can_get_in(terms: list[CertificateTerm], check: Check) -> None:
    assert judge_certificates(terms, now_ms=NOW_MS) == check
