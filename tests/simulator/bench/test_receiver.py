"""The target that counts: lost, twice, and what was never answered, told apart."""

import zlib

import httpx
import pytest
import trio

from gateway.core.joining import join
from gateway.errors import UsageError
from gateway.settings.address import Address
from gateway.simulator.bench.mix import DEFAULT_SHARES, PROBE_WORKER, make_templates, stamp
from gateway.simulator.bench.receiver import Receiver, Verified, expected_changes
from gateway.simulator.bench.tally import Mark
from gateway.simulator.process import NO_TRUST, free_ports

RUN = "abcdefgh"
(STATUS, *_) = make_templates({"statuses": 1}, changes=1, large_bytes=1024, now_ms=1_795_400_000_000)
(BATCH,) = make_templates({"batches": 1}, changes=1, large_bytes=1024, now_ms=1_795_400_000_000)


async def compared(bodies: list[bytes], marks: bytes, *, status: int = 200) -> Verified:
    """POST the bodies to a receiver that answers with `status`; hold them against the marks of process 0."""
    receiver = Receiver(RUN)
    address = Address(host="127.0.0.1", port=free_ports(1)[0])
    async with trio.open_nursery() as nursery, httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
        await nursery.start(receiver.serve, address)
        for body in bodies:
            assert (await client.post(f"http://{address}/whatever", content=body)).status_code == status
        nursery.cancel_scope.cancel()
    return receiver.compare([zlib.compress(marks)])


async def test_what_is_missing_is_lost_and_what_comes_twice_a_duplicate() -> None:
    bodies = [STATUS.fill(stamp(RUN, 0, number)) for number in (0, 1, 1, 1, 3)]
    marks = bytes(
        (Mark.EXPECTED, Mark.EXPECTED, Mark.EXPECTED, Mark.UNANSWERED, Mark.UNANSWERED, Mark.ELSEWHERE)
    )
    assert await compared(bodies, marks) == Verified(
        expected=3, arrived=2, lost=1, duplicates=2, unanswered=1, strays=0, posts=5, foreign=0
    )


async def test_changes_of_a_batch_are_counted_one_by_one() -> None:
    body = BATCH.fill(stamp(RUN, 0, 10))
    marks = bytes([Mark.UNSENT] * 10 + [Mark.EXPECTED] * 49 + [Mark.ELSEWHERE])
    verified = await compared([body], marks)
    assert (verified.arrived, verified.lost, verified.strays) == (49, 0, 1)


async def test_the_probe_and_what_others_send_are_not_counted() -> None:
    bodies = [STATUS.fill(stamp(RUN, PROBE_WORKER, 0)), STATUS.fill(stamp("anotherr", 0, 0))]
    verified = await compared(bodies, bytes((Mark.EXPECTED,)))
    assert (verified.posts, verified.foreign, verified.lost) == (2, 0, 1)


async def test_a_real_notification_that_waits_for_the_target_is_left_to_the_gateway() -> None:
    real = b'{"object":"page","entry":[{"id":"1","changes":[{"field":"feed","value":{"a":"b"}}]}]}'
    of_the_run = STATUS.fill(stamp(RUN, 0, 0))
    bodies = [
        real,
        join([of_the_run, real.replace(b"page", b"whatsapp_business_account")]),
        b"{}",
        b"",
        b"[" * 9,
    ]
    verified = await compared(bodies, bytes((Mark.EXPECTED,)), status=503)
    assert (verified.posts, verified.foreign, verified.arrived) == (0, 5, 0)


async def test_every_kind_of_body_is_taken_for_the_benchs_own() -> None:
    kinds = {kind: 1.0 for kind in DEFAULT_SHARES if kind != "duplicates"}
    templates = make_templates(kinds, changes=3, large_bytes=4096, now_ms=1_795_400_000_000)
    verified = await compared([one.fill(stamp(RUN, 0, 0)) for one in templates], bytes((Mark.EXPECTED,)))
    assert (verified.posts, verified.foreign) == (len(templates), 0)


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    receiver = Receiver(RUN)
    told: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": bytes(1024**2), "more_body": True}

    async def send(event: dict[str, object]) -> None:
        if event["type"] == "http.response.start":
            told.append(int(str(event["status"])))

    with trio.fail_after(5):
        await receiver._app({"type": "http"}, receive, send)
    assert told == [503]


def test_what_is_expected_is_added_up_over_the_processes() -> None:
    marks = [
        zlib.compress(bytes((Mark.EXPECTED, Mark.ELSEWHERE))),
        b"",
        zlib.compress(bytes((Mark.EXPECTED,))),
    ]
    assert expected_changes(marks) == 2


async def test_where_somebody_listens_already_the_next_step_is_named() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with pytest.raises(UsageError, match="--listen"):
        await Receiver(RUN).serve(Address(host="127.0.0.1", port=port))
    await listener.aclose()
