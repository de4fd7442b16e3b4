"""`gateway dead-letters`, with a gateway's real admin port beside it, and alone."""

import json
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any

import pytest
import trio
from typer.testing import CliRunner, Result

from bench.dead_letters import write_many
from gateway.admin.app import build_admin_app
from gateway.admin.token import load_or_make_token
from gateway.cli.dead_letters import commands as dead_letters
from gateway.cli.dead_letters import rows as dead_letter_rows
from gateway.cli.dead_letters.commands import commands
from gateway.cli.output import options
from gateway.cli.state_owner import user_name
from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.replay import Known
from gateway.delivery.seal_key import load_or_make_seal_key
from gateway.delivery.view import TargetView
from gateway.errors import DeadLetterError, GatewayError, SpoolLockedError, UsageError
from gateway.operations import Operations
from gateway.settings.load import load_settings
from gateway.settings.routes import routing_table
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import Bound, bind
from gateway.web.limits import HttpLimits
from gateway.web.plain import serve_plain
from gateway.web.server import WebServer
from tests.delivery.rig import EPOCH_MS, a_letter

HOUR_MS = 3_600_000
CONFIG = """
listen: {{address: "127.0.0.1:0"}}
tls:
  certificate: server.pem
  private_key: server.key
  clients: {{meta: {{trust_anchors: [ca.pem]}}}}
apps:
  main:
    path: /webhooks/main
    app_secrets: [{{env: APP_SECRET}}]
    verify_token: {{env: VERIFY_TOKEN}}
    clients: [meta]
targets:
  support: {{url: "http://127.0.0.1:1/"}}
routes:
  - {{field: messages, to: [support]}}
  - {{field: security, to: [support]}}
spool: {{directory: var/spool, min_free: 0B}}
dead_letter: {{directory: var/dead-letter}}
admin: {{address: "127.0.0.1:{port}"}}
"""


@dataclass
class Rig:
    """A configuration, its dead letters, and the command."""

    directory: Path
    admin: Bound = field(default_factory=lambda: bind_anywhere())

    def __post_init__(self) -> None:
        self.config = self.directory / "gateway.yaml"
        self.config.write_text(CONFIG.format(port=self.admin.addresses[0][1]))
        options.config = self.config
        self.var = self.directory / "var"
        self.var.mkdir()
        key = load_or_make_seal_key(self.var / "seal.key")
        self.store = DeadLetterStore(self.var / "dead-letter", key)

    def run(self, *arguments: str, fails: bool = False, answer: str | None = None) -> Result:
        result = CliRunner().invoke(commands, list(arguments), input=answer)
        if isinstance(result.exception, GatewayError):
            raise result.exception
        assert (result.exit_code != 0) is fails, result.output
        return result

    def json(self, *arguments: str, fails: bool = False) -> Any:
        return json.loads(self.run(*arguments, "--json", fails=fails).stdout)

    async def _no_ledger(self) -> dict[str, object]:
        return {}

    def stop_listening(self) -> None:
        for one in self.admin.sockets:
            one.close()

    def pending(self) -> dict[str, int]:
        settings = SqliteOptions(duplicates_window_seconds=1, duplicates_max=1, min_free_bytes=0)

        async def look() -> dict[str, int]:
            async with open_sqlite_spool(
                self.var / "spool", settings, metrics=Metrics(), now_ms=lambda: EPOCH_MS
            ) as spool:
                return dict(spool.pending())

        return trio.run(look)

    def audit(self) -> list[dict[str, Any]]:
        file = self.var / "audit.log"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @contextmanager
    def gateway(self) -> Iterator[None]:
        """Run spool and admin port in a thread, as the gateway does; no dispatcher."""
        started = threading.Event()
        stop: list[Any] = []

        async def serve() -> None:
            settings = load_settings(self.config, environ={}, with_secrets=False).settings
            spool_options = SqliteOptions(duplicates_window_seconds=1, duplicates_max=1, min_free_bytes=0)
            async with (
                open_sqlite_spool(
                    self.var / "spool", spool_options, metrics=Metrics(), now_ms=lambda: time_ns() // 10**6
                ) as spool,
                trio.open_nursery() as nursery,
            ):
                known = Known(
                    apps=frozenset(settings.apps),
                    targets=frozenset(settings.targets),
                    table=routing_table(settings),
                )
                operations = Operations(
                    control=NoTargets(),
                    known=lambda: known,
                    spool=spool,
                    dead_letters=self.store,
                    audit=AuditLog(self.var / "audit.log"),
                    now_ms=lambda: EPOCH_MS,
                    metrics=Metrics(),
                )
                token = load_or_make_token(self.var / "admin.token")
                app = build_admin_app(
                    health=dict,
                    render_metrics=self._no_metrics,
                    token=lambda: token,
                    hosts=frozenset(),
                    actions=operations,
                    config=dict,
                    edge=dict,
                    ledger=self._no_ledger,
                )
                web = WebServer(app, limits=HttpLimits(), metrics=None)
                await nursery.start(partial(serve_plain, self.admin.sockets, web, max_connections=8))
                stop.extend((trio.lowlevel.current_trio_token(), nursery.cancel_scope.cancel))
                started.set()

        thread = threading.Thread(target=trio.run, args=(serve,))
        thread.start()
        assert started.wait(10)
        try:
            yield
        finally:
            token, cancel = stop
            token.run_sync_soon(cancel)
            thread.join(10)

    @staticmethod
    async def _no_metrics() -> bytes:
        return b""


class NoTargets:
    """What would be delivered to, where nothing is."""

    def views(self) -> dict[str, TargetView]:
        return {}

    def next_give_ups_ms(self, oldest_clock_ms: Mapping[str, int]) -> dict[str, int]:
        return dict(oldest_clock_ms)

    async def pause(self, name: str, *, seconds: float | None, reason: str) -> None:
        raise NotImplementedError

    async def resume(self, name: str, *, rate_per_second: float | None) -> None:
        raise NotImplementedError


def bind_anywhere() -> Bound:
    from gateway.settings.values import Address

    return bind(Address(host="127.0.0.1", port=0))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    former = options.config
    rig = Rig(tmp_path)
    try:
        yield rig
    finally:
        rig.stop_listening()
        options.config = former


def fill(rig: Rig) -> list[str]:
    letters = [
        a_letter(number=1),
        a_letter(number=2, received_at_ms=EPOCH_MS + 2 * HOUR_MS, reason=Reason.GAVE_UP),
        a_letter(target=UNROUTED, number=3, reason=Reason.UNROUTED),
    ]
    for letter in letters:
        rig.store.write(letter)
    return [letter.id for letter in letters]


def test_list_in_a_pipe_is_one_line_a_letter(rig: Rig) -> None:
    first, second, third = fill(rig)
    rows = [line.split("\t") for line in rig.run("list").stdout.splitlines()]
    assert {row[0] for row in rows} == {first, second, third}
    assert rows[-1] == [
        second,
        "support",
        "gave_up",
        "messages",
        "2026-02-02T04:40:00.000Z",
        "2026-02-02T02:40:05.001Z",
        "422",
    ]


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        ([], {0, 1, 2}),
        (["--target", UNROUTED], {2}),
        (["--reason", "gave_up"], {1}),
        (["--since", "2026-02-02T04:00:00Z"], {1}),
        (["--until", "2026-02-02T04:00:00Z", "--field", "mess*"], {0, 2}),
        (["--field", "nothing"], set()),
        (["--since", "1h"], set()),
    ],
)
def test_list_filters_and_prints_json_without_bodies(
    rig: Rig, arguments: list[str], positions: set[int]
) -> None:
    ids = fill(rig)
    rows = rig.json("list", *arguments)
    assert {row["id"] for row in rows} == {ids[position] for position in positions}
    assert all("body" not in row for row in rows)


def test_list_tells_of_files_that_cannot_be_read(rig: Rig) -> None:
    rig.store.write(a_letter())
    (found,) = rig.store.iterate()
    (rig.store.directory / found.name).write_text("{")
    (row,) = rig.json("list")
    assert "not a dead letter" in row["problem"]
    assert "unreadable" in rig.run("list").stdout


def test_list_without_a_directory_is_empty(rig: Rig) -> None:
    assert rig.json("list") == []


def test_list_needs_neither_secrets_nor_a_gateway(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_SECRET", raising=False)
    rig.stop_listening()
    assert rig.json("list") == []


def test_show_prints_the_letter_and_escapes_what_steers_terminals(rig: Rig) -> None:
    letter = a_letter(body=b"\x1b[31mred\n{}")
    rig.store.write(letter)
    text = rig.run("show", letter.id).stdout
    assert "reason: refused" in text
    assert "attempt 1: 2026-02-02T02:40:05.000Z  422  3 ms" in text
    assert "\\x1b[31mred\n{}" in text
    assert "\x1b" not in text


def test_show_as_json_is_the_file(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)
    (found,) = rig.store.iterate()
    assert rig.json("show", letter.id) == json.loads((rig.store.directory / found.name).read_text())


@pytest.mark.parametrize("identifier", ["absent", "../../x"])
def test_show_of_none_is_told(rig: Rig, identifier: str) -> None:
    with pytest.raises(GatewayError, match=r"no dead letter|not the id"):
        rig.run("show", identifier)


@pytest.mark.parametrize("running", [True, False])
def test_replay_stores_again_and_removes(rig: Rig, running: bool) -> None:
    ids = fill(rig)
    if running:
        with rig.gateway():
            results = rig.json("replay", "--target", "support")
    else:
        rig.stop_listening()
        results = rig.json("replay", "--target", "support")
    assert results["counts"] == {"replayed": 2}
    assert set(results["results"]) == set(ids[:2])
    assert rig.pending() == {"support": 2}
    assert [found.id for found in rig.store.iterate()] == [ids[2]]
    (entry,) = rig.audit()
    assert entry["action"] == "replay"
    assert set(entry["ids"]) == set(ids[:2])
    assert entry["by"] == ("admin_port" if running else "command")


def test_replay_of_many_goes_in_chunks(rig: Rig) -> None:
    write_many(rig.store, 230)
    with rig.gateway():
        assert rig.json("replay", "--since", "9999d")["counts"] == {"replayed": 230}
    assert rig.pending() == {"support": 230}
    assert [len(entry["ids"]) for entry in rig.audit()] == [100, 100, 30]


@pytest.mark.parametrize("running", [True, False])
def test_what_is_not_replayed_makes_it_fail(rig: Rig, running: bool) -> None:
    """An edited letter, and one that no route takes; `--accept-edited` takes the first."""
    letter, lost = a_letter(body=b"before"), a_letter(target=UNROUTED, body=b"?", number=5)
    rig.store.write(letter)
    rig.store.write(lost)
    path = rig.store.directory / next(one.name for one in rig.store.iterate() if one.id == letter.id)
    path.write_text(path.read_text().replace("before", "after"))

    def check() -> None:
        results = rig.json("replay", letter.id, lost.id, fails=True)["results"]
        assert {name: one["result"] for name, one in results.items()} == {
            letter.id: "edited",
            lost.id: "unrouted",
        }
        assert rig.json("replay", letter.id, "--accept-edited")["counts"] == {"replayed": 1}

    if running:
        with rig.gateway():
            check()
    else:
        rig.stop_listening()
        check()
    assert rig.pending() == {"support": 1}


def test_a_dry_run_changes_nothing_and_asks_nobody(rig: Rig) -> None:
    fill(rig)
    rig.stop_listening()
    results = rig.json("replay", "--since", "9999d", "--dry-run", fails=True)
    assert results["counts"] == {"would_replay": 2, "unrouted": 1}
    assert len(list(rig.store.iterate())) == 3
    assert rig.audit() == []
    assert not (rig.var / "spool").exists()


def test_replay_wants_to_know_which(rig: Rig) -> None:
    with pytest.raises(UsageError, match="say which"):
        rig.run("replay")
    for both in (("x", "--target", "support"), ("x", "--all"), ("--all", "--field", "messages")):
        with pytest.raises(UsageError, match="say which"):
            rig.run("replay", *both)
    with pytest.raises(UsageError, match="--reason 'boredom' is none"):
        rig.run("replay", "--reason", "boredom")
    with pytest.raises(UsageError, match="is no time"):
        rig.run("list", "--since", "later")


def test_a_spool_that_is_held_is_left_alone(rig: Rig) -> None:
    """Somebody has the spool, and yet nothing listens on the admin port: a gateway that starts or stops."""
    (identifier, *_) = fill(rig)
    with rig.gateway():
        rig.config.write_text(rig.config.read_text().replace(str(rig.admin.addresses[0][1]), "1"))
        with pytest.raises(SpoolLockedError):
            rig.run("replay", identifier)
    assert len(list(rig.store.iterate())) == 3


def test_a_wrong_token_is_told(rig: Rig) -> None:
    (identifier, *_) = fill(rig)
    with rig.gateway():
        (rig.var / "admin.token").write_text("x" * 43)
        with pytest.raises(GatewayError, match=r"answered 401: .*; the token here is not that gateway's"):
            rig.run("replay", identifier)
    assert len(list(rig.store.iterate())) == 3


def test_something_else_on_the_admin_port_is_told(rig: Rig) -> None:
    (identifier, *_) = fill(rig)
    load_or_make_token(rig.var / "admin.token")

    def answer() -> None:
        for _ in range(2):  # the look whether anybody listens, and the request
            connection, _ = rig.admin.sockets[0].accept()
            with connection:
                connection.settimeout(5)
                if connection.recv(65536):
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    rig.admin.sockets[0].setblocking(True)
    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(GatewayError, match="did not answer: BadStatusLine"):
        rig.run("replay", identifier)
    thread.join(10)


@pytest.mark.parametrize("running", [True, False])
def test_discard_asks_first(rig: Rig, running: bool) -> None:
    ids = fill(rig)

    def check() -> None:
        rig.run("discard", ids[0], fails=True, answer="n\n")
        assert len(list(rig.store.iterate())) == 3
        rig.run("discard", ids[0], answer="y\n")
        assert rig.json("discard", "--target", "support", "--yes")["counts"] == {"discarded": 1}

    if running:
        with rig.gateway():
            check()
    else:
        rig.stop_listening()
        check()
    assert [found.id for found in rig.store.iterate()] == [ids[2]]
    assert [entry["action"] for entry in rig.audit()] == ["discard", "discard"]


def test_a_configured_token_is_used(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (identifier, *_) = fill(rig)
    with rig.gateway():
        token = (rig.var / "admin.token").read_text().strip()
        (rig.var / "admin.token").unlink()
        for name in ("APP_SECRET", "VERIFY_TOKEN"):
            monkeypatch.setenv(name, "0123456789abcdef0123456789abcdef")
        monkeypatch.setenv("ADMIN_TOKEN", token)
        rig.config.write_text(
            rig.config.read_text().replace("admin: {", "admin: {token: {env: ADMIN_TOKEN}, ")
        )
        assert rig.json("replay", identifier)["counts"] == {"replayed": 1}


@pytest.mark.parametrize("command", [("list",), ("replay",), ("replay", "--dry-run"), ("discard", "--yes")])
def test_where_nothing_matches_it_is_said_and_a_misspelt_target_is_none(
    rig: Rig, command: tuple[str, ...]
) -> None:
    """In a pipe, too: silence looked like success."""
    rig.stop_listening()
    misspelt = rig.run(*command, "--target", "suport")
    assert misspelt.stdout == ""
    said = misspelt.stderr.splitlines()
    assert said.count("no dead letter matches") == 1
    assert said[-1].startswith("note: the configuration has no target 'suport'; it has support")
    known = rig.run(*command, "--target", "_unrouted")
    assert known.stderr.splitlines()[-1] == "no dead letter matches"


def test_on_a_terminal_list_is_a_table(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With more rows than a page; the ids stay in one piece."""
    monkeypatch.setattr(dead_letter_rows, "PAGE_ROWS", 2)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ids = fill(rig)
    dead_letters.list_()
    captured = capsys.readouterr()
    assert "gateway dead-letters show ID says why" in captured.err
    lines = captured.out.splitlines()
    assert all(any(line.startswith(one) for line in lines) for one in ids)
    assert sum("reason" in line for line in lines) == 2
    assert any("gave_up" in line and line.endswith("02-02 04:40  422") for line in map(str.rstrip, lines))


@pytest.mark.parametrize("command", [("replay",), ("replay", "--dry-run"), ("discard", "--yes")])
def test_what_is_not_there_is_told_before_anything_is_made(rig: Rig, command: tuple[str, ...]) -> None:
    """On a fresh installation: no key, no spool, no audit log."""
    rig.stop_listening()
    (rig.var / "seal.key").unlink()
    result = rig.run(*command, "nosuch", "../x", fails=True)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "not_found\tnosuch\tthere is no dead letter nosuch",
        "not_found\t../x\tthere is no dead letter ../x",
    ]
    assert f"{rig.store.directory} does not exist: has the gateway run with this" in result.stderr
    assert list(rig.var.iterdir()) == []


def test_what_is_there_is_replayed_beside_what_is_not(rig: Rig) -> None:
    (identifier, *_) = fill(rig)
    rig.stop_listening()
    results = rig.json("replay", "nosuch", identifier, fails=True)["results"]
    assert {name: one["result"] for name, one in results.items()} == {
        "nosuch": "not_found",
        identifier: "replayed",
    }
    assert [entry["ids"] for entry in rig.audit()] == [[identifier]]


@pytest.mark.parametrize("command", [("replay",), ("discard", "--yes")])
def test_another_user_than_the_state_s_owner_leaves_no_files(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    ids = fill(rig)
    rig.stop_listening()
    owner = user_name(os.geteuid())
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    with pytest.raises(UsageError, match=f"belongs to {owner}, .* run as: sudo -u {owner} gateway"):
        rig.run(*command, ids[0])
    assert sorted(path.name for path in rig.var.iterdir()) == ["dead-letter", "seal.key"]
    assert len(list(rig.store.iterate())) == 3


def test_show_takes_the_begin_of_an_id_that_is_unique(rig: Rig) -> None:
    ids = fill(rig)
    alike = next(at for at, signs in enumerate(zip(*ids, strict=False)) if len(set(signs)) > 1)
    common = ids[0][:alike]
    assert common
    assert rig.json("show", ids[1][:-1])["id"] == ids[1]
    with pytest.raises(DeadLetterError, match=f"several dead letters begin with {common}: .*write more"):
        rig.run("show", common)
    for none in (ids[0] + "x", ""):
        with pytest.raises(DeadLetterError, match="there is no dead letter"):
            rig.run("show", none)


def test_discard_that_nobody_answers_says_what_to_do(rig: Rig) -> None:
    ids = fill(rig)
    rig.stop_listening()
    result = rig.run("discard", ids[0], fails=True, answer="")
    assert "[y/N]:\nnobody answered, nothing is removed; use --yes" in result.stderr
    assert "Remove 1 dead letter for good?" in result.stderr
    assert len(list(rig.store.iterate())) == 3


def test_discard_can_be_rehearsed(rig: Rig) -> None:
    ids = fill(rig)
    found = rig.json("discard", "--all", "--dry-run")
    assert found["counts"] == {"would_discard": 3}
    assert set(found["results"]) == set(ids)
    assert len(list(rig.store.iterate())) == 3
    assert rig.audit() == []


def test_what_dies_again_while_it_is_replayed_does_not_come_round_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that still refuses would have the command replay the same letters for ever."""
    fill(rig)
    rig.stop_listening()
    monkeypatch.setattr("gateway.cli.dead_letters.choice.unix_ms", lambda: EPOCH_MS)
    assert rig.json("discard", "--all", "--yes") == {"results": {}, "counts": {}}
    assert len(list(rig.store.iterate())) == 3


def test_what_cannot_be_read_is_told_once_and_left(rig: Rig) -> None:
    fill(rig)
    rig.stop_listening()
    (path, *_) = rig.store.directory.rglob("*.json")
    path.write_text("{}")
    for counts in ({"discarded": 2}, {}):
        result = rig.run("discard", "--all", "--yes", "--json")
        assert json.loads(result.stdout)["counts"] == counts
        assert result.stderr.count("left out") == 1
    assert len(list(rig.store.iterate())) == 1


def peak_bytes(command: Callable[..., None]) -> int:
    tracemalloc.start()
    try:
        command(everything=True, dry_run=True)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("command", [dead_letters.discard, dead_letters.replay])
def test_memory_does_not_grow_with_the_number_of_letters(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, command: Callable[..., None]
) -> None:
    """100 000 of them: python -m bench.dead_letters."""
    peaks = []
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr("sys.stdout", nowhere)
        for number in (100, 1000):
            write_many(rig.store, number)
            # The less of two: threads that other tests have left may allocate meanwhile.
            peaks.append(min(peak_bytes(command), peak_bytes(command)))
    few, many = peaks
    assert many < few + 100_000, "an id and a result each are 400 KB more"


def test_with_several_gateways_the_table_fits_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row: dict[str, object] = {
        "id": "01a208094f4076a0a7c08b53b153b971-support",
        "target": "support",
        "reason": "refused",
        "fields": ["messages"],
        "received_at": "2026-11-23T10:52:37.568Z",
        "died_at": "2026-11-23T10:52:37.580Z",
        "last_status": 422,
        "last_error": "",
        "gateway": "db-a:11",
        "directory": "/srv/dead-letter",
        dead_letter_rows.SEVERAL: True,
    }
    dead_letter_rows.print_tables(iter([row]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "id reason fields received last on",
        "01a208094f4076a0a7c08b53b153b971-support refused messages 11-23 10:52 422 1",
        "on 1: db-a:11, /srv/dead-letter",
    ]
