"""Whose token opens the admin port, and where it is to be found; what is told with the checks. The port
as a whole: tests/stories."""

import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.admin.health import Check
from gateway.admin.token import read_token
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.errors import ConfigurationError
from gateway.process.admin_port import AdminAnswers, AdminPort, Token, remarked
from gateway.process.exposition import ReloadRecord
from gateway.process.generation import build_generation
from gateway.process.observing import Facts
from gateway.settings.load import Loaded, load_settings
from gateway.settings.values import Address
from gateway.simulator.pki import PkiFiles, make_pki
from gateway.spool.succession import LeftBehind
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import bind
from tests.admin.rig import Desk
from tests.stories.rig import Rig

CONFIGURED = b"a token that is long enough"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


def load(directory: Path, pki: PkiFiles, *, configured: bytes | None) -> Loaded:
    def change(config: dict[str, Any]) -> None:
        if configured is not None:
            config["admin"]["token"] = {"file": "token"}
            (directory / "token").write_bytes(configured)
            (directory / "token").chmod(0o600)

    rig = Rig(directory=directory, pki=pki)
    rig.write(targets={"support": "http://127.0.0.1:1/"}, change=change)
    (directory / "state").mkdir(exist_ok=True)
    return load_settings(rig.config, environ=os.environ)


def test_where_the_settings_name_no_token_one_is_made_and_found_again(tmp_path: Path, pki: PkiFiles) -> None:
    found = load(tmp_path, pki, configured=None).settings
    token, file = Token(lambda: found), tmp_path / "state" / "admin.token"
    assert token.now() == read_token(file)
    assert token.place() == f"in the file {file}"
    assert Token(lambda: found).now() == token.now()


def test_a_configured_token_is_the_one_of_now_and_no_file_is_made(tmp_path: Path, pki: PkiFiles) -> None:
    before, after = (load(tmp_path, pki, configured=each).settings for each in (CONFIGURED, CONFIGURED * 2))
    now = [before]
    token = Token(lambda: now[0])
    assert token.now() == CONFIGURED
    now[0] = after
    assert token.now() == CONFIGURED * 2
    assert token.place() == "what admin.token of the configuration names"
    assert not (tmp_path / "state" / "admin.token").exists()


def test_a_token_that_others_can_read_keeps_the_gateway_from_starting(tmp_path: Path, pki: PkiFiles) -> None:
    found = load(tmp_path, pki, configured=None).settings
    Token(lambda: found)
    file = tmp_path / "state" / "admin.token"
    file.chmod(stat.S_IRUSR | stat.S_IROTH)
    with pytest.raises(ConfigurationError):
        Token(lambda: found)


async def test_what_another_engine_has_left_is_told_with_the_spool_and_takes_nothing_away() -> None:
    left = LeftBehind(message="there is something left", remedy="move it")
    full = {"spool": Check(ok=False, detail="the disk is full"), "listener": Check(ok=True)}

    async def asked() -> dict[str, Check]:
        return full

    for health in (lambda: full, asked):
        told = remarked(health, left)()
        assert not isinstance(told, dict)
        assert await told == {  # type: ignore[misc]
            "spool": Check(ok=False, detail="the disk is full; there is something left; move it"),
            "listener": Check(ok=True),
        }
    assert remarked(asked, None) is asked


async def test_one_rendering_of_the_metrics_serves_all_who_wait_for_it(tmp_path: Path, pki: PkiFiles) -> None:
    generation = build_generation(load(tmp_path, pki, configured=None))
    desk, metrics, renderings = Desk(), Metrics(), 0

    async def render() -> bytes:
        nonlocal renderings
        renderings += 1
        await wait_all_tasks_blocked()
        return metrics.render()

    async def no_facts(with_slots: bool) -> Facts:
        return Facts(listening_since_ms=0, tracks=[], turned_away=[])

    async def nothing(*_: object) -> list[Any]:
        return []

    public, admin, second = (bind(Address(host="127.0.0.1", port=0)) for _ in range(3))
    port = AdminPort(
        AdminAnswers(
            actions=desk,
            health=lambda: desk.checks,
            render_metrics=render,
            edge=dict,
            facts=no_facts,
            changes=nothing,
            trace_parts=nothing,
            recall=nothing,
            follow_pauses=trio.lowlevel.checkpoint,
        ),
        generation=lambda: generation,
        record=ReloadRecord(generation, metrics=metrics, at_ms=0),
        public=public,
        dead_letters=DeadLetterStore(tmp_path / "dead", b"key"),
        metrics=metrics,
    )
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as client:
        await port.open(nursery, admin=admin, metrics_port=second)
        async with trio.open_nursery() as asking:
            for number in range(40):
                ((_, where),) = (admin, second)[number % 2].addresses
                asking.start_soon(client.get, f"http://127.0.0.1:{where}/metrics")
        nursery.cancel_scope.cancel()
    for one in public.sockets:
        one.close()
    assert 0 < renderings <= 5
