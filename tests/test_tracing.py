"""Where a message is: in the spool, among the dead letters, in memory, or not known any more."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import tracing
from gateway.core.ids import new_notification_id
from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.errors import UsageError
from gateway.spool.contract import Done, RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.memory import MemorySpool, open_memory_spool
from gateway.spool.memory_state import MemoryState
from gateway.telemetry.whereabouts import Came, Taken, Whereabouts
from gateway.tracing import (
    NOT_FOUND,
    Part,
    answer,
    find_part,
    letters_of,
    merge_letters,
    name_gateway,
    read_asked,
    recall,
    trace_letters,
)
from tests.delivery.rig import EPOCH_MS, a_letter, notification
from tests.telemetry.test_whereabouts import routed

FAILED = AttemptRecord(
    number=1, at_ms=EPOCH_MS + 1, status=503, error="", duration_ms=4, response_excerpt="private"
)


@pytest.fixture
async def spool() -> AsyncIterator[MemorySpool]:
    async with open_memory_spool(MemoryState(), keep_delivered_seconds=60.0) as spool:
        yield spool


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    return DeadLetterStore(tmp_path / "dead", bytes(32))


async def traced(
    text: str,
    spool: MemorySpool,
    store: DeadLetterStore,
    whereabouts: Whereabouts | None = None,
    *others: Part,
) -> dict[str, Any]:
    asked = read_asked(text)
    part = await find_part(asked, spool=spool, whereabouts=whereabouts, worker=1)
    store.count()
    return await trace_letters(asked, [part, *others], store, targets=["support"])


def states(found: dict[str, Any]) -> dict[str, str]:
    [one] = found["notifications"]
    return {delivery["target"]: delivery["state"] for delivery in one["deliveries"]}


async def lease(spool: MemorySpool, target: str) -> Any:
    [one] = await spool.lease(target, now_ms=EPOCH_MS, limit=1, next_due_ms=lambda _: EPOCH_MS + 9000)
    return one


async def test_every_delivery_is_told_by_its_state(spool: MemorySpool, store: DeadLetterStore) -> None:
    targets = ("waiting", "failed", "flying", "kept", "taken", "dead", "lost")
    stored = notification(b'{"id": "wamid.ABC="}', *targets[:4])
    await spool.append(stored)
    await spool.settle(await lease(spool, "failed"), RetryLater(at_ms=EPOCH_MS + 7000, record=FAILED))
    await lease(spool, "flying")
    await spool.settle(await lease(spool, "kept"), Done())
    store.write(a_letter(target="dead"))
    whereabouts = Whereabouts()
    whereabouts.came(stored.id, Came(EPOCH_MS, "main", "none", "c-1", routed(*targets), ()))
    whereabouts.taken("taken", f"{stored.id}-taken", Taken(at_ms=EPOCH_MS + 5, attempt=2, status=204))

    for text in (stored.id, f"{stored.id}-failed", f"{stored.id}-failed+3", "wamid.ABC="):
        found = await traced(text, spool, store, whereabouts)
        assert states(found) == {
            "waiting": "waiting",
            "failed": "waiting",
            "flying": "under_way",
            "kept": "delivered",
            "taken": "delivered",
            "dead": "dead_letter",
            "lost": "gone",
        }
    [one] = found["notifications"]
    assert (one["client_certificate"], one["connection"], one["worker"]) == ("none", "c-1", 1)
    by_target = {delivery["target"]: delivery for delivery in one["deliveries"]}
    assert by_target["failed"]["attempts"] == [
        {"number": 1, "at": "2026-02-02T02:40:00.001Z", "status": 503, "error": "", "duration_ms": 4}
    ]
    assert by_target["failed"]["next_attempt_at"] == "2026-02-02T02:40:07.000Z"
    assert (by_target["taken"]["attempt"], by_target["taken"]["status"]) == (2, 204)
    assert by_target["kept"]["kept"] is True
    assert by_target["dead"]["dead_letter"].endswith(f"/dead/2026-02-02/02/{stored.id}-dead.json")
    assert "private" not in str(found)


async def test_a_message_is_found_in_dead_letters_too_and_the_look_is_told(
    spool: MemorySpool, store: DeadLetterStore
) -> None:
    store.write(a_letter(body=b'{"id": "wamid.A\\/B="}'))
    store.write(a_letter(body=b"something else", number=1))
    store.write(a_letter(body=b"wamid.A/B=", number=2, target=UNROUTED))
    await spool.append(notification(b"nothing of it", "support", number=7))
    found = await traced("wamid.A/B=", spool, store)
    assert len(found["notifications"]) == 2
    assert found["searched"] == {"bodies": 1, "dead_letters": 3, "complete": True}


async def test_a_look_without_time_says_that_it_is_not_complete(
    spool: MemorySpool, store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "SEARCH_SECONDS", -1.0)
    for number in range(3):
        await spool.append(notification(b"wamid.A%d" % number, "support", number=number))
        store.write(a_letter(number=number))
    found = await traced("wamid.A2", spool, store)
    assert [one["bytes"] for one in found["notifications"]] == [8]
    assert found["searched"] == {"bodies": 1, "dead_letters": 0, "complete": False}


async def test_no_more_is_found_than_anybody_reads(
    spool: MemorySpool, store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_FOUND", 2)
    for number in range(5):
        await spool.append(notification(b"wamid.AB %d" % number, "support", number=number))
    found = await traced("wamid.AB", spool, store)
    assert len(found["notifications"]) == 2
    assert found["searched"]["complete"] is False


async def test_what_was_routed_again_is_found_under_its_own_id(
    spool: MemorySpool, store: DeadLetterStore
) -> None:
    letter = a_letter(target=UNROUTED)
    store.write(replace(letter, id=f"{letter.id}-support", target="support"))
    found = await traced(letter.notification_id, spool, store)
    [delivery] = found["notifications"][0]["deliveries"]
    assert (delivery["target"], delivery["delivery"]) == ("support", f"{letter.id}-support")


async def test_what_one_worker_accepted_and_another_has_is_one_notification(
    spool: MemorySpool, store: DeadLetterStore
) -> None:
    stored = notification(b"one", "support")
    await spool.append(stored)
    other = Whereabouts()
    other.came(stored.id, Came(EPOCH_MS, "main", "accepted", "c-9", routed("support", "audit"), None))
    async with open_memory_spool(MemoryState()) as empty:
        part = await find_part(read_asked(stored.id), spool=empty, whereabouts=other, worker=4)
    found = await traced(stored.id, spool, store, None, part)
    [one] = found["notifications"]
    assert (one["worker"], one["client_certificate"], one["bytes"]) == (4, "accepted", 3)
    assert states(found) == {"support": "waiting", "audit": "gone"}


async def test_what_is_nowhere_is_told_honestly(spool: MemorySpool, store: DeadLetterStore) -> None:
    found = await traced(new_notification_id(EPOCH_MS, bytes(10)), spool, store)
    assert (found["notifications"], found["remark"]) == ([], NOT_FOUND)


@pytest.mark.parametrize(
    "text", ["", "short", "a b c d e f g h", 'wamid."quote"', "wamid.\\x", "ä" * 20, "x" * 301]
)
def test_what_can_be_no_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither"):
        read_asked(text)


async def test_of_a_shared_spool_each_process_adds_what_it_remembers_and_what_waits_is_told_once(
    spool: MemorySpool, store: DeadLetterStore
) -> None:
    stored = notification(b"wamid.ABC=", "waiting", "taken")
    await spool.append(stored)
    await spool.settle(await lease(spool, "taken"), Done())
    accepting, delivering = Whereabouts(), Whereabouts()
    accepting.came(stored.id, Came(EPOCH_MS, "main", "accepted", "c-1", routed("waiting", "taken"), ()))
    delivering.taken("taken", f"{stored.id}-taken", Taken(at_ms=EPOCH_MS + 5, attempt=1, status=204))
    asked = read_asked("wamid.ABC=")
    part = await find_part(asked, spool=spool, worker=0, shared=True)
    memories = [
        recall([stored.id], memory, worker=number, targets=["waiting", "taken"])
        for number, memory in ((1, accepting), (2, delivering), (3, Whereabouts()))
    ]
    store.count()
    for parts in ([part, *memories], [*memories[::-1], part]):
        found: dict[str, Any] = await trace_letters(asked, parts, store, targets=["waiting", "taken"])
        [one] = found["notifications"]
        assert (one["worker"], one["connection"], one["app"]) == (1, "c-1", "main")
        assert states(found) == {"waiting": "waiting", "taken": "delivered"}
        assert found["searched"]["bodies"] == 1
    assert memories[2].notifications == []
    alone: dict[str, Any] = await trace_letters(asked, [part], store, targets=["waiting", "taken"])
    assert alone["notifications"][0]["worker"] is None, "whoever has accepted it may be another"


async def test_what_is_told_of_a_letter_elsewhere_has_nothing_of_its_body_or_of_what_the_target_wrote(
    store: DeadLetterStore,
) -> None:
    letter = replace(a_letter(body=b'{"wamid": "wamid.ABCDEFGH"}'), attempts=(FAILED,))
    store.prepare()
    store.write(letter)
    store.count()
    letters = await letters_of(read_asked("wamid.ABCDEFGH"), [], store, targets=["support"])
    [one] = letters.found
    assert one.attempts == [replace(FAILED, response_excerpt="")]
    told = msgspec.json.encode(letters)
    assert b"private" not in told
    assert b"ABCDEFGH" not in told


async def test_a_letter_that_several_have_counts_once(store: DeadLetterStore) -> None:
    letter = a_letter()
    store.prepare()
    store.write(letter)
    store.count()
    asked = read_asked(letter.notification_id)
    letters = await letters_of(asked, [], store, targets=["support"])
    parts, named = name_gateway("db-a:1", [Part(notifications=[])], letters)
    merged = merge_letters([named, letters])
    assert [one.gateway for one in merged.found] == ["db-a:1"], "the first has the word"
    found: dict[str, Any] = answer(asked, parts, merged)
    assert [row["gateway"] for row in found["notifications"][0]["deliveries"]] == ["db-a:1"]
