"""Small internal targets, called as the gateway calls them."""

import httpx
import pytest
import trio

from gateway.core.signature import sign
from gateway.simulator.process import NO_TRUST
from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER, FAIL_TWICE, REFUSE, Behaviour, Received, Target

SECRET = b"test-app-secret"
DEADLINE_SECONDS = 10


async def post(url: str, body: bytes, *, key: str = "k", signature: str = "") -> httpx.Response:
    headers = {
        "X-Hub-Signature-256": signature or sign(SECRET, body),
        "Gateway-App": "main",
        "Gateway-Notification": "n1",
        "Gateway-Attempt": "1",
        "Idempotency-Key": key,
    }
    async with httpx.AsyncClient(verify=NO_TRUST, trust_env=False, timeout=DEADLINE_SECONDS) as client:
        return await client.post(url, content=body, headers=headers)


async def test_a_target_records_what_it_got(nursery: trio.Nursery) -> None:
    told: list[tuple[str, Received]] = []
    target = Target("support", secret=SECRET, on_received=lambda name, one: told.append((name, one)))
    url = await nursery.start(target.serve)
    assert url == target.url
    assert (await post(url, b'{"a": 1}')).status_code == 200
    (received,) = target.received
    assert received.path == "/support"
    assert received.body == b'{"a": 1}'
    assert received.headers["gateway-app"] == "main"
    assert (received.notification_id, received.attempt, received.key) == ("n1", 1, "k")
    assert received.signature_fits
    assert received.status == 200
    assert told == [("support", received)]


@pytest.mark.parametrize("signature", ["sha256=" + "0" * 64, "nonsense"])
async def test_a_signature_that_does_not_fit_is_told(nursery: trio.Nursery, signature: str) -> None:
    target = Target("support", secret=SECRET)
    url = await nursery.start(target.serve)
    await post(url, b"{}", signature=signature)
    assert not target.received[0].signature_fits


@pytest.mark.parametrize(
    ("behaviour", "answers"),
    [
        (ACCEPT, [200, 200, 200, 200]),
        (FAIL_TWICE, [503, 503, 200, 200]),
        (FAIL_FOR_EVER, [500, 500, 500, 500]),
        (REFUSE, [422, 422, 422, 422]),
        (Behaviour(status=204, failures=1, failure_status=429), [429, 204, 204, 204]),
    ],
)
async def test_a_target_answers_by_its_behaviour(
    nursery: trio.Nursery, behaviour: Behaviour, answers: list[int]
) -> None:
    url = await nursery.start(Target("t", secret=SECRET, behaviour=behaviour).serve)
    assert [(await post(url, b"{}")).status_code for _ in answers] == answers


async def test_each_delivery_has_failures_of_its_own(nursery: trio.Nursery) -> None:
    target = Target("t", secret=SECRET, behaviour=Behaviour(failures=1))
    url = await nursery.start(target.serve)
    for key in ("one", "two", "one", "two"):
        await post(url, b"{}", key=key)
    assert [(one.key, one.status) for one in target.received] == [
        ("one", 503),
        ("two", 503),
        ("one", 200),
        ("two", 200),
    ]


async def test_a_behaviour_may_change_while_the_target_serves(nursery: trio.Nursery) -> None:
    target = Target("t", secret=SECRET, behaviour=FAIL_FOR_EVER)
    url = await nursery.start(target.serve)
    assert (await post(url, b"{}")).status_code == 500
    target.behaviour = ACCEPT
    assert (await post(url, b"{}")).status_code == 200


async def test_headers_of_the_behaviour_are_in_the_answer(nursery: trio.Nursery) -> None:
    behaviour = Behaviour(status=503, headers={"Retry-After": "3"})
    url = await nursery.start(Target("t", secret=SECRET, behaviour=behaviour).serve)
    assert (await post(url, b"{}")).headers["retry-after"] == "3"


async def test_a_slow_target_answers_after_its_delay(nursery: trio.Nursery) -> None:
    url = await nursery.start(Target("t", secret=SECRET, behaviour=Behaviour(delay_seconds=0.2)).serve)
    began = trio.current_time()
    assert (await post(url, b"{}")).status_code == 200
    assert trio.current_time() - began >= 0.2


async def test_waiting_for_a_count_returns_when_it_is_reached(nursery: trio.Nursery) -> None:
    target = Target("t", secret=SECRET)
    url = await nursery.start(target.serve)
    nursery.start_soon(post, url, b"1")
    nursery.start_soon(post, url, b"2")
    with trio.fail_after(DEADLINE_SECONDS):
        await target.wait_received(2)
    assert {one.body for one in target.received} == {b"1", b"2"}
    await trio.testing.wait_all_tasks_blocked()


async def test_a_body_of_the_largest_notification_arrives_whole(nursery: trio.Nursery) -> None:
    target = Target("t", secret=SECRET)
    url = await nursery.start(target.serve)
    body = bytes(range(256)) * (3 * 4096)
    assert (await post(url, body)).status_code == 200
    assert target.received[0].body == body
    assert target.received[0].signature_fits
