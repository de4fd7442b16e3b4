"""Deliveries from a real spool to real targets: retried, refused, given up, drained, and never lost."""

from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.core.lanes import Lane
from gateway.core.routing import UNROUTED
from gateway.core.signature import sign
from gateway.delivery import message
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DeadLetter, Reason
from gateway.delivery.message import described_headers
from gateway.errors import DeadLetterError
from gateway.spool.contract import Lease, Notification
from tests.delivery.dispatching import BODY, Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import (
    APP_SECRET,
    Received,
    Script,
    a_letter,
    answer,
    hang,
    notification,
    raw,
    serving,
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_delivery_arrives_signed_and_leaves_the_spool(rig: Rig) -> None:
    async with serving(answer(200)) as target, rig.running({"support": a_target(target.url)}) as spool:
        new = notification(BODY, "support")
        await spool.append(new)
        await emptied(spool)
    (request,) = target.requests
    assert request.body == BODY
    assert request.headers["x-hub-signature-256"] == sign(APP_SECRET, BODY)
    assert request.headers["idempotency-key"] == new.deliveries[0].id
    assert request.headers["gateway-attempt"] == "1"
    assert request.headers["authorization"] == "Bearer s3cr3t"
    assert rig.counted("support", "delivered") == 1
    assert list(rig.letters()) == []


async def test_it_fails_twice_and_then_recovers(rig: Rig) -> None:
    """The key stays, the attempt counts up, and both kinds of failure count as retried."""
    async with (
        serving(answer(503), raw(b"garbage\r\n\r\n"), answer(200)) as target,
        rig.running({"support": a_target(target.url)}) as spool,
    ):
        await spool.append(notification(BODY, "support"))
        await emptied(spool)
    assert [request.headers["gateway-attempt"] for request in target.requests] == ["1", "2", "3"]
    assert len({request.headers["idempotency-key"] for request in target.requests}) == 1
    assert (rig.counted("support", "retried"), rig.counted("support", "delivered")) == (2, 1)


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 503])
async def test_what_is_neither_taken_nor_refused_is_retried(rig: Rig, status: int) -> None:
    async with (
        serving(answer(status), answer(204)) as target,
        rig.running({"support": a_target(target.url)}) as spool,
    ):
        await spool.append(notification(BODY, "support"))
        await emptied(spool)
    assert len(target.requests) == 2


async def test_retry_after_is_honoured_up_to_the_longest_step(rig: Rig) -> None:
    asked_to_wait = answer(429, headers="Retry-After: 3600\r\n")
    async with (
        serving(asked_to_wait, answer(200)) as target,
        rig.running({"support": a_target(target.url, schedule=(0.01, 0.5))}) as spool,
    ):
        started = trio.current_time()
        await spool.append(notification(BODY, "support"))
        await emptied(spool)
        assert 0.45 < trio.current_time() - started < 5


async def test_a_refused_delivery_is_a_dead_letter_at_once(rig: Rig) -> None:
    async with serving(answer(422, b"no")) as target, rig.running({"support": a_target(target.url)}) as spool:
        new = notification(BODY, "support")
        await spool.append(new)
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.id == new.deliveries[0].id
    assert letter.notification_id == new.id
    assert letter.reason is Reason.REFUSED
    assert letter.body == BODY
    assert letter.url == target.url
    assert letter.summary.fields == ("messages",)
    assert [(attempt.status, attempt.response_excerpt) for attempt in letter.attempts] == [(422, "no")]
    assert set(letter.headers) == {
        "Content-Type",
        "Gateway-App",
        "Gateway-Notification",
        "Gateway-Attempt",
        "Gateway-Received-At",
    }
    assert rig.counted("support", "refused") == 1


async def test_it_gives_up_with_every_attempt_on_record(rig: Rig) -> None:
    async with (
        serving(answer(500), answer(502), answer(503)) as target,
        rig.running({"support": a_target(target.url, schedule=(0.1,), give_up_after=0.25)}) as spool,
    ):
        new = notification(BODY, "support", received_at_ms=unix_ms())
        await spool.append(new)
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.GAVE_UP
    assert len(letter.attempts) == len(target.requests) >= 3
    assert [attempt.number for attempt in letter.attempts] == list(range(1, len(letter.attempts) + 1))
    assert rig.counted("support", "gave_up") == 1


@pytest.mark.parametrize("script", [answer(422), answer(500)], ids=["refused", "gave_up"])
async def test_a_shadow_target_leaves_no_dead_letter(rig: Rig, script: Script) -> None:
    async with (
        serving(script) as target,
        rig.running({"support": a_target(target.url, give_up_after=0.0, drops=True)}) as spool,
    ):
        await spool.append(notification(BODY, "support", received_at_ms=unix_ms()))
        await emptied(spool)
    assert len(target.requests) == 1
    assert list(rig.letters()) == []


async def test_what_no_route_takes_is_a_dead_letter_without_a_target(rig: Rig) -> None:
    body = BODY.replace(b'"value":{"a":1}}', b'"value":{"a":1}},{"field":"security","value":{"b":2}}')
    async with rig.running({}) as spool:
        await spool.append(notification(body, UNROUTED, selection=(1,)))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.UNROUTED
    assert letter.target == UNROUTED
    assert letter.url is None
    assert letter.attempts == ()
    assert letter.summary.fields == ("security",)
    assert letter.body == BODY.replace(
        b'"field":"messages","value":{"a":1}', b'"field":"security","value":{"b":2}'
    )


@pytest.mark.parametrize("body", [b"\x00\xff not json", b"", b'"text"', b"[" * 10_000 + b"]" * 10_000])
async def test_what_does_not_parse_is_a_dead_letter_byte_for_byte(rig: Rig, body: bytes) -> None:
    async with rig.running({}) as spool:
        await spool.append(notification(body, UNROUTED))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.UNPARSEABLE
    assert letter.body == body


async def test_a_body_that_cannot_be_cut_is_a_dead_letter_and_ends_nothing(rig: Rig) -> None:
    async with serving(answer(200)) as target, rig.running({"support": a_target(target.url)}) as spool:
        await spool.append(notification(BODY, "support", selection=(7,)))
        await spool.append(notification(BODY + b" ", "support", number=1))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.UNPARSEABLE
    assert letter.body == BODY
    assert len(target.requests) == 1


@pytest.mark.parametrize("received_at_ms", [253_402_300_800_000, 2**48 - 1])
async def test_a_time_beyond_the_calendar_ends_nothing(rig: Rig, received_at_ms: int) -> None:
    """An edited dead letter may have brought it into the spool."""
    async with (
        serving(answer(200), answer(422)) as target,
        rig.running({"support": a_target(target.url, concurrency=1)}) as spool,
    ):
        for number in range(2):
            await spool.append(
                notification(BODY + b" " * number, "support", received_at_ms=received_at_ms, number=number)
            )
        await emptied(spool)
    assert target.requests[0].headers["gateway-received-at"] == "9999-12-31T23:59:59.999Z"
    (letter,) = rig.letters()
    assert letter.reason is Reason.REFUSED


async def test_what_cannot_be_made_a_request_is_a_dead_letter_and_ends_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(lease: Lease, *, attempted: bool) -> dict[str, str]:
        headers = described_headers(lease, attempted=attempted)
        return headers | ({"Gateway-App": "\ud800"} if lease.raw == BODY else {})

    monkeypatch.setattr(message, "described_headers", odd)
    async with serving(answer(200)) as target, rig.running({"support": a_target(target.url)}) as spool:
        await spool.append(notification(BODY, "support"))
        await spool.append(notification(BODY + b" ", "support", number=1))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.UNPARSEABLE
    assert letter.body == BODY
    assert letter.attempts[0].error == "no request can be made of it: UnicodeEncodeError"
    assert len(target.requests) == 1


async def test_an_app_that_is_gone_is_retried_and_not_sent_unsigned(rig: Rig) -> None:
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, give_up_after=0.0)}) as spool,
    ):
        await spool.append(notification(BODY, "support", app="former", received_at_ms=unix_ms()))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.reason is Reason.GAVE_UP
    assert letter.attempts[0].error == "app former is not configured: there is no secret to sign with"
    assert target.requests == []


async def test_a_target_that_hangs_delays_no_other(rig: Rig) -> None:
    async with serving(hang) as dead, serving(answer(200)) as alive:
        targets = {"dead": a_target(dead.url, timeout=30), "alive": a_target(alive.url)}
        async with rig.running(targets) as spool:
            for number in range(10):
                await spool.append(notification(BODY + b" " * number, "dead", "alive", number=number))
            await asked(alive, 10)
            assert len(dead.requests) == 2  # its concurrency
            assert spool.pending()["dead"] == 10


async def test_concurrency_bounds_the_attempts_at_once(rig: Rig) -> None:
    at_once = most = 0
    full = trio.Event()

    async def slow(received: Received, stream: trio.abc.Stream) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            full.set()
        with trio.fail_after(10):
            await full.wait()
        await trio.sleep(0.02)  # time for one more than there should be
        at_once -= 1
        return await answer(200)(received, stream)

    async with (
        serving(slow) as target,
        rig.running({"support": a_target(target.url, concurrency=3)}) as spool,
    ):
        for number in range(12):
            await spool.append(notification(BODY + b" " * number, "support", number=number))
        await emptied(spool)
    assert most == 3
    assert len(target.requests) == 12


async def test_a_target_that_is_no_longer_configured_keeps_its_deliveries(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    async with rig.spool() as spool:
        await spool.append(notification(BODY, "former"))
    async with rig.running({}) as spool:
        await trio.sleep(0.1)
        assert spool.pending() == {"former": 1}
    assert "target_unknown_pending" in "".join(capsys.readouterr())


class FailingStore(DeadLetterStore):
    """A directory that cannot be written a few times."""

    failures = 0

    def write(self, letter: DeadLetter) -> None:
        if self.failures:
            self.failures -= 1
            raise DeadLetterError("no space left on device")
        super().write(letter)


async def test_a_dead_letter_that_cannot_be_written_stays_in_the_spool(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.attempts.UNWRITTEN_STEP_MS", 100)
    store = FailingStore(rig.directory / "dead", b"k" * 32)
    store.failures = 2
    async with (
        serving(answer(400)) as target,
        rig.running({"support": a_target(target.url)}, store) as spool,
    ):
        started = trio.current_time()
        await spool.append(notification(BODY, "support"))
        await emptied(spool)
        assert trio.current_time() - started > 0.15
    (letter,) = rig.letters()
    assert len(letter.attempts) == len(target.requests) == 3


async def test_an_unrouted_dead_letter_that_cannot_be_written_is_held(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.burial.FIRST_PAUSE_SECONDS", 0.05)
    store = FailingStore(rig.directory / "dead", b"k" * 32)
    store.failures = 2
    async with rig.running({}, store) as spool:
        await spool.append(notification(BODY, UNROUTED))
        await emptied(spool)
    (letter,) = rig.letters()
    assert letter.attempts == ()


async def test_drain_lets_an_attempt_end_and_delivers_nothing_twice(rig: Rig) -> None:
    release = trio.Event()

    async def slow(received: Received, stream: trio.abc.Stream) -> bool:
        await release.wait()
        return await answer(200)(received, stream)

    async with serving(slow) as target:
        settings = {"support": a_target(target.url, concurrency=1)}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, settings)
            await nursery.start(dispatcher.run)
            for number in range(3):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
            await asked(target, 1)
            nursery.start_soon(dispatcher.drain, 5)
            await trio.testing.wait_all_tasks_blocked(0.05)
            release.set()
        async with rig.running(settings) as spool:
            await emptied(spool)
    keys = [request.headers["idempotency-key"] for request in target.requests]
    assert len(keys) == len(set(keys)) == 3
    assert {request.headers["gateway-attempt"] for request in target.requests} == {"1"}


async def test_drain_cuts_short_what_takes_too_long_and_it_is_tried_again(rig: Rig) -> None:
    async with serving(hang, answer(200)) as target:
        settings = {"support": a_target(target.url, timeout=30)}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, settings)
            await nursery.start(dispatcher.run)
            await spool.append(notification(BODY, "support"))
            await asked(target, 1)
            with trio.fail_after(2):
                await dispatcher.drain(0.1)
            assert spool.pending() == {"support": 1}
        async with rig.running(settings) as spool:
            await emptied(spool)
    assert [request.headers["gateway-attempt"] for request in target.requests] == ["1", "2"]


async def test_a_crash_in_the_middle_of_attempts_loses_nothing(rig: Rig) -> None:
    """Cancelled as hard as can be, over and over; in the end everything has arrived."""
    async with serving(answer(200)) as target:
        settings = {"support": a_target(target.url)}
        async with rig.spool() as spool:
            for number in range(40):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
        for turn in range(8):
            async with rig.spool() as spool, trio.open_nursery() as nursery:
                await nursery.start(rig.dispatcher(spool, settings).run)
                await trio.sleep(0.003 * turn)
                nursery.cancel_scope.cancel()
        async with rig.running(settings) as spool:
            await emptied(spool)
    assert len({request.headers["idempotency-key"] for request in target.requests}) == 40


async def test_draining_twice_or_without_a_start_returns(rig: Rig) -> None:
    async with rig.spool() as spool:
        await rig.dispatcher(spool, {}).drain(1)
        async with trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, {})
            await nursery.start(dispatcher.run)
            with trio.fail_after(2):
                await dispatcher.drain(0)
                await dispatcher.drain(0)


async def test_what_is_delivered_after_all_keeps_no_dead_letter(rig: Rig) -> None:
    """As after a crash between the file of a burial and its settlement: both were there."""
    new = notification(BODY, "support")
    rig.store.write(a_letter(body=BODY))
    assert [found.id for found in rig.store.iterate()] == [new.deliveries[0].id]
    async with (
        serving(answer(503), answer(200)) as target,
        rig.running({"support": a_target(target.url)}) as spool,
    ):
        await spool.append(new)
        await emptied(spool)
        with trio.fail_after(5):
            while list(rig.store.iterate()):  # noqa: ASYNC110 - looks at the disk
                await trio.sleep(0.01)


async def test_a_target_that_is_new_gets_what_waited_for_it(rig: Rig) -> None:
    async with serving() as target, rig.spool() as spool, trio.open_nursery() as nursery:
        await spool.append(notification(BODY, "late"))
        dispatcher = rig.dispatcher(spool, {})
        await nursery.start(dispatcher.run)
        dispatcher.adopt({"late": a_target(target.url)})
        await emptied(spool)
        await dispatcher.drain(0)
    assert len(target.requests) == 1


async def test_a_target_that_is_gone_ends_its_attempt_and_what_waits_is_kept(rig: Rig) -> None:
    """The one under way is settled as it ends; the other is not attempted, and is there when the target is
    back."""
    let_go = trio.Event()
    async with serving(_when(let_go)) as target, rig.spool() as spool, trio.open_nursery() as nursery:
        support = a_target(target.url, concurrency=1)
        dispatcher = rig.dispatcher(spool, {"support": support})
        await nursery.start(dispatcher.run)
        for number in range(2):
            await spool.append(_numbered(number))
        await asked(target, 1)
        dispatcher.adopt({})
        let_go.set()
        with trio.fail_after(5):
            while spool.pending() != {"support": 1}:  # noqa: ASYNC110 - the spool has no event for that
                await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(target.requests) == 1
        dispatcher.adopt({"support": support})
        await emptied(spool)
        await dispatcher.drain(0)
    assert [request.headers["gateway-attempt"] for request in target.requests] == ["1", "1"]


async def test_what_is_under_way_ends_at_the_old_address_and_the_next_goes_to_the_new(rig: Rig) -> None:
    let_go = trio.Event()
    async with (
        serving(_when(let_go)) as old,
        serving() as new,
        rig.spool() as spool,
        trio.open_nursery() as nursery,
    ):
        dispatcher = rig.dispatcher(spool, {"support": a_target(old.url, concurrency=1)})
        await nursery.start(dispatcher.run)
        first, second = _numbered(1), _numbered(2)
        await spool.append(first)
        await asked(old, 1)
        await spool.append(second)
        dispatcher.adopt({"support": a_target(new.url, concurrency=1)})
        let_go.set()
        await emptied(spool)
        await dispatcher.drain(0)
    assert [request.headers["idempotency-key"] for request in old.requests] == [first.deliveries[0].id]
    assert [request.headers["idempotency-key"] for request in new.requests] == [second.deliveries[0].id]


async def test_fewer_attempts_at_once_hold_as_soon_as_those_under_way_have_ended(rig: Rig) -> None:
    let_go = trio.Event()
    async with serving(_when(let_go)) as target, rig.spool() as spool, trio.open_nursery() as nursery:
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url, concurrency=6)})
        await nursery.start(dispatcher.run)
        for number in range(6):
            await spool.append(_numbered(number))
        await asked(target, 6)
        dispatcher.adopt({"support": a_target(target.url, concurrency=2)})
        let_go.set()
        await emptied(spool)
        wait = trio.Event()
        target.scripts = [_when(wait)]
        for number in range(6, 12):
            await spool.append(_numbered(number))
        await asked(target, 8)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(target.requests) == 8
        dispatcher.adopt({"support": a_target(target.url, concurrency=4)})
        await asked(target, 10)
        wait.set()
        await emptied(spool)
        await dispatcher.drain(0)
    assert len(target.requests) == 12


async def test_a_hundred_changes_while_it_delivers_lose_and_double_nothing(rig: Rig) -> None:
    async with serving() as target, rig.spool() as spool, trio.open_nursery() as nursery:
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url)})
        await nursery.start(dispatcher.run)
        new = [_numbered(number) for number in range(200)]
        for number, one in enumerate(new):
            await spool.append(one)
            if number % 2:
                targets = {"support": a_target(target.url, concurrency=1 + number % 5)}
                dispatcher.adopt({} if number % 5 == 0 else targets)
        dispatcher.adopt({"support": a_target(target.url)})
        await emptied(spool)
        await dispatcher.drain(0)
    keys = [request.headers["idempotency-key"] for request in target.requests]
    assert sorted(keys) == sorted(one.deliveries[0].id for one in new)


def _numbered(number: int) -> Notification:
    return notification(BODY + b" " * number, "support", number=number)


def _when(event: trio.Event) -> Script:
    """Answer 200 once it has happened."""

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        await event.wait()
        return await answer(200)(received, stream)

    return script


async def test_a_message_overtakes_a_hundred_thousand_statuses(rig: Rig) -> None:
    """They are due, every one of them; the target is sent at most what was under way before the message."""
    at_ms = unix_ms() - 60_000
    statuses = notification(BODY, "support", lane=Lane.LOW, copies=100_000, received_at_ms=at_ms)
    message = notification(BODY + b" ", "support", lane=Lane.HIGH, number=1, received_at_ms=at_ms + 60_000)

    async def slow(received: Received, stream: trio.abc.Stream) -> bool:
        await trio.sleep(0.02)
        return await answer(200)(received, stream)

    async with serving(slow) as target:
        async with rig.spool() as spool:
            await spool.append(statuses)
        async with rig.running({"support": a_target(target.url, concurrency=4)}) as spool:
            await asked(target, 20)
            before = len(target.requests)
            await spool.append(message)
            await asked(target, before + 40)
            keys = [request.headers["idempotency-key"] for request in target.requests]
            assert keys.index(message.deliveries[0].id) <= before + 4 + 1, "a turn of the last lane counts"
            assert spool.pending()["support"] > 99_000


async def test_a_backlog_of_messages_does_not_shut_out_the_statuses(rig: Rig) -> None:
    async with rig.spool() as spool:
        for number in range(80):
            lane = Lane.LOW if number < 5 else Lane.HIGH
            await spool.append(notification(BODY + b" " * number, "support", number=number, lane=lane))
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, concurrency=1)}) as spool,
    ):
        await emptied(spool)
    statuses = [place for place, one in enumerate(target.requests) if len(one.body) < len(BODY) + 5]
    assert statuses == [7, 15, 23, 31, 39]
