"""What `gateway status` shows: at 80 columns and wider, in a pipe, and of a gateway that does not run."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.output import options
from gateway.cli.status.command import _ask, look
from gateway.cli.status.report import fitting, lines, report
from gateway.errors import PeerError
from gateway.settings.address import Address
from gateway.settings.load import load_settings
from gateway.simulator.pki import make_pki
from tests.cli.calling import call
from tests.stories.rig import Rig

AT = "2026-11-23T06:51:22.000Z"


def target(**changes: Any) -> dict[str, Any]:
    return {
        "state": "delivering",
        "pending": 0,
        "oldest_seconds": 0.0,
        "next_attempt_at": None,
        "next_give_up_at": None,
        "dead_letters": 0,
        "breaker": {"open": False, "state": "delivering", "opened_at": None},
        "pause": None,
        "rate_per_second": None,
        "last_error": None,
        "delivered": 123456,
        **changes,
    }


SEEN: dict[str, Any] = {
    "running": True,
    "at": AT,
    "ready": {},
    "remarks": {},
    "conditions": [
        {
            "condition": "target_failing",
            "since": "2026-11-23T06:40:00.000Z",
            "summary": "target support fails",
            "evidence": ["3214 deliveries wait, the oldest for 11 min"],
            "next_steps": ["look at support itself", "then at the log"],
        }
    ],
    "targets": {
        "support": target(
            state="open",
            pending=3214,
            oldest_seconds=681.0,
            next_attempt_at="2026-11-23T06:51:31.000Z",
            next_give_up_at="2026-11-30T06:40:00.000Z",
            breaker={"open": True, "state": "failing", "opened_at": "2026-11-23T06:40:00.000Z"},
            last_error={"at": "2026-11-23T06:51:16.000Z", "status": None, "error": "connection refused"},
        ),
        "a-target-with-a-long-name-of-37-letters": target(
            state="paused",
            pending=1234567,
            oldest_seconds=90000.0,
            pause={"until": None, "reason": "[/bold] \x1b[2J upgrade"},
        ),
        "_unrouted": {"pending": 0, "oldest_seconds": 0.0, "dead_letters": 12},
    },
    "gateways": [],
    "workers": [
        {"worker": 0, "state": "serving", "restarts": 0},
        {"worker": 1, "state": "waiting", "restarts": 3},
    ],
    "certificates": [
        {
            "name": "9dc8f59d6e51d148",
            "not_after": "2055-12-31T23:59:59.000Z",
            "days_left": 10630,
            "role": "anchor",
            "client": "meta",
            "subject": "CN=" + "x" * 90,
        },
        {
            "name": "server",
            "not_after": "2026-12-05T06:50:56.000Z",
            "days_left": 12,
            "role": "server",
            "client": None,
            "subject": "",
        },
    ],
}


def drawn(seen: dict[str, Any], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(report(seen, width=width))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits_and_what_is_the_matter_comes_first(width: int) -> None:
    text = drawn(SEEN, width)
    assert all(len(line) <= width for line in text.splitlines())
    order = (
        "1 condition",
        "target_failing",
        "→ look at support itself",
        "pending",
        "worker 1 is waiting",
        "server",
    )
    positions = [text.index(part) for part in order]
    assert positions == sorted(positions)
    for part in ("11 min 21 s", "6 d 23 h", "1234567", "10630", "refused", "[/bold]", "breaker open"):
        assert part in text
    assert "\x1b[2J" not in text
    assert text.index("server ") < text.index("anchor:meta 9dc8f59d6e51d148"), "what ends first stands first"


def test_what_is_to_be_done_about_several_targets_is_told_once() -> None:
    def failing(name: str) -> dict[str, Any]:
        steps = ["look at the target itself", f"for planned work: gateway targets pause {name} --for 2h"]
        return {
            **SEEN["conditions"][0],
            "summary": f"target {name} fails",
            "target": name,
            "next_steps": steps,
        }

    text = drawn({**SEEN, "conditions": [failing("support"), failing("sales")]}, 80)
    assert text.count("look at the target itself") == 1
    assert text.count("gateway targets pause") == text.count("gateway targets pause NAME --for 2h") == 1
    assert text.index("target sales fails") < text.index("→ look at the target itself")
    assert "gateway targets pause support --for 2h" in drawn({**SEEN, "conditions": [failing("support")]}, 80)


def test_a_refused_reload_is_not_passed_over() -> None:
    """Ready all the same: it serves with what was loaded before, and the operator thinks otherwise."""
    seen = {**SEEN, "conditions": [], "remarks": {"configuration": "the reload was refused: line 3"}}
    assert "! configuration: the reload was refused: line 3" in drawn(seen, 80)
    assert "remark\tconfiguration\tthe reload was refused: line 3" in list(lines(seen))


def test_dead_letters_have_their_command() -> None:
    assert "→ 12 dead letters: gateway dead-letters list --target _unrouted" in drawn(SEEN, 80)


def test_wide_it_says_what_was_delivered() -> None:
    assert "123456 " not in drawn(SEEN, 80)
    assert "123456 " in drawn(SEEN, 140)


def test_what_is_drawn_anew_fits_the_screen_and_has_the_targets() -> None:
    """A watched screen cannot be scrolled: three conditions of seven lines had pushed the targets off it."""
    conditions = [{**SEEN["conditions"][0], "summary": f"target number {n} fails"} for n in range(3)]
    console = Console(width=80, height=24, file=io.StringIO(), record=True)
    console.print(fitting({**SEEN, "conditions": conditions}, console))
    text = console.export_text()
    assert len(text.splitlines()) <= 24
    for part in ("target number 2 fails", "1234567", "gateway status, without --watch", "server"):
        assert part in text
    assert "look at support itself" not in text
    tall = Console(width=80, height=60, file=io.StringIO(), record=True)
    tall.print(fitting({**SEEN, "conditions": conditions}, tall))
    assert "look at support itself" in tall.export_text()


def test_in_a_pipe_each_line_says_what_it_is_of() -> None:
    told = [line.split("\t") for line in lines(SEEN)]
    assert [line[0] for line in told] == [
        *("gateway", "condition", "target", "target", "target", "worker", "worker"),
        *("certificate", "certificate"),
    ]
    assert told[1][1:] == [
        "target_failing",
        "2026-11-23T06:40:00.000Z",
        "target support fails",
        "look at support itself",
    ]
    assert told[2][1:8] == ["support", "open", "3214", "11 min 21 s", "9 s", "6 d 23 h", "0"]
    assert all(part.isprintable() for line in told for part in line)


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"conditions": [], "workers": []}, "the gateway runs and is ready; nothing is the matter"),
        (
            {"ready": {"spool": "the disk is full"}},
            "the gateway runs, and is not ready (spool: the disk is full)",
        ),
        (
            {"remarks": {"configuration": "the reload was refused"}, "conditions": []},
            "the gateway runs and is ready, 2 workers; 1 remark",
        ),
        ({"running": False}, "no gateway runs: this is what lies in the spool"),
    ],
)
def test_the_first_line_says_it_in_short(changes: dict[str, Any], headline: str) -> None:
    assert drawn({**SEEN, **changes}, 100).splitlines()[0].rstrip() == headline


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(directory=tmp_path, pki=make_pki(tmp_path / "certs"))
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    return rig


def test_where_no_gateway_runs_it_says_so_and_shows_spool_and_certificates(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = look(load_settings(rig.config, environ={}, with_secrets=False).settings)
    assert (seen["running"], seen["targets"], seen["conditions"]) == (False, {}, [])
    rig.spool_directory.mkdir(parents=True)
    result = call(capsys, "--config", str(rig.config), "status", "--json")
    found = json.loads(result.out)
    assert (result.code, found["running"]) == (0, False)
    assert found["targets"]["support"]["state"] == "stopped"
    assert [one["role"] for one in found["certificates"]] == ["server", "anchor"]
    assert found["certificates"][1]["client"] == "meta"
    assert found["certificates"][0]["days_left"] > 300


def test_watching_takes_no_lock_that_a_start_would_need(rig: Rig) -> None:
    rig.spool_directory.mkdir(parents=True)
    options.config = rig.config
    settings = load_settings(rig.config, environ={}, with_secrets=False).settings
    assert look(settings, alone=False)["targets"] == {}


def test_watching_needs_a_terminal_or_json(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "--config", str(rig.config), "status", "--watch")
    assert result.code == 2
    assert "--json" in result.err


def test_a_gateway_whose_database_is_away_is_told_by_what_it_says_itself() -> None:
    """Not as some stranger on the admin port."""

    class Troubled(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"error": "internal", "detail": "the database: Connection refused"}'
            self.send_response(500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Troubled) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(PeerError) as raised:
            _ask(Address(host="127.0.0.1", port=server.server_port))
    said = "the gateway runs, and cannot tell how things are: the database: Connection refused"
    assert str(raised.value) == said
