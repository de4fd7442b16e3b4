"""New settings, certificates, anchors and secrets are taken up while the gateway serves; or nothing is."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gateway.core.signature import sign
from gateway.simulator.client import ClosedWithoutAnswerError, MetaClient
from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import NO_TRUST, start_gateway
from tests.stories.rig import (
    APP_SECRET,
    PATH,
    Config,
    Rig,
    free_port,
    message,
    open_target,
    unique_id,
    until,
)

HOOK = Path(__file__).parents[2] / "deploy/certbot-deploy-hook.sh"
NOWHERE = {"support": "http://127.0.0.1:9/"}


class Desk:
    """The admin port of one gateway, asked over one connection."""

    def __init__(self, rig: Rig, pid: int, client: httpx.AsyncClient) -> None:
        self._rig = rig
        self._pid = pid
        self._client = client
        self._logged_before = len(rig.log)

    @property
    def log(self) -> str:
        """What the gateway has logged since."""
        return self._rig.log[self._logged_before :]

    async def config(self) -> dict[str, Any]:
        """Ask what is loaded."""
        config = (await self._client.get(self._rig.admin_url + "/api/config")).json()
        assert isinstance(config, dict)
        return config

    async def reload(self) -> dict[str, Any]:
        """Send SIGHUP; return how the reload went, once it has."""
        before = (await self.config())["last_reload"]
        os.kill(self._pid, signal.SIGHUP)
        return await self.next_reload(before)

    async def last(self) -> dict[str, Any] | None:
        """Return how the last reload went."""
        last: dict[str, Any] | None = (await self.config())["last_reload"]
        return last

    async def next_reload(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """Return how the reload after `before` went, once it has."""
        with trio.fail_after(20):
            while True:
                last = (await self.config())["last_reload"]
                if last != before:
                    assert isinstance(last, dict)
                    return last
                await trio.sleep(0.02)


@asynccontextmanager
async def serving(rig: Rig) -> AsyncGenerator[Desk, None]:
    """Run the gateway."""
    async with rig.running() as gateway, httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
        yield Desk(rig, gateway.pid, client)


@dataclass(frozen=True)
class Standing:
    """A gateway that several stories use one after the other: a start takes longer than a reload."""

    rig: Rig
    pid: int

    @asynccontextmanager
    async def serving(self, change: Callable[[Config], None] = lambda _: None) -> AsyncGenerator[Desk, None]:
        """Have it take up this configuration first."""
        self.rig.write(targets=NOWHERE, change=change)
        async with httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
            assert (await Desk(self.rig, self.pid, client).reload())["success"] is True
            yield Desk(self.rig, self.pid, client)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, pki: PkiFiles) -> Iterator[Standing]:
    """Run one gateway for the module."""
    rig = Rig(directory=tmp_path_factory.mktemp("standing"), pki=pki)
    rig.write(targets=NOWHERE)
    command = [sys.executable, "-m", "gateway", "--config", str(rig.config), "run"]
    with (
        (rig.directory / "gateway.log").open("ab") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            trio.run(rig.wait_alive)
            yield Standing(rig, process.pid)
        finally:
            process.terminate()
    assert process.returncode == 0


async def test_a_hundred_reloads_under_load_drop_no_connection_and_no_request(rig: Rig) -> None:
    """Every other one changes what is served with: the certificate, an anchor more, a target, the log."""
    second = make_pki(rig.directory / "second")
    sent: set[str] = set()
    stop = trio.Event()

    async def post(http2: bool) -> None:
        async with rig.meta(http2=http2) as meta:
            while not stop.is_set():
                name = unique_id()
                assert (await meta.post(PATH, message(name))).status == 200
                sent.add(name)

    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with serving(rig) as desk:
            async with trio.open_nursery() as nursery:
                for number in range(2):
                    nursery.start_soon(post, number == 1)
                for number in range(100):
                    if number % 2:
                        rig.write(targets={"support": target.url}, change=_varied(number, second))
                    assert (await desk.reload())["success"] is True
                stop.set()
            accepted = await rig.metric('meta_gateway_handshakes_total{reason="none",result="accepted"}')
            assert accepted == 2
            await until(lambda: len(target.received) >= len(sent))
            assert len(sent) > 100
        assert rig.dead_letters == []


def _varied(number: int, second: PkiFiles) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        if number % 4 == 1:
            config["tls"] |= {
                "certificate": str(second.server_certificate),
                "private_key": str(second.server_key),
            }
            config["tls"]["clients"]["meta"]["trust_anchors"].append(str(second.meta_ca))
        config["targets"]["support"]["concurrency"] = 1 + number % 7
        config["log"]["notifications"] = "all" if number % 3 else "problems"

    return change


async def test_certificate_and_key_that_arrive_a_moment_apart_are_taken_up_as_a_pair(
    standing: Standing,
) -> None:
    """Written one by one, more than a second apart: what does not fit is refused, and tried again."""
    rig = standing.rig
    first, second = _own_files(rig, "pair"), make_pki(rig.directory / "pair-two")
    async with standing.serving(first) as desk:
        before, earlier = await _served(rig), await desk.last()
        certificate, key = rig.directory / "tls" / "server.pem", rig.directory / "tls" / "server.key"
        _replace(certificate, second.server_certificate)
        refused = await desk.next_reload(earlier)
        assert (refused["success"], refused["trigger"]) == (False, "file")
        assert "is not the private key of" in refused["problems"][0]["message"]
        assert await _served(rig) == before
        _replace(key, second.server_key)
        assert (await desk.next_reload(refused))["success"] is True
        assert await _served(rig) != before
        assert await rig.metric("meta_gateway_config_last_reload_success") == 1


async def test_a_secret_volume_of_kubernetes_is_taken_up_when_its_data_link_is_turned(
    standing: Standing,
) -> None:
    """`secret -> ..data/secret`, `..data -> ..2026_04_01`, and `..data` replaced by a rename."""
    rig = standing.rig
    volume = rig.directory / "volume"
    volume.mkdir()

    def project(name: str, secret: bytes) -> None:
        (volume / name).mkdir()
        (volume / name / "app_secret").write_bytes(secret)
        (volume / "..data_tmp").symlink_to(name)
        (volume / "..data_tmp").replace(volume / "..data")

    project("..one", APP_SECRET)
    (volume / "app_secret").symlink_to("..data/app_secret")

    def mounted(config: Config) -> None:
        config["apps"]["main"]["app_secrets"] = [{"file": "volume/app_secret"}]

    async with standing.serving(mounted) as desk:
        for number in range(2):  # the directory behind the link is another one the second time
            secret = b"rotated-%d" % number
            before = (await desk.config())["last_reload"]
            project(f"..new{number}", secret)
            assert (await desk.next_reload(before))["success"] is True
            async with rig.meta() as meta:
                body = message(unique_id())
                assert (await meta.post(PATH, body)).status == 401
                assert (await meta.post(PATH, body, signature=sign(secret, body))).status == 200


async def test_a_broken_configuration_changes_nothing_and_is_told_everywhere(standing: Standing) -> None:
    rig = standing.rig
    async with standing.serving() as desk:
        loaded = await desk.config()

        def broken(config: Config) -> None:
            config["apps"]["main"]["path"] = "/elsewhere"
            config["routes"][0]["to"] = ["suport"]

        rig.write(targets=NOWHERE, change=broken)
        last = await desk.reload()
        assert (last["success"], last["trigger"]) == (False, "signal")
        # That `support` is in no route any more is the consequence, and not told beside the cause.
        assert [problem["key_path"] for problem in last["problems"]] == ["routes[0].to[0]"]
        config = await desk.config()
        assert (config["hash"], config["loaded_at"]) == (loaded["hash"], loaded["loaded_at"])
        assert "reload_refused" in desk.log
        assert "suport" in desk.log
        assert await rig.metric("meta_gateway_config_last_reload_success") == 0
        assert await rig.metric("meta_gateway_config_last_reload_timestamp_seconds") > 0
        ready = await rig.admin_get("/readyz")
        assert ready.status_code == 200
        assert "suport" in ready.json()["configuration"]["detail"]
        assert (await rig.post(message(unique_id()))).status == 200
        audit = (rig.directory / "state" / "audit.log").read_text().splitlines()
        assert json.loads(audit[-1])["result"] == "refused"

        rig.write(targets=NOWHERE)
        assert (await desk.reload())["success"] is True
        ready = await rig.admin_get("/readyz")
        assert ready.json()["configuration"] == {"ok": True, "detail": ""}
        audit = (rig.directory / "state" / "audit.log").read_text().splitlines()
        assert json.loads(audit[-1]).items() >= {"by": "signal", "result": "loaded"}.items()


async def test_what_needs_a_restart_is_refused_as_a_whole(standing: Standing) -> None:
    rig = standing.rig
    async with standing.serving() as desk:
        for section, key, value in (
            ("listen", "address", "127.0.0.1:1"),
            ("spool", "min_free", "2MiB"),
            ("admin", "address", "127.0.0.1:1"),
            ("metrics", "address", "127.0.0.1:1"),
        ):
            rig.write(targets=NOWHERE, change=_moved(section, key, value))
            last = await desk.reload()
            assert last["success"] is False
            (problem,) = last["problems"]
            assert problem["key_path"].startswith(section)
            assert "restart" in problem["remedy"]
        assert (await rig.post(message(unique_id()))).status == 200


def _moved(section: str, key: str, value: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config.setdefault(section, {})[key] = value
        config["apps"]["main"]["path"] = "/elsewhere"

    return change


async def test_an_anchor_that_is_removed_shuts_its_clients_out_at_once(standing: Standing) -> None:
    """New connections are refused, and one that is open, accepted under that anchor, counts no more."""
    rig = standing.rig
    anchors = rig.directory / "anchors"
    anchors.mkdir()
    other = make_pki(rig.directory / "other")
    shutil.copy(rig.pki.meta_ca, anchors / "first.pem")
    shutil.copy(other.meta_ca, anchors / "second.pem")

    def in_a_directory(config: Config) -> None:
        config["tls"]["clients"]["meta"]["trust_anchors"] = ["anchors"]

    accepted = 'meta_gateway_handshakes_total{reason="none",result="accepted"}'
    async with (
        standing.serving(in_a_directory) as desk,
        rig.meta() as mine,
        rig.meta(http2=True) as mine_too,
        _meta(rig, other) as theirs,
    ):
        known, earlier = await rig.metric(accepted), await desk.last()
        for client in (mine, mine_too):
            assert (await client.post(PATH, message(unique_id()))).status == 200
        assert (await theirs.post(PATH, message(unique_id()))).status == 200
        (anchors / "first.pem").unlink()
        assert (await desk.next_reload(earlier))["success"] is True
        assert (await theirs.post(PATH, message(unique_id()))).status == 200
        for client in (mine, mine_too):
            with pytest.raises(ClosedWithoutAnswerError):
                await client.post(PATH, message(unique_id()))
        assert await rig.metric(accepted) == known + 3  # theirs is the connection that it was


async def test_a_secret_that_is_rotated_in_its_file_is_taken_up_whatever_the_clock_says(
    standing: Standing,
) -> None:
    """The file's time goes backwards, as after a restore; the environment's secret waits for a restart."""
    rig = standing.rig
    async with standing.serving() as desk:
        earlier = await desk.last()
        secret = rig.directory / "secrets" / "app_secret"
        secret.write_bytes(b"another-secret")
        os.utime(secret, (1, 1))
        assert (await desk.next_reload(earlier))["success"] is True
        body = message(unique_id())
        async with rig.meta() as meta:
            assert (await meta.post(PATH, body)).status == 401
            assert (await meta.post(PATH, body, signature=sign(b"another-secret", body))).status == 200
        assert "another-secret" not in rig.log


async def test_a_renewal_that_certbots_hook_installs_is_taken_up_in_one_go(rig: Rig) -> None:
    """Chain and key change at one moment, so nothing is refused on the way; no restart, no signal."""
    lineage = rig.directory / "live"
    lineage.mkdir()

    async def renew(name: str) -> None:
        pki = make_pki(rig.directory / name)
        shutil.copy(pki.server_certificate, lineage / "fullchain.pem")
        shutil.copy(pki.server_key, lineage / "privkey.pem")
        environ = {"RENEWED_LINEAGE": str(lineage), "GATEWAY_CERTS": str(rig.directory / "certs")}
        await trio.run_process([HOOK], env={**os.environ, **environ, "GATEWAY_GROUP": str(os.getgid())})

    def installed(config: Config) -> None:
        config["tls"] |= {"certificate": "certs/fullchain.pem", "private_key": "certs/privkey.pem"}

    await renew("one")
    rig.write(targets=NOWHERE, change=installed)
    async with serving(rig) as desk:
        before = await _served(rig)
        await renew("two")
        assert (await desk.next_reload(None))["success"] is True
        assert await _served(rig) != before
        assert "reload_refused" not in rig.log


async def test_a_signal_that_comes_while_it_starts_is_kept_for_when_it_runs(rig: Rig) -> None:
    """A secret in a named pipe holds the start up until somebody writes, and then the reload."""
    pipe = rig.directory / "pipe"
    os.mkfifo(pipe)

    def piped(config: Config) -> None:
        config["apps"]["main"]["verify_token"] = {"file": "pipe"}

    rig.write(targets=NOWHERE, change=piped)
    async with (
        start_gateway(
            rig.config,
            admin_url=rig.admin_url,
            log_path=rig.directory / "gateway.log",
            environ=os.environ,
        ) as gateway,
        httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client,
    ):
        with trio.fail_after(20):
            async with await trio.open_file(pipe, "w") as file:  # there is a reader: it is loading
                os.kill(gateway.pid, signal.SIGHUP)
                await file.write("token")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_feed, pipe)
                await gateway.wait_ready()
                last = await Desk(rig, gateway.pid, client).next_reload(None)
                nursery.cancel_scope.cancel()
        assert (last["success"], last["trigger"]) == (True, "signal")


async def _feed(pipe: Path) -> None:
    """Write whenever somebody reads: two readings that follow closely may share what one writer said."""
    while True:
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # ENXIO: nobody reads
            await trio.sleep(0.02)
        else:
            os.write(end, b"another token")
            os.close(end)
            await trio.sleep(0.02)


async def test_the_configuration_itself_waits_for_the_signal(standing: Standing) -> None:
    """A half-written file of settings is not taken up because a certificate happens to be renewed."""
    rig = standing.rig
    renewed = make_pki(rig.directory / "waits-two")
    async with standing.serving(_own_files(rig, "waits")) as desk:
        before, earlier = await _served(rig), await desk.last()
        rig.config.write_text("tls:\n  certificate: nothing")
        for file in (renewed.server_certificate, renewed.server_key):
            _replace(rig.directory / "tls" / file.name, file)
        last = await desk.next_reload(earlier)
        assert (last["success"], last["trigger"]) == (True, "file")
        assert await _served(rig) != before
        assert (await desk.reload())["success"] is False


async def test_apps_targets_and_routes_come_and_go_with_a_signal(rig: Rig) -> None:
    """What waits for a target that is gone is kept, and goes out when the target is back."""
    async with open_target("support") as support, open_target("audit") as audit:

        def down(config: Config) -> None:
            config["targets"]["support"]["url"] = f"http://127.0.0.1:{free_port()}/"

        def second_app(config: Config) -> None:
            config["apps"]["second"] = {**config["apps"]["main"], "path": "/webhooks/second"}

        rig.write(targets={"support": support.url}, change=down)
        async with serving(rig) as desk:
            assert (await rig.post(message(unique_id()))).status == 200
            rig.write(targets={"audit": audit.url}, change=second_app)
            assert (await desk.reload())["success"] is True
            async with rig.meta() as meta:
                for path in (PATH, "/webhooks/second"):
                    assert (await meta.post(path, message(unique_id()))).status == 200
            await until(lambda: len(audit.received) == 2)
            assert "target_unknown_pending" in rig.log
            assert await rig.metric('meta_gateway_spool_pending{target="support"}') == 1
            rig.write(targets={"support": support.url})
            assert (await desk.reload())["success"] is True
            await until(lambda: len(support.received) == 1)
            assert "apps.second" in rig.log


def _own_files(rig: Rig, name: str) -> Callable[[Config], None]:
    """Give the gateway a certificate and a key of its own, in `tls/`."""
    own = make_pki(rig.directory / name)
    (rig.directory / "tls").mkdir(exist_ok=True)
    for file in (own.server_certificate, own.server_key):
        shutil.copy(file, rig.directory / "tls" / file.name)

    def change(config: Config) -> None:
        config["tls"] |= {"certificate": "tls/server.pem", "private_key": "tls/server.key"}

    return change


def _replace(path: Path, new: Path) -> None:
    """Put a new file in the place of another, as renewal tools do."""
    temporary = path.with_name(".new")
    shutil.copy(new, temporary)
    temporary.replace(path)


async def _served(rig: Rig) -> bytes:
    """Return the certificate that the public port shows."""
    pem = await trio.to_thread.run_sync(ssl.get_server_certificate, ("127.0.0.1", rig.port))
    return pem.encode()


def _meta(rig: Rig, pki: PkiFiles) -> MetaClient:
    """Return a client of another CA."""
    return MetaClient(
        rig.public_url,
        secret=APP_SECRET,
        ca=rig.pki.server_ca,
        certificate=pki.client_certificate,
        private_key=pki.client_key,
    )
