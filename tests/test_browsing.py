"""Dead letters for the dashboard: newest first, filtered, bounded, and read from real files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from gateway import browsing
from gateway.admin.actions import Actions
from gateway.admin.dashboard.letters import Page, Wanted
from gateway.admin.requests import LettersRequest
from gateway.browsing import Browser, SharedBrowser
from gateway.core.routing import UNROUTED
from gateway.delivery import dead_letter_place
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter, Reason, encode, summarize
from gateway.errors import DeadLetterError, UsageError
from gateway.spool.history import AttemptRecord

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000


def body(field: str) -> bytes:
    return b'{"object":"page","entry":[{"id":"1","changes":[{"field":"%b","value":{}}]}]}' % field.encode()


def a_letter(
    name: str, *, hours_ago: float = 0, target: str = "support", field: str = "messages"
) -> DeadLetter:
    content = body(field)
    received_ms = NOW_MS - round(hours_ago * HOUR_MS)
    return DeadLetter(
        id=name,
        notification_id="0191f0a0c0de70008000000000000001",
        app="main",
        target=target,
        url=None if target == UNROUTED else "http://support.internal/",
        summary=summarize(content),
        reason=Reason.UNROUTED if target == UNROUTED else Reason.REFUSED,
        received_at_ms=received_ms,
        died_at_ms=received_ms + 1000,
        attempts=(
            AttemptRecord(
                number=1, at_ms=received_ms, status=422, error="", duration_ms=7, response_excerpt="no"
            ),
        ),
        headers={"Content-Type": "application/json"},
        body=content,
    )


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    one = DeadLetterStore(tmp_path / "dead", b"key")
    one.prepare()
    return one


def browser(store: DeadLetterStore) -> Browser:
    return Browser(store, now_ms=lambda: NOW_MS)


def ids(page: Page) -> list[str]:
    return [row.id for row in page.rows]


async def test_the_newest_hour_comes_first_and_pages_follow_without_gap_or_repeat(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "ROWS", 3)
    for hours, target in ((5, "a"), (5, "a-b"), (5, "a_b"), (2, "b"), (0, "a")):
        for name in ("x", "x-1", "x_1", "X"):
            store.write(a_letter(f"{name}-{hours}-{target}", hours_ago=hours, target=target))
    found: list[str] = []
    after, pages = "", 0
    while True:
        page = await browser(store).page(Wanted(after=after))
        assert len(page.rows) <= 3
        found += [f"{row.target}/{row.id}" for row in page.rows]
        pages += 1
        if not page.after:
            break
        after = page.after
    assert len(found) == len(set(found)) == 20
    assert [name.split("/")[0] for name in found[:4]] == ["a"] * 4, "of this hour"
    assert found[4].startswith("b/")
    assert pages == 7


async def test_a_page_follows_though_the_last_one_is_gone(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "ROWS", 2)
    for number in range(5):
        store.write(a_letter(f"x{number}-support"))
    first = await browser(store).page(Wanted())
    assert ids(first) == ["x4-support", "x3-support"]
    gone = store.find("x3-support")
    assert gone is not None
    store.remove(gone)
    second = await browser(store).page(Wanted(after=first.after))
    assert ids(second) == ["x2-support", "x1-support"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(target="support"), ["new", "old"]),
        (Wanted(target=UNROUTED), ["lost"]),
        (Wanted(target="none"), []),
        (Wanted(field="mess*"), ["new", "old"]),
        (Wanted(reason="unrouted"), ["lost"]),
        (Wanted(since="3h"), ["new"]),
        (Wanted(until="3h"), ["lost", "old"]),
        (Wanted(since="6h", until="4h"), ["lost", "old"]),
        (Wanted(since="2026-11-18"), ["new", "lost", "old"]),
    ],
)
async def test_a_filter_is_that_of_the_command(
    store: DeadLetterStore, wanted: Wanted, found: list[str]
) -> None:
    store.write(a_letter("old", hours_ago=5))
    store.write(a_letter("lost", hours_ago=5, target=UNROUTED, field="feed"))
    store.write(a_letter("new"))
    assert sorted(ids(await browser(store).page(wanted))) == sorted(found)


@pytest.mark.parametrize("wanted", [Wanted(reason="bored"), Wanted(since="soon"), Wanted(until="\u0000")])
async def test_a_filter_that_says_nothing_is_explained(store: DeadLetterStore, wanted: Wanted) -> None:
    with pytest.raises(UsageError, match="is no"):
        await browser(store).page(wanted)


@pytest.mark.parametrize("after", ["x", "////", "2026-11-18/11/support/x/../y", "\u0000", "z/z/z/z"])
async def test_a_place_that_is_none_of_ours_is_no_harm(store: DeadLetterStore, after: str) -> None:
    store.write(a_letter("new"))
    assert ids(await browser(store).page(Wanted(after=after))) in ([], ["new"])


async def test_a_filter_that_takes_few_of_many_reads_so_many_and_says_where_to_go_on(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "READ", 4)
    for number in range(9):
        store.write(a_letter(f"x{number}", field="feed" if number else "messages"))
    page = await browser(store).page(Wanted(field="messages"))
    assert (ids(page), page.looked_at) == ([], 4)
    page = await browser(store).page(Wanted(field="messages", after=page.after))
    page = await browser(store).page(Wanted(field="messages", after=page.after))
    assert (ids(page), page.after) == (["x0"], "")


async def test_a_file_that_cannot_be_read_is_listed_with_the_reason(store: DeadLetterStore) -> None:
    store.write(a_letter("whole"))
    store.write(a_letter("broken"))
    found = store.find("broken")
    assert found is not None
    (store.directory / found.name).write_text("{")
    rows = {row.id: row for row in (await browser(store).page(Wanted())).rows}
    assert rows["broken"].problem
    assert rows["whole"].last == "status 422"
    assert rows["whole"].fields == ("messages",)


async def test_one_is_found_by_its_id_and_nothing_else_is(store: DeadLetterStore) -> None:
    store.write(a_letter("new"))
    letter = await browser(store).find("new")
    assert letter is not None
    assert (letter.body, letter.attempts[0].excerpt) == (body("messages"), "no")
    assert "no" not in repr(letter.attempts[0]).replace("now", "").split("duration")[1]
    for name in ("none", "", "../x", "a/b", "\u0000", "x" * 300):
        assert await browser(store).find(name) is None


async def test_what_no_filter_can_mean_is_not_looked_at(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(a_letter("old", hours_ago=5))
    store.write(a_letter("new"))
    looked_at: list[str] = []
    real = dead_letter_place.look

    def look(root: int, parts: tuple[str, str, str], identifier: str) -> Found | None:
        looked_at.append(identifier)
        return real(root, parts, identifier)

    monkeypatch.setattr(dead_letter_place, "look", look)
    assert ids(await browser(store).page(Wanted(since="3h"))) == ["new"]
    assert looked_at == ["new"], "a hundred thousand others would keep whoever asks next waiting for seconds"


class Everybody:
    """Answers as the admin port's actions do, where gateways share a spool."""

    def __init__(self) -> None:
        self.asked: list[LettersRequest] = []
        self.letter: dict[str, object] = {"result": "not_found", "detail": ""}

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        self.asked.append(asked)
        row = {
            "id": "a-support", "target": "support", "reason": "refused", "app": "main", "object": None,
            "fields": ["messages"], "kinds": [], "waba": None, "phone_number_id": None,
            "received_at": "2026-02-02T02:40:00.000Z", "died_at": "2026-02-02T02:40:05.001Z", "attempts": 1,
            "last_status": 422, "last_error": "", "body_bytes": 12, "gateway": "db-1:7", "directory": "/dead",
        }  # fmt: skip
        broken = {"id": "b", "target": "support", "problem": "no dead letter", "gateway": "", "directory": ""}
        return {"letters": [row, broken], "after": (5, "a-support"), "looked_at": 9, "gateways": 2}

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        assert identifier == "a-support"
        return self.letter


async def test_what_gateways_share_is_asked_for() -> None:
    everybody = Everybody()
    shared = SharedBrowser(cast("Actions", everybody), now_ms=lambda: NOW_MS)
    wanted = Wanted(target="support", reason="refused", field="mess*", since="1h", after="7/x-support")
    page = await shared.page(wanted)
    assert everybody.asked[0] == LettersRequest(
        target="support", reason="refused", field="mess*", since_ms=NOW_MS - 3_600_000, newest_first=True,
        after=(7, "x-support"), limit=50,
    )  # fmt: skip
    assert [(row.id, row.gateway, row.last, row.problem) for row in page.rows] == [
        ("a-support", "db-1:7", "status 422", ""),
        ("b", "", "", "no dead letter"),
    ]
    assert (page.after, page.looked_at) == ("5/a-support", 9)
    await shared.page(Wanted(until="2026-01-02", after="x/y"))
    assert (everybody.asked[1].after, everybody.asked[1].until_ms) == (None, 1_767_312_000_000)
    with pytest.raises(UsageError):
        await shared.page(Wanted(reason="none"))


async def test_one_that_another_holds_is_shown_with_its_holder() -> None:
    everybody = Everybody()
    shared = SharedBrowser(cast("Actions", everybody), now_ms=lambda: NOW_MS)
    assert await shared.find("../x") is None
    assert await shared.find("a-support") is None
    everybody.letter = {"result": "elsewhere", "detail": "gateway db-2:1 holds it"}
    with pytest.raises(DeadLetterError, match="db-2:1"):
        await shared.find("a-support")
    letter = a_letter("0")
    content = json.loads(encode(letter, seal_key=b"k"))
    everybody.letter = {
        "result": "found", "detail": "", "file": "/dead/x.json", "letter": content, "gateway": "db-2:1"
    }  # fmt: skip
    found = await shared.find("a-support")
    assert found is not None
    assert (found.file, found.row.gateway, found.body) == ("/dead/x.json", "db-2:1", letter.body)
