"""Targets, disk, clock and names."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.doctor.backlog import judge_backlog
from gateway.doctor.observed import Clock, Reached, Resolved
from gateway.doctor.surroundings import judge_clock, judge_names, judge_spool, judge_targets
from gateway.spool.succession import LeftBehind
from tests.doctor.seen import HOST, NOW, ago, certificate, running, sound, the, told


def targets(**changes: Any) -> tuple[Reached, ...]:
    one = {"name": "support", "url": "http://127.0.0.1:1/", "address": "127.0.0.1:1", "seconds": 0.0012}
    return (Reached(**{**one, **changes}),)


def test_a_target_that_answers_is_told_with_its_time() -> None:
    (finding,) = judge_targets(sound(targets=targets(protocol="TLSv1.3")))
    assert finding.what == "support: 127.0.0.1:1 answers over TLSv1.3 (1.20 ms)"


def test_a_target_that_does_not_is_a_problem_and_a_shadow_a_warning() -> None:
    dead = targets(fault="127.0.0.1:1: connection refused")
    assert told(judge_targets, sound(targets=dead)) == {"target_unreachable": "problem"}
    shadow = sound(targets=dead, shadows=frozenset({"support"}))
    assert told(judge_targets, shadow) == {"target_unreachable": "warning"}


def test_a_paused_target_may_be_away() -> None:
    dead = targets(fault="127.0.0.1:1: connection refused")
    status = {"targets": {"support": {"pending": 0, "pause": {"from": "2026-11-20T10:00:00Z"}}}}
    seen = sound(targets=dead, running=running(status=status))
    assert told(judge_targets, seen) == {"target_unreachable": "warning"}


def test_what_follows_from_a_target_that_is_away_is_told_with_it_and_once() -> None:
    breaker = {"open": True, "state": "open", "opened_at": ago(minutes=7)}
    state = {"pending": 3, "oldest_seconds": 4000.0, "breaker": breaker, "dead_letters": 0, "pause": None}
    seen = sound(
        targets=targets(fault="127.0.0.1:1: connection refused"),
        running=running(status={"targets": {"support": state}}),
        known_targets=frozenset({"support"}),
    )
    (finding,) = judge_targets(seen)
    assert finding.why == "its breaker opened 7 min ago; 3 deliveries waiting, the oldest for 1 h 6 min"
    assert list(judge_backlog(seen)) == []


def test_one_of_two_addresses_is_a_warning() -> None:
    codes = told(judge_targets, sound(targets=targets(unreachable=("[::1]:1: connection refused",))))
    assert codes == {"target": "ok", "target_partly_unreachable": "warning"}


def test_a_sound_spool_is_told_with_its_time() -> None:
    assert told(judge_spool, sound()) == {"spool": "ok", "fsync": "ok"}
    facts = dict(the(judge_spool(sound()), "spool").facts)
    assert facts == {"file system": "ext4", "free": "20 GiB", "held by": "process 4711"}
    assert the(judge_spool(sound()), "fsync").what.startswith("a durable write takes 2.00 ms (median of 3;")


@pytest.mark.parametrize(
    ("file_system", "level"),
    [("nfs4", "problem"), ("tmpfs", "problem"), ("overlay", "warning"), ("ext4", None), ("", None)],
)
def test_where_a_spool_should_not_live(file_system: str, level: str | None) -> None:
    assert told(judge_spool, sound(file_system=file_system)).get("spool_file_system") == level


@pytest.mark.parametrize(("seconds", "level"), [(0.02, "ok"), (0.12, "warning"), (0.3, "problem")])
def test_a_slow_disk_is_measured_against_metas_bar(seconds: float, level: str) -> None:
    assert told(judge_spool, sound(fsync_seconds=(seconds,) * 5))["fsync"] == level
    # One write that another program's held up says nothing of the disk.
    assert told(judge_spool, sound(fsync_seconds=(seconds, seconds, 9.0)))["fsync"] == level


def test_a_full_disk_and_one_that_cannot_be_written_are_problems() -> None:
    full = running(ready={"free_space": {"ok": False, "detail": "1 B of 2 B free"}})
    assert told(judge_spool, sound(free_bytes=1, running=full))["spool_full"] == "problem"
    assert told(judge_spool, sound(free_bytes=1, running=None))["spool_full"] == "problem"
    assert told(judge_spool, sound(writable=False))["spool_not_writable"] == "problem"


def test_what_another_engine_has_left_is_told_where_no_gateway_runs_to_tell_it() -> None:
    left = LeftBehind(message="files are left", remedy="move them")
    finding = the(judge_spool(sound(left=left, running=None)), "spool_left")
    assert (finding.level, finding.what, finding.remedy) == ("warning", "files are left", "move them")
    assert "spool_left" not in told(judge_spool, sound(left=left))
    assert "spool_left" not in told(judge_spool, sound(running=None))


def test_a_mark_that_the_gateway_does_not_run_on_yet_refuses_nothing_yet() -> None:
    """A raised spool.min_free takes a restart: readiness is what the gateway itself says."""
    finding = the(
        judge_spool(sound(free_bytes=1, running=running(ready={"free_space": {"ok": True, "detail": ""}}))),
        "spool_full",
    )
    assert finding.level == "warning"
    assert finding.what.endswith("answered 503 after the next start")


def test_anothers_directory_is_no_problem_but_nothing_was_measured() -> None:
    seen = sound(
        writable=False, owner="gateway", exists=False, fsync_seconds=(), fault="/v: Permission denied"
    )
    assert told(judge_spool, seen) == {"spool": "ok", "fsync_not_measured": "note"}
    assert "sudo -u gateway" in the(judge_spool(seen), "fsync_not_measured").remedy


def test_the_clock_is_judged_by_the_kernels_word_alone() -> None:
    assert told(judge_clock, sound()) == {"clock": "ok"}
    assert told(judge_clock, sound(clock=Clock(synchronised=False))) == {"clock_unsynchronised": "warning"}
    assert told(judge_clock, sound(clock=Clock(synchronised=None))) == {"clock_unknown": "note"}
    far = Clock(synchronised=True, max_error_seconds=4.0)
    assert told(judge_clock, sound(clock=far)) == {"clock": "note"}


def test_a_clock_before_the_certificate_is_behind() -> None:
    seen = sound(chain=(certificate(not_before=NOW + timedelta(days=1)),))
    assert told(judge_clock, seen)["clock_behind"] == "problem"


def test_names_that_are_slow_or_unknown_are_told() -> None:
    def names(**changes: Any) -> dict[str, str]:
        return told(judge_names, sound(resolved=(Resolved(**{"host": HOST, "seconds": 0.1, **changes}),)))

    assert names(addresses=("203.0.113.7",)) == {"name": "ok"}
    assert names(addresses=("203.0.113.7",), seconds=2.0) == {"name": "warning"}
    assert names(fault="Name or service not known") == {"name_unknown": "problem"}


def test_offline_says_what_was_left_alone() -> None:
    assert told(judge_names, sound(offline=True, resolved=())) == {"offline": "note"}
