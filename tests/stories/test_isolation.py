"""One dead and one slow target among twenty change nothing for the others, nor for Meta."""

import time

import trio

from gateway.core.lanes import Lane
from gateway.simulator.target import ACCEPT, Target
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.metrics import Metrics
from tests.delivery.rig import notification
from tests.stories.rig import (
    APP_SECRET,
    PATH,
    Config,
    Rig,
    free_port,
    message,
    message_id,
    open_target,
    unique_id,
)

GOOD = 18
BACKLOG = 100_000
POSTS = 40
ACK_SECONDS = 2.0
"""Far above what one takes (milliseconds), far below what a dead target would cost: its time-out is 5 s."""
DELIVERED_SECONDS = 15.0
"""For all posts and all good targets, on a machine that is busy with other tests."""
MAX_PENDING = 512 * 1024


async def fill(rig: Rig, raw: bytes, copies: int) -> None:
    """Let so many deliveries wait for the dead target, as after a day."""
    options = SqliteOptions(duplicates_window_seconds=3600, duplicates_max=1000, min_free_bytes=0)
    rig.spool_directory.mkdir(parents=True, exist_ok=True)
    now_ms = time.time_ns() // 1_000_000
    waiting = notification(raw, "dead", lane=Lane.LOW, copies=copies, received_at_ms=now_ms - 3_600_000)
    async with open_sqlite_spool(
        rig.spool_directory, options, metrics=Metrics(), now_ms=lambda: now_ms
    ) as spool:
        await spool.append(waiting)


async def test_a_dead_and_a_slow_target_among_twenty_are_noticed_by_nobody_else(rig: Rig) -> None:
    async def crawl(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    names = [f"good{number}" for number in range(GOOD)]
    async with trio.open_nursery() as nursery:
        targets = {name: Target(name, secret=APP_SECRET, behaviour=ACCEPT) for name in names}
        for target in targets.values():
            await nursery.start(target.serve)
        listeners = await nursery.start(trio.serve_tcp, crawl, 0)
        slow = listeners[0].socket.getsockname()[1]
        urls = {name: target.url for name, target in targets.items()}
        urls |= {"dead": f"http://127.0.0.1:{free_port()}/", "slow": f"http://127.0.0.1:{slow}/"}
        rig.write(targets=urls)
        await fill(rig, b"{}", BACKLOG)
        wanted = {unique_id() for _ in range(POSTS)}
        acks: list[float] = []
        async with rig.running(), rig.meta() as meta:
            started = trio.current_time()
            for identity in wanted:
                began = trio.current_time()
                assert (await meta.post(PATH, message(identity))).status == 200
                acks.append(trio.current_time() - began)
            with trio.fail_after(DELIVERED_SECONDS):
                for target in targets.values():
                    await target.wait_received(POSTS)
            assert trio.current_time() - started < DELIVERED_SECONDS
            status = (await rig.admin_get("/api/status")).json()["targets"]
        assert max(acks) < ACK_SECONDS
        for name, target in targets.items():
            assert {message_id(one.body) for one in target.received} == wanted
            assert {one.headers["gateway-attempt"] for one in target.received} == {"1"}
            assert status[name]["state"] == "delivering"
        assert status["dead"]["pending"] >= BACKLOG
        assert status["dead"]["state"] == "open"
        assert status["slow"]["pending"] == POSTS
        nursery.cancel_scope.cancel()


async def test_what_a_dead_target_may_pile_up_is_bounded_and_the_door_stays_open(rig: Rig) -> None:
    def bounded(config: Config) -> None:
        config["targets"]["dead"] |= {"max_pending": "512KiB", "on_give_up": "drop"}

    async with open_target("good") as good:
        rig.write(targets={"dead": f"http://127.0.0.1:{free_port()}/", "good": good.url}, change=bounded)
        await fill(rig, b'{"padding":"' + b"x" * 1000 + b'"}', 4_000)
        async with rig.running(), rig.meta() as meta:
            assert (await meta.post(PATH, message(unique_id()))).status == 200
            with trio.fail_after(60):
                while (await pending_bytes(rig)) > MAX_PENDING:
                    assert (await meta.post(PATH, message(unique_id()))).status == 200
                    await trio.sleep(0.2)
            assert await rig.metric('meta_gateway_deliveries_total{outcome="gave_up",target="dead"}') > 3_000
            assert (await rig.admin_get("/readyz")).status_code == 200


async def pending_bytes(rig: Rig) -> int:
    status = (await rig.admin_get("/api/status")).json()
    return int(status["targets"]["dead"]["pending_bytes"])
