"""What a report looks like: on a terminal, in a pipe, as JSON."""

import io
import json
from dataclasses import replace

from rich.console import Console

from gateway.cli.doctor.report import as_json, lines, show, summary
from gateway.doctor.examination import judge
from gateway.doctor.finding import Report
from tests.doctor.seen import HOST, anchor, certificate, look, running, sound


def ill() -> Report:
    """Return what is said where much is wrong."""
    seen = sound(
        anchors=(anchor("DigiCert High Assurance EV Root CA", organization="DigiCert Inc"),),
        chain=(certificate(names=(f"{'very-long-label-' * 5}.example.com", HOST)),),
        running=running(config={"hash": "0" * 64}),
        fsync_seconds=(0.3,),
    )
    cut = look(chain=(certificate(),), chain_faults=("unable to get local issuer certificate",))
    return judge(replace(seen, outside=(replace(seen.outside[1], look=cut),)))


def screen(report: Report, *, width: int = 80) -> str:
    stream = io.StringIO()
    show(report, Console(file=stream, width=width, highlight=False, color_system=None))
    return stream.getvalue()


def test_a_sound_installation_is_a_page_of_marks_and_one_verdict() -> None:
    shown = screen(judge(sound()))
    assert "✗" not in shown
    assert "!" not in shown
    assert shown.rstrip().splitlines()[-1].strip() == "Everything is well"


def test_everything_fits_into_eighty_columns_and_nothing_is_lost() -> None:
    report = ill()
    shown = screen(report)
    assert max(map(len, shown.splitlines())) <= 80
    flowing = " ".join(shown.split())
    for finding in report.findings:
        assert finding.what.split()[0] in flowing
    fingerprint = report.findings[2].facts
    assert fingerprint
    assert all(len(value) > 70 or value in flowing for _, value in fingerprint)


def test_what_to_do_first_stands_at_the_end() -> None:
    ending = screen(ill()).rpartition("problems")[2]
    assert "1. meta: your anchors hold DigiCert roots only" in ending
    assert "a durable write takes" in ending


def test_an_area_is_a_heading_once() -> None:
    shown = screen(ill())
    for heading in ("Gateway", "Own certificate", "Trust anchors", "From outside", "Targets", "Spool"):
        assert [line.strip() for line in shown.splitlines()].count(heading) == 1


def test_in_a_pipe_a_finding_is_a_line_that_begins_with_its_level_and_code() -> None:
    report = ill()
    told = list(lines(report))
    assert len(told) == len(report.findings) + 1
    assert any(line.startswith("problem anchors_digicert_only: meta: your anchors hold") for line in told)
    assert all("\n" not in line for line in told)
    assert told[-1] == summary(report) == "3 problems, 1 warning, 1 note"


def test_json_has_every_finding_with_its_code() -> None:
    report = ill()
    told = json.loads(json.dumps(as_json(report)))
    assert told["ok"] is False
    assert told["running"] is True
    assert told["counts"]["problem"] == 3
    assert [one["code"] for one in told["findings"]] == [one.code for one in report.findings]
    assert told["findings"][0].keys() == {"code", "level", "area", "what", "why", "remedy", "facts"}


def test_a_strangers_text_steers_no_terminal() -> None:
    seen = sound()
    evil = look(chain=(certificate("CN=\x1b[2J\r\nproblem x: y", sha256="77" * 32),))
    report = judge(replace(seen, outside=(replace(seen.outside[1], look=evil),)))
    assert "\x1b" not in screen(report)
    assert all(line.isprintable() for line in lines(report))
