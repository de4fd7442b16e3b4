"""Whichever gateway on a database is asked tells of all; what others say may be nothing, old, or forged."""

import itertools
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from gateway.admin.actions import ActionResult
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.core.conditions import Name, TargetSeen
from gateway.core.heard import HOUR_MS, KEPT_HOURS, Slot
from gateway.core.silence import DAY_MS
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import encode
from gateway.errors import SpoolUnavailableError, UsageError
from gateway.process import correspondence, replicas
from gateway.process.admin_port import AdminAnswers
from gateway.process.digests import Digest, is_sane
from gateway.process.observing import Facts, Observer
from gateway.process.replicas import with_others
from gateway.spool.postgresql import postman
from gateway.spool.postgresql.exchange import Exchange, open_exchange
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.whereabouts import Came, Taken, Whereabouts
from gateway.tracing import Part, recall
from tests.delivery.rig import EPOCH_MS, a_letter
from tests.postgresql.rig import Database
from tests.process.test_observing import MINUTE_MS, NOW_MS, track
from tests.telemetry.test_whereabouts import routed

CLOSED = {"open": False, "state": "delivering", "opened_at": None}
OPEN = {"open": True, "state": "failing", "opened_at": "2026-01-01T00:00:00.000Z"}


def target(**changes: Any) -> dict[str, Any]:
    usual = {
        "state": "delivering",
        "breaker": CLOSED,
        "pending": 5,
        "pending_bytes": 50,
        "oldest_seconds": 1.0,
        "next_attempt_at": None,
        "dead_letters": 1,
        "last_error": None,
        "delivered": 3,
        "last_delivered_at": "2026-01-01T00:00:01.000Z",
        "next_give_up_at": None,
    }
    return {**usual, **changes}


def letter_content(identifier: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(encode(replace(a_letter(), id=identifier), seal_key=bytes(32)))
    return content


@dataclass
class Site:
    """A gateway that says what a test has it say."""

    directory: Path
    exchange: Exchange
    targets: dict[str, Any] = field(default_factory=lambda: {"support": target()})
    refusals: list[dict[str, Any]] = field(default_factory=list)
    certificate_until: str = "2027-01-01T00:00:00.000Z"
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    heard: Facts = field(
        default_factory=lambda: Facts(
            listening_since_ms=NOW_MS - 30 * DAY_MS, tracks=[track()], turned_away=[], slots=[]
        )
    )
    memory: Whereabouts = field(default_factory=Whereabouts)
    in_spool: list[Part] = field(default_factory=lambda: [Part(notifications=[])])
    followed: int = 0
    done: list[str] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)
    """Dead letters."""
    forged: dict[str, Any] = field(default_factory=dict)
    """What it says that one of them holds."""

    def __post_init__(self) -> None:
        self.store = DeadLetterStore(self.directory / "dead", bytes(32))
        self.alone = AdminAnswers(
            actions=self,
            health=dict,
            render_metrics=self._metrics,
            edge=self._edge,
            facts=self._facts,
            changes=self._changes,
            trace_parts=self._parts,
            recall=self._recall,
            follow_pauses=self._follow,
        )
        self.answers = with_others(
            self.exchange,
            self.alone,
            dead_letters=self.store,
            targets=lambda: self.targets,
            now_ms=lambda: NOW_MS,
        )

    @property
    def name(self) -> str:
        return self.exchange.own.name

    async def status(self) -> Mapping[str, object]:
        return {"targets": self.targets}

    async def _metrics(self) -> bytes:
        return b""

    def _edge(self) -> Mapping[str, object]:
        return {
            "anchors": [],
            "secrets": [],
            "certificates": [{"name": "server", "not_after": self.certificate_until}],
            "revocation_lists": [],
            "apps": {},
            "refusals": self.refusals,
        }

    async def _facts(self, with_slots: bool) -> Facts:
        return self.heard if with_slots else msgspec.structs.replace(self.heard, slots=[])

    async def _changes(self) -> Sequence[Mapping[str, Any]]:
        return self.lines

    async def _parts(self, _: str) -> list[Part]:
        return self.in_spool

    async def _recall(self, ids: Sequence[str]) -> list[Part]:
        return [recall(ids, self.memory, worker=0, targets=["support"])]

    async def _follow(self) -> None:
        self.followed += 1

    async def trace(self, text: str) -> Mapping[str, object]:
        raise AssertionError(text)

    async def pause(self, name: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        self.done.append(f"pause {name} {seconds} {reason}")
        return {"state": "paused"}

    async def resume(self, name: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        self.done.append(f"resume {name} {rate_per_second}")
        return {"state": "delivering"}

    async def discard_target(self, name: str, *, limit: int) -> Mapping[str, object]:
        self.done.append(f"discard {name} {limit}")
        return {"discarded": 1, "left": 0}

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        self.done.append(f"replay {asked.target}")
        return {}

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        return self._results("replayed", ids, accept_edited=accept_edited)

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        return self._results("would_replay", ids, accept_edited=accept_edited)

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        return self._results("discarded", ids)

    def _results(self, word: str, ids: Sequence[str], **asked: object) -> dict[str, ActionResult]:
        self.done.append(f"{word} {' '.join(ids)} {asked}")
        elsewhere = ActionResult(result="elsewhere", detail="gateway db-9:1 holds it, in /dead")
        return {one: ActionResult(result=word) if one in self.holds else elsewhere for one in ids}

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        return {"letters": [asked.target], "after": None, "looked_at": 0, "gateways": 1}

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        if identifier in self.holds:
            letter = self.forged or letter_content(identifier)
            return {"result": "found", "detail": "", "file": "/dead/x", "letter": letter}
        return {"result": "elsewhere", "detail": "gateway db-9:1 holds it, in /dead"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postman, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(correspondence, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(replicas, "PUBLISH_SECONDS_EACH", 0.0)
    hosts = itertools.count(1)
    monkeypatch.setattr(socket, "gethostname", lambda: f"db-{next(hosts)}")


@asynccontextmanager
async def sites(
    database: Database, directory: Path, number: int, *, attended: bool = True
) -> AsyncIterator[list[Site]]:
    """Give so many that know each other; `attended`: the others answer."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        made = [
            Site(
                directory / str(one),
                await stack.enter_async_context(open_exchange(database.dsn, directory / str(one))),
            )
            for one in range(number)
        ]
        await until(lambda: all(len(one.exchange.replicas()) == number for one in made))
        for one in made[0 if attended else number :]:
            nursery.start_soon(one.answers.attend)
        yield made
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(15):
        while not holds():  # noqa: ASYNC110 - threads give no event
            await trio.sleep(0.02)


@asynccontextmanager
async def forging(one: Exchange, content: bytes) -> AsyncGenerator[None]:
    """Have it answer everything with that."""

    async def answer() -> None:
        while True:
            one.answer(await one.next_question(), content)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield
        nursery.cancel_scope.cancel()


async def test_what_each_knows_for_itself_is_added_and_what_all_see_is_not(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        two.targets = {
            "support": target(
                state="open",
                breaker=OPEN,
                pending=6,
                delivered=4,
                last_error={"at": "2026-01-01T00:00:02.000Z"},
            )
        }
        found: Any = await one.answers.actions.status()
        support = found["targets"]["support"]
        assert (support["state"], support["delivered"], support["dead_letters"]) == ("open", 7, 1)
        assert support["pending"] == 6, "what one sees a moment later, not both"
        assert [(each["gateway"], each["state"]) for each in support["gateways"]] == [
            (one.name, "delivering"),
            (two.name, "open"),
        ]
        assert [(each["gateway"], each["own"], each["state"]) for each in found["gateways"]] == [
            (one.name, True, "answers"),
            (two.name, False, "answers"),
        ]
        two.targets = {"support": target(breaker={**CLOSED, "state": "starting"})}
        alike: Any = await one.answers.actions.status()
        assert "gateways" not in alike["targets"]["support"]


async def test_who_does_not_answer_is_named_and_the_rest_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correspondence, "ANSWER_SECONDS", 0.3)
    async with sites(database, tmp_path, 2, attended=False) as (one, _):
        found: Any = await one.answers.actions.status()
        assert [each["state"] for each in found["gateways"]] == ["answers", "no_answer"]
        assert found["targets"]["support"]["delivered"] == 3
        assert len((await one.answers.facts(True)).tracks) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"no JSON",
        b"[]",
        b'{"result": 7}',
        b'{"result": {"targets": 7}}',
        b'{"result": {"targets": {"support": {}}}}',
        b'{"result": {"targets": {"support": {"oldest_seconds": "x", "dead_letters": 0}}}}',
        b'{"result": {"targets": {"support": {"oldest_seconds": 1, "dead_letters": []}}}}',
        msgspec.json.encode({"result": {"targets": {"support": target(breaker="open")}}}),
        msgspec.json.encode({"result": {"targets": {"support": target(state=["open"])}}}),
        b'{"error": {"kind": "SpoolUnavailableError", "message": "not now"}}',
        b"[" * 100_000,
    ],
)
async def test_an_answer_that_is_of_no_use_counts_as_none(
    database: Database, tmp_path: Path, content: bytes
) -> None:
    async with sites(database, tmp_path, 2, attended=False) as (one, two), forging(two.exchange, content):
        with capture_logs() as logs:
            found: Any = await one.answers.actions.status()
        assert [each["state"] for each in found["gateways"]] == ["answers", "no_answer"]
        assert found["targets"]["support"]["delivered"] == 3
        [line] = [line for line in logs if line["event"] == "replica_answer_unusable"]
        assert line["gateway"] == two.name


@pytest.mark.parametrize(
    "content",
    [
        b"no JSON",
        b'{"ask": "status", "with": 7}',
        b'{"ask": "unheard-of"}',
        b'{"ask": "recall"}',
        b'{"ask": "recall", "with": {"ids": [7], "text": 3}}',
        b'{"ask": "recall", "with": {"ids": [], "text": "?"}}',
    ],
)
async def test_a_question_that_is_none_is_answered_by_an_error_and_ends_nothing(
    database: Database, tmp_path: Path, content: bytes
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        said = await one.exchange.ask(two.exchange.own.id, content, within_seconds=10)
        assert "error" in msgspec.json.decode(said)
        found: Any = await one.answers.actions.status()
        assert [each["state"] for each in found["gateways"]] == ["answers", "answers"]


async def test_whom_each_has_turned_away_is_told_with_the_name_and_what_ends_first_of_certificates(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        one.refusals = [{"at": "2026-01-01T00:00:01.000Z"}]
        two.refusals = [{"at": "2026-01-01T00:00:02.000Z"}]
        two.certificate_until = "2026-12-01T00:00:00.000Z"
        found: Any = await one.answers.edge_now()
        assert [refusal["gateway"] for refusal in found["refusals"]] == [two.name, one.name]
        assert [each["not_after"][:7] for each in found["certificates"]] == ["2026-12"]
        one.lines = [{"at": "2026-01-01T00:00:01Z", "action": "pause"}]
        two.lines = [{"at": "2026-01-01T00:00:00Z", "action": "reload"}]
        changes = await one.answers.changes()
        assert [(line["action"], line["gateway"]) for line in changes] == [
            ("reload", two.name),
            ("pause", one.name),
        ]


async def test_the_ledger_is_of_all(database: Database, tmp_path: Path) -> None:
    slot = Slot(
        app="main", object="o", field="f", waba="1", phone_number_id="2", first_ms=1, last_ms=2, count=3
    )
    async with sites(database, tmp_path, 2) as (one, two):
        one.heard.slots = [slot]
        two.heard.slots = [slot]
        facts = await one.answers.facts(True)
        assert [each.count for each in facts.slots] == [6]
        assert [each.received for each in facts.tracks] == [10_000]


def observer(site: Site) -> Observer:
    return Observer(
        site.answers.facts,
        status=site.answers.actions.status,
        apps=lambda: ("main",),
        metrics=Metrics(),
        now_ms=lambda: NOW_MS,
        judged=site.answers.judged,
    )


async def names(one: Observer) -> list[str]:
    report: Any = await one.report()
    return [condition["condition"] for condition in report["conditions"]]


async def test_silence_is_judged_on_what_all_have_heard_by_all_alike(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        # The load balancer sends everything to the second.
        one.heard.tracks = [track(silent_ms=40 * MINUTE_MS)]
        assert one.answers.judged is not None
        assert two.answers.judged is not None
        first, second = observer(one), observer(two)
        assert await names(first) == [Name.META_SILENT], "nobody has told it otherwise yet"
        await two.answers.judged()
        await until(lambda: bool(one.exchange.others()[0].digest))
        await until(lambda: bool(two.exchange.others()[0].digest))
        assert await names(first) == []
        assert await names(second) == []
        two.heard.tracks = [track(silent_ms=30 * MINUTE_MS)]
        await two.answers.judged()
        silent = f'"last_ms":{NOW_MS - 30 * MINUTE_MS}'.encode()
        await until(lambda: silent in one.exchange.others()[0].digest)
        assert await names(first) == [Name.META_SILENT]
        assert await names(second) == [Name.META_SILENT]


async def test_what_a_gateway_that_is_gone_had_heard_counts_on_but_not_as_listening(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        one.heard = Facts(
            listening_since_ms=NOW_MS - 20 * MINUTE_MS, tracks=[track(silent_ms=DAY_MS)], turned_away=[]
        )
        assert one.answers.judged is not None
        assert two.answers.judged is not None
        two.heard.tracks = [track(silent_ms=MINUTE_MS)]
        await two.answers.judged()
        await until(lambda: bool(one.exchange.others()[0].digest))
        before = (await one.answers.judged()).facts
        assert before.tracks[0].last_ms == NOW_MS - MINUTE_MS
        assert before.listening_since_ms == two.heard.listening_since_ms
        await two.exchange.close()
        await until(lambda: one.exchange.others() == ())
        after = (await one.answers.judged()).facts
        assert after.tracks[0].last_ms == NOW_MS - MINUTE_MS
        assert after.listening_since_ms == one.heard.listening_since_ms


async def test_a_target_that_fails_at_one_gateway_is_told_by_all(database: Database, tmp_path: Path) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        two.targets = {"support": target(state="open", breaker=OPEN)}
        assert two.answers.judged is not None
        await two.answers.judged()
        await until(lambda: bool(one.exchange.others()[0].digest))
        assert await names(observer(one)) == [Name.TARGET_FAILING]


def encoded(facts: Facts, **more: Any) -> bytes:
    return msgspec.json.encode(Digest(facts=facts, **{"targets": [], **more}))


NOTHING = Facts(listening_since_ms=NOW_MS, tracks=[], turned_away=[])
BEYOND_FLOATS = 10**400
HOURS = range(NOW_MS // HOUR_MS - KEPT_HOURS, NOW_MS // HOUR_MS)
OVERFLOWING = track(
    app="main", last_ms=NOW_MS - 2 * HOUR_MS, hours=dict.fromkeys(HOURS, BEYOND_FLOATS), usual_ms=1.0
)
FAILING = TargetSeen(
    name="x", state="open", opened_at_ms=1, refusing=False, pending=BEYOND_FLOATS, oldest_seconds=0.0
)


@pytest.mark.parametrize(
    "digest",
    [
        b"no JSON",
        b"{}",
        encoded(Facts(listening_since_ms=-1, tracks=[], turned_away=[])),
        encoded(Facts(listening_since_ms=1, tracks=[track(last_ms=10**30)], turned_away=[])),
        encoded(Facts(listening_since_ms=1, tracks=[OVERFLOWING], turned_away=[])),
        encoded(NOTHING, targets=[FAILING]),
        encoded(NOTHING, rates=[(["accepted"], 1e308)]),
        encoded(NOTHING, rates=[(["accepted"], -1.0)]),
    ],
)
async def test_a_digest_that_nothing_can_be_made_of_counts_as_none(
    database: Database, tmp_path: Path, digest: bytes
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        two.exchange.publish(digest)
        await until(lambda: bool(one.exchange.others()[0].digest_number))
        assert one.answers.judged is not None
        assert (await one.answers.judged()).facts.tracks == one.heard.tracks
        assert await names(observer(one)) == []
        assert one.answers.share_rates({}) == {}


def test_facts_that_can_be_reckoned_with_are_sane() -> None:
    assert is_sane(Facts(listening_since_ms=NOW_MS, tracks=[track()], turned_away=[]))


async def test_rates_are_shared_by_the_digest(database: Database, tmp_path: Path) -> None:
    async with sites(database, tmp_path, 3) as (one, two, three):
        for site, rate in ((two, 2.0), (three, 0.5)):
            assert site.answers.share_rates({("accepted",): rate, ("delivered", "support"): 1.0}) == {}
            assert site.answers.judged is not None
            await site.answers.judged()
        await until(lambda: all(other.digest for other in one.exchange.others()))
        assert one.answers.share_rates({}) == {("accepted",): 2.5, ("delivered", "support"): 2.0}


async def test_a_message_is_followed_through_all_memories_and_all_directories(
    database: Database, tmp_path: Path
) -> None:
    letter = a_letter(target="former")
    id_ = letter.notification_id
    async with sites(database, tmp_path, 3) as (one, two, three):
        two.memory.came(id_, Came(EPOCH_MS, "main", "accepted", "c-1", routed("support", "former"), ()))
        three.memory.taken("support", f"{id_}-support", Taken(at_ms=EPOCH_MS + 5, attempt=1, status=204))
        three.store.prepare()
        three.store.write(letter)
        three.store.count()
        found: Any = await one.answers.actions.trace(id_)
        [traced] = found["notifications"]
        assert (traced["gateway"], traced["connection"]) == (two.name, "c-1")
        assert {row["target"]: (row["state"], row["gateway"]) for row in traced["deliveries"]} == {
            "support": ("delivered", three.name),
            "former": ("dead_letter", three.name),
        }
        assert [each["state"] for each in found["gateways"]] == ["answers"] * 3
        nothing: Any = await one.answers.actions.trace("0" * 32)
        assert nothing["remark"]


async def test_a_pause_is_followed_by_the_others_before_it_is_answered(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        await one.answers.actions.pause("support", seconds=60, reason="maintenance")
        await one.answers.actions.resume("support", rate_per_second=None)
        assert one.done == ["pause support 60 maintenance", "resume support None"]
        assert (two.followed, two.done) == (2, [])


async def test_a_target_that_another_gateway_delivers_to_is_not_discarded(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        one.targets = two.targets = {"former": target(state="unknown")}
        await one.answers.actions.discard_target("former", limit=9)
        assert one.done == ["discard former 9"]
        two.targets = {"former": target()}
        with pytest.raises(UsageError, match=f"{two.name} has a target of this name"):
            await one.answers.actions.discard_target("former", limit=9)


async def test_while_the_database_is_away_each_tells_what_it_knows(
    database: Database, tmp_path: Path
) -> None:
    async with sites(database, tmp_path, 2) as (one, _):
        one.exchange._lose("the test has taken it away")
        found: Any = await one.answers.actions.status()
        assert found["targets"]["support"]["delivered"] == 3
        with pytest.raises(SpoolUnavailableError, match="the test has taken it away"):
            await one.exchange.ask(7, b"", within_seconds=60)


def test_with_a_spool_of_its_own_nothing_is_asked(tmp_path: Path) -> None:
    def nothing(*_: object) -> Any:
        raise AssertionError

    alone = AdminAnswers(
        actions=nothing,  # type: ignore[arg-type] # nobody looks
        health=nothing,
        render_metrics=nothing,
        edge=nothing,
        facts=nothing,
        changes=nothing,
        trace_parts=nothing,
        recall=nothing,
        follow_pauses=nothing,
    )
    store = DeadLetterStore(tmp_path, bytes(32))
    assert with_others(None, alone, dead_letters=store, targets=tuple, now_ms=lambda: 0) is alone


async def test_dead_letters_are_dealt_with_where_they_are(database: Database, tmp_path: Path) -> None:
    async with sites(database, tmp_path, 3) as [one, two, three]:
        one.holds, two.holds, three.holds = {"a"}, {"b"}, {"c"}
        for action, word in (("replay", "replayed"), ("rehearse", "would_replay")):
            ask = getattr(one.answers.actions, action)
            results = await ask(["a", "b", "c", "d"], accept_edited=True)
            assert {id_: said.result for id_, said in results.items()} == {
                "a": word, "b": word, "c": word, "d": "elsewhere"
            }  # fmt: skip
            assert results["d"].detail.startswith(
                "gateway db-9:1 holds it, in /dead; it does not answer: start"
            )
        assert (await one.answers.actions.discard(["c"]))["c"].result == "discarded"
        # Who does not hold it is not asked to do it.
        assert [line for line in two.done if line.startswith(("replayed", "discarded"))] == [
            "replayed b {'accept_edited': True}"
        ]
        assert "discarded c {}" in three.done
        assert await one.answers.actions.read_letter("b") == {
            "result": "found", "detail": "", "file": "/dead/x", "letter": letter_content("b"),
            "gateway": two.name,
        }  # fmt: skip
        for forged in ({"id": "b"}, letter_content("e")):
            two.forged = forged
            assert (await one.answers.actions.read_letter("b"))["result"] == "elsewhere"
        assert (await one.answers.actions.read_letter("d"))["result"] == "elsewhere"
        assert (await one.answers.actions.list_letters(LettersRequest(target="x")))["letters"] == ["x"]
