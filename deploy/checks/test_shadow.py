"""The third recipe of docs/moving-in.md with a real nginx: `make recipes`."""

import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from pwd import getpwuid

import httpx
import pytest
import trio

from deploy.checks.programs import program, run
from gateway.core.signature import sign
from gateway.simulator.pki import make_pki
from tests.stories.recipes import block, moved, old_application, prepare, recorder, type_in
from tests.stories.rig import APP_SECRET, VERIFY_TOKEN, Rig, free_port, message, message_id, unique_id, until

MAIN = """\
daemon off;
user {user};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{server}
}}
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(directory=tmp_path, pki=make_pki(tmp_path / "pki"))


@asynccontextmanager
async def nginx(rig: Rig, ports: dict[str, int]) -> AsyncGenerator[str, None]:
    """Run nginx with what the guide says; return where Meta would call it."""
    directory = rig.directory / "nginx"
    directory.mkdir()
    server = moved(block("nginx", holding="mirror /shadow"), ports)
    server = re.sub(r"\bcerts/", f"{rig.directory}/certs/", server)
    config = directory / "nginx.conf"
    config.write_text(MAIN.format(directory=directory, server=server, user=getpwuid(os.geteuid()).pw_name))
    run("nginx", "-t", "-p", directory, "-c", config)
    process = await trio.lowlevel.open_process([program("nginx"), "-p", str(directory), "-c", str(config)])
    try:
        yield f"http://127.0.0.1:{ports['8080']}/webhook"
    finally:
        process.terminate()
        await process.wait()


async def post(client: httpx.AsyncClient, url: str, body: bytes) -> int:
    """Post a notification as Meta does; return the status."""
    headers = {"x-hub-signature-256": sign(APP_SECRET, body), "content-type": "application/json"}
    return (await client.post(url, content=body, headers=headers)).status_code


async def test_a_shadow_behind_nginx_sees_the_same_and_hinders_nobody(rig: Rig) -> None:
    recorded, recorder_port, front = rig.directory / "gateway.ids", free_port(), free_port()
    prepare(rig, "3: a shadow", recorder=recorder_port)
    type_in(rig, holding="openssl req")
    large = message(unique_id()).replace(b'"type": "text"', b'"type": "text", "x": "%s"' % (b"x" * 3_000_000))
    bodies = [*(message(unique_id()) for _ in range(20)), large]
    with old_application() as (old_port, seen):
        async with (
            recorder(recorder_port, recorded),
            nginx(rig, {"8443": rig.port, "5000": old_port, "8080": front}) as url,
            httpx.AsyncClient(trust_env=False) as meta,
        ):
            async with rig.running():
                asked = {
                    "hub.mode": "subscribe",
                    "hub.verify_token": VERIFY_TOKEN,
                    "hub.challenge": "1158201444",
                }
                assert (await meta.get(url, params=asked)).text == "1158201444", (
                    "the old application's answer"
                )
                for body in bodies:
                    assert await post(meta, url, body) == 200
                await until(lambda: len(recorded.read_text().splitlines()) == len(bodies))
                assert '"event": "challenge_answered"' not in rig.log
                clients = (await rig.admin_get("/metrics")).text
                assert (
                    f'client_certificates_total{{app="main",presented="accepted"}} {len(bodies)}.0' in clients
                )
            # The gateway is down: the old stack goes on, and the comparison says what the shadow has missed.
            missed = unique_id()
            with trio.fail_after(10):
                assert await post(meta, url, message(missed)) == 200
        (rig.directory / "old.ids").write_text("".join(f"{message_id(body)}\n" for body in seen))
    assert len(seen) == len(bodies) + 1
    assert type_in(rig, holding="comm -3").splitlines() == [missed]
