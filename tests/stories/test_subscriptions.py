"""Meta's side of the set-up and the gateway together: Graph API, running gateway, the command between."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from gateway.simulator.pki import make_pki
from tests.graph.stand_in import APP_ID, PHONE, TOKEN, WABA, StandIn, Trouble, write_ca
from tests.stories.rig import APP_SECRET, PATH, VERIFY_TOKEN, Rig, open_target


@pytest.fixture
def graph(tmp_path: Path) -> tuple[Rig, StandIn]:
    """Return a gateway's rig, and a Graph API that verifies callback URLs as Meta does: from outside."""
    ca = trustme.CA()
    environ = {"SSL_CERT_FILE": str(write_ca(ca, tmp_path)), "META_ACCESS_TOKEN": TOKEN}
    rig = Rig(directory=tmp_path, pki=make_pki(tmp_path / "certs"), environ=environ)

    async def verify(url: str, token: str) -> bool:
        if not url.startswith(rig.public_url):
            return False
        async with rig.meta(certificate=False) as meta:
            challenge = "1158201444"
            path = url.removeprefix(rig.public_url)
            exchange = await meta.challenge(path, verify_token=token, challenge=challenge)
        return (exchange.status, exchange.body) == (200, challenge.encode())

    return rig, StandIn(ca, verify=verify)


def configure(rig: Rig, stand_in: StandIn, target: str) -> None:
    """Write the configuration: what is wished for the account is an override that leads to this gateway."""

    def change(config: dict[str, Any]) -> None:
        config["listen"]["public_url"] = rig.public_url
        config["apps"]["main"]["app_id"] = APP_ID
        config["routes"] = [{"field": ["messages", "template_*"], "to": ["support"]}]
        config["graph"] = {
            "base_url": stand_in.base_url,
            "subscriptions": [{"waba": WABA, "override_url": rig.public_url + PATH}],
        }

    rig.write(targets={"support": target}, change=change)


async def test_what_the_command_sets_at_meta_the_running_gateway_answers_for(
    graph: tuple[Rig, StandIn], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meta verifies each callback URL at the gateway's door before it takes it: overrides, the app's own."""
    monkeypatch.setattr("tests.graph.stand_in.APP_SECRET", APP_SECRET.decode())
    rig, stand_in = graph
    await nursery.start(stand_in.serve)
    async with open_target() as target:
        configure(rig, stand_in, target.url)
        async with rig.running():
            ensured = await rig.command("subscriptions", "ensure", "--json")
            assert json.loads(ensured.stdout)["ok"] is True
            assert stand_in.accounts[WABA] == {APP_ID: rig.public_url + PATH}
            wrong = await rig.command(
                "subscriptions", "subscribe", "--phone", PHONE, "--override-url", rig.public_url + PATH,
                "--verify-token", "wrong", check=False,
            )  # fmt: skip
            assert wrong.returncode == 1
            assert b"could not verify the callback URL" in wrong.stdout
            assert stand_in.phones[PHONE][1] is None
            moved = await rig.command("subscriptions", "subscribe", "--app", "--yes")
            assert stand_in.app is not None
            assert stand_in.app["callback_url"] == rig.public_url + PATH
            assert "template_category_update" in stand_in.app["fields"]
        ran = (ensured, wrong, moved)
        printed = b"".join(one.stdout + one.stderr for one in ran) + rig.log.encode()
    for secret in (TOKEN.encode(), APP_SECRET, VERIFY_TOKEN.encode()):
        assert secret not in printed


async def test_ctrl_c_leaves_a_file_to_go_on_with(graph: tuple[Rig, StandIn], nursery: trio.Nursery) -> None:
    rig, stand_in = graph
    stand_in.accounts = {"1": {}, "2": {}, "3": {}}
    stand_in.scripted = [("POST", "/2", Trouble.HANG)]
    await nursery.start(stand_in.serve)
    configure(rig, stand_in, "http://127.0.0.1:1")
    (rig.directory / "all.txt").write_text("1\n2\n3\n")
    rest = rig.directory / "rest.txt"
    begin = [sys.executable, "-m", "gateway", "--config", str(rig.config), "subscriptions", "subscribe"]
    process = await trio.lowlevel.open_process(
        [*begin, "--waba-file", str(rig.directory / "all.txt"), "--remaining", str(rest)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **rig.environ},
    )
    with trio.fail_after(20):
        await stand_in.trouble_seen.wait()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert [line.split()[0] for line in rest.read_text().splitlines()] == ["#", "2", "3"]
    await rig.command("subscriptions", "subscribe", "--waba-file", str(rest), "--remaining", str(rest))
    assert all(apps == {APP_ID: None} for apps in stand_in.accounts.values())
    assert stand_in.asked("POST").count("/1/subscribed_apps") == 1
    assert rest.read_text().startswith("# gateway subscriptions subscribe: 0 of 2 remain")
