"""Messages come in order, are counted once, and nobody waits to write them."""

from typing import TYPE_CHECKING

import trio
import trio.testing

from gateway.web.inbox import Inbox

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveEvent, HTTPRequestEvent

DISCONNECT: "ASGIReceiveEvent" = {"type": "http.disconnect"}


def _body(data: bytes) -> "HTTPRequestEvent":
    return {"type": "http.request", "body": data, "more_body": True}


async def test_messages_come_in_order_and_then_the_disconnect_for_ever() -> None:
    inbox = Inbox()
    for data in (b"a", b"b"):
        await inbox.put(_body(data))
    await inbox.put(DISCONNECT)
    got = [await inbox.receive() for _ in range(4)]
    assert got == [_body(b"a"), _body(b"b"), DISCONNECT, DISCONNECT]


async def test_nobody_waits_to_write_what_nobody_reads() -> None:
    for end in ("never", "discard", "disconnect"):
        inbox = Inbox()
        if end == "discard":
            await inbox.discard()
        elif end == "disconnect":
            await inbox.put(DISCONNECT)
        for _ in range(100):
            await inbox.put(_body(bytes(1000)))


async def test_a_waiting_app_hears_of_the_disconnect() -> None:
    inbox = Inbox()
    got: list[ASGIReceiveEvent] = []

    async def app() -> None:
        got.append(await inbox.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app)
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put(DISCONNECT)
    assert got == [DISCONNECT]


async def test_every_byte_is_reported_as_taken_once() -> None:
    taken: list[int] = []

    async def note(size: int) -> None:
        taken.append(size)

    inbox = Inbox(taken=note)
    for size in (1, 2, 4):
        await inbox.put(_body(bytes(size)))
    await inbox.receive()
    assert taken == [1]
    await inbox.discard()
    await inbox.put(_body(bytes(8)))
    assert taken == [1, 6, 8]
    # An app that is told of no body is told of no bytes.
    await inbox.put({"type": "http.request", "body": b"", "more_body": False})
    assert sum(taken) == 15
