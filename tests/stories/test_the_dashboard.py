"""The dashboard of a real gateway: what an operator sees and does in a browser without JavaScript."""

import re

import httpx
import trio

from gateway.simulator.target import REFUSE
from tests.stories.rig import Config, Rig, message, open_target, unique_id, until


def with_two_workers(config: Config) -> None:
    config["listen"]["workers"] = 2


async def test_a_refused_delivery_is_found_read_and_discarded_in_the_browser(rig: Rig) -> None:
    async with open_target("support", REFUSE) as target:
        rig.write(targets={"support": target.url}, change=with_two_workers)
        async with rig.running(), httpx.AsyncClient(base_url=rig.admin_url, trust_env=False) as client:
            assert "nothing has been received yet" in (await client.get("/")).text
            body = message(unique_id())
            assert (await rig.post(body)).status == 200
            await until(lambda: bool(rig.dead_letters))
            (letter,) = rig.dead_letters
            page = f"/dead-letters/{letter['id']}"
            assert letter["id"] in (await client.get("/dead-letters?target=support")).text
            assert (await client.get(f"{page}/payload")).status_code == 303
            token = (rig.spool_directory.parent / "admin.token").read_text().strip()
            await client.post("/login", data={"token": token})
            assert (await client.get(f"{page}/payload")).content == body
            csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get(page)).text)
            assert csrf is not None
            form = {"csrf": csrf[1], "action": "discard", "id": letter["id"]}
            assert (await client.post("/dead-letters/act", data=form)).status_code == 303
            assert rig.dead_letters == []
            assert "discard" in (await client.get("/changes")).text
            overview = (await client.get("/")).text
            assert "status 422" in overview
            assert "messages" in overview
            assert "Workers:" in overview


async def test_an_open_page_does_not_hold_the_end_of_the_gateway(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running() as process:
            page = await trio.open_tcp_stream("127.0.0.1", rig.admin_port)
            async with page:
                await page.send_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                heard = b""
                with trio.fail_after(10):
                    while b"retry: 3000" not in heard:
                        heard += await page.receive_some()
                with trio.fail_after(10):
                    assert await process.stop() == 0
