"""What a running gateway says of itself, and what follows when it says nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.doctor.backlog import judge_backlog
from gateway.doctor.observed import Answer
from gateway.doctor.state import judge_gateway
from gateway.doctor.trust import judge_anchors, judge_certificate
from gateway.errors import RESTART_REMEDY, Problem
from tests.doctor.seen import NOW, ago, anchor, certificate, running, sound, the, told


def test_a_gateway_that_is_well_is_ready_and_runs_on_the_file() -> None:
    assert told(judge_gateway, sound()) == {"ready": "ok", "configuration_loaded": "ok"}


def test_what_is_not_ready_is_a_problem_with_its_detail_and_a_remark_is_a_warning() -> None:
    checks = {
        "spool": {"ok": False, "detail": "the disk is full"},
        "free_space": {"ok": True, "detail": "nearly full"},
        "certificates": {"ok": True, "detail": "server expires in 9 days"},  # a finding of its own
    }
    seen = sound(running=running(ready=Answer(status=503, content=checks)))
    findings = list(judge_gateway(seen))
    assert told(judge_gateway, seen) == {
        "not_ready": "problem",
        "ready_with_remark": "warning",
        "configuration_loaded": "ok",
    }
    assert (findings[0].what, findings[0].why) == ("not ready: spool", "the disk is full")


def test_without_a_gateway_it_says_so_and_what_was_left_out() -> None:
    assert told(judge_gateway, sound(running=None, holder=None)) == {"gateway_not_running": "warning"}


def test_the_command_that_starts_it_names_the_configuration_that_was_looked_at() -> None:
    seen = sound(running=None, holder=None, config=Path("/etc/my gateway/g.yaml"))
    finding = the(judge_gateway(seen), "gateway_not_running")
    assert finding.remedy == "gateway --config '/etc/my gateway/g.yaml' run"


def test_another_gateway_on_the_admin_port_is_not_told_as_nobody() -> None:
    seen = sound(running=None, holder=None, other="the gateway on the admin port is another one")
    finding = the(judge_gateway(seen), "admin_port_strange")
    assert finding.what == "the gateway on the admin port is another one"
    assert "admin.address" in finding.remedy


def test_a_process_that_holds_the_spool_and_answers_nothing_is_a_problem() -> None:
    (finding,) = judge_gateway(sound(running=None))
    assert finding.code == "admin_port_silent"
    assert "4711" in finding.what


def test_another_program_on_the_admin_port_is_not_taken_for_a_gateway() -> None:
    seen = sound(running=running(ready=Answer(status=404)))
    assert told(judge_gateway, seen) == {"admin_port_strange": "problem"}


def test_a_gateway_that_hangs_is_told_from_another_program() -> None:
    seen = sound(running=running(ready=Answer(status=0, fault="no answer within 5 s")))
    assert told(judge_gateway, seen) == {"admin_port_hangs": "problem"}


def test_an_older_gateway_is_named_as_such_and_the_rest_is_judged() -> None:
    seen = sound(running=running(edge=Answer(status=404), config=Answer(status=404)))
    findings = list(judge_gateway(seen))
    assert the(findings, "ready").level == "ok"
    older = the(findings, "gateway_older")
    assert older.level == "note"
    assert "earlier version" in older.why
    half = sound(running=running(config=Answer(status=404)))
    assert "earlier version" in the(judge_gateway(half), "gateway_older").why


def test_a_port_that_refuses_is_not_called_older() -> None:
    seen = sound(running=running(edge=Answer(status=401)))
    assert "earlier" not in the(judge_gateway(seen), "gateway_older").why


def test_a_refused_reload_is_told_with_its_problems() -> None:
    config = {
        "hash": "f" * 64,
        "loaded_at": ago(hours=1),
        "last_reload": {
            "at": ago(minutes=2),
            "success": False,
            "trigger": "signal",
            "problems": [
                {"file": "a.yaml", "line": 1, "column": 1, "key_path": "tls", "message": "x", "remedy": "y"}
            ],
        },
    }
    findings = list(judge_gateway(sound(running=running(config=config))))
    refused = the(findings, "reload_failed")
    assert refused.level == "problem"
    assert "2 min ago" in refused.what
    assert "a.yaml:1:1: tls: x" in refused.why


def test_what_only_a_restart_takes_up_is_not_to_be_mended_nor_reloaded() -> None:
    problem = {
        "file": "a.yaml", "line": 1, "column": 1, "key_path": "listen.address",
        "message": "cannot be changed while the gateway runs", "remedy": RESTART_REMEDY,
    }  # fmt: skip
    last = {"at": ago(minutes=2), "success": False, "trigger": "signal", "problems": [problem]}
    config = {"hash": "e" * 64, "loaded_at": ago(hours=1), "last_reload": last}
    seen = sound(running=running(config=config))
    assert told(judge_gateway, seen) == {"ready": "ok", "reload_failed": "problem"}
    refused = the(judge_gateway(seen), "reload_failed")
    assert refused.remedy.startswith(RESTART_REMEDY)
    assert "check" not in refused.remedy
    # One more problem of another kind: that is to be mended first.
    last["problems"] = [problem, {**problem, "remedy": "write 5s"}]
    assert "gateway check" in the(judge_gateway(seen), "reload_failed").remedy
    assert "reload" in the(judge_gateway(seen), "configuration_changed").remedy


def test_a_file_that_was_changed_since_it_was_loaded_is_told() -> None:
    config = {"hash": "e" * 64, "loaded_at": ago(hours=25)}
    finding = the(judge_gateway(sound(running=running(config=config))), "configuration_changed")
    assert finding.level == "warning"
    assert "1 d 1 h ago" in finding.what


def test_a_hash_that_is_shortened_still_fits() -> None:
    config = {"hash": "f" * 12}
    assert "configuration_loaded" in told(judge_gateway, sound(running=running(config=config)))


def test_what_check_complains_of_is_a_problem_with_its_place() -> None:
    problem = Problem(
        file=Path("g.yaml"), line=3, column=5, key_path="tls.certificate", message="is gone", remedy="put it"
    )
    finding = the(judge_gateway(sound(problems=(problem,))), "check")
    assert finding.level == "problem"
    assert finding.what == "tls.certificate: is gone"
    assert finding.facts == (("where", "g.yaml:3:5"),)


def test_what_is_out_of_its_term_is_not_complained_of_twice() -> None:
    def complaint(key_path: str, message: str) -> Problem:
        return Problem(file=Path("g.yaml"), line=3, column=5, key_path=key_path, message=message, remedy="")

    expired: dict[str, Any] = {"not_after": NOW - timedelta(days=1)}
    old = anchor(description=certificate("CN=Old", **expired))
    seen = sound(
        chain=(certificate(**expired),),
        anchors=(old,),
        problems=(
            complaint("tls.certificate", "the gateway's own certificate expired"),
            complaint("tls.clients.meta.trust_anchors[0]", "the trust anchor of meta expired (CN=Old)"),
            complaint("tls.clients.meta.trust_anchors[1]", "gone.pem does not exist"),
        ),
    )
    (left,) = [finding for finding in judge_gateway(seen) if finding.code == "check"]
    assert "gone.pem" in left.what
    assert the(judge_certificate(seen), "server_certificate").level == "problem"
    assert the(judge_anchors(seen), "anchor").level == "problem"


def test_what_another_user_may_not_read_is_no_problem_of_the_gateways() -> None:
    denied = Problem(
        file=Path("g.yaml"),
        line=3,
        column=5,
        key_path="tls.certificate",
        message="/c/fullchain.pem cannot be read (Permission denied)",
        remedy="let the gateway's user read it",
    )
    assert told(judge_gateway, sound(problems=(denied,)))["check"] == "problem"
    stranger = sound(problems=(denied,), owner="gateway")
    finding = the(judge_gateway(stranger), "not_readable_as_this_user")
    assert (finding.level, finding.remedy) == (
        "note",
        "run as: sudo -u gateway gateway --config gateway.yaml doctor",
    )
    assert "check" not in told(judge_gateway, stranger)


def test_a_spool_that_cannot_be_written_is_told_with_the_disk_alone() -> None:
    denied = Problem(
        file=Path("g.yaml"), line=3, column=5, key_path="spool.directory", message="is a file", remedy="x"
    )
    assert "check" not in told(judge_gateway, sound(problems=(denied,), writable=False))
    assert told(judge_gateway, sound(problems=(denied,)))["check"] == "problem"


def test_nonsense_from_the_admin_port_is_borne() -> None:
    odd = {
        "ok": "yes",
        "anchors": 3,
        "last_reload": [],
        "hash": 9,
        "targets": {"a": 7, "b": {"pending": "x"}},
    }
    seen = sound(running=running(ready=odd, status=odd, edge=odd, config=odd))
    assert all(level != "problem" for level in told(judge_gateway, seen).values())
    assert told(judge_backlog, seen) == {}
