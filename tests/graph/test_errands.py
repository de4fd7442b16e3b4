"""Many accounts: looked at first, done once, waited for, gone on with."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.graph.answers import SubscribedApp
from gateway.graph.client import NoAnswerError, NotSentError
from gateway.graph.errands import (
    MAX_WAITS,
    Bringer,
    Looker,
    Outcome,
    Result,
    Run,
    attempt,
)
from gateway.graph.own_app import OwnApp
from gateway.graph.plan import Existing, State, Step, Wish
from gateway.graph.refusals import Limit, Refusal, RefusedError, Scope
from gateway.graph.usage import UsageBook
from gateway.settings.secret import Secret

US, OTHERS = "264419870315578", "111222333444555"
HERE, THERE = "https://here.example/hooks", "https://there.example/hooks"
TOKENS = {HERE: Secret(b"verify", source="env V")}


def refusal(scope: Scope | None, minutes: float = 7) -> RefusedError:
    limit = None if scope is None else Limit(scope=scope, minutes=minutes)
    return RefusedError(Refusal(what="refused", remedy="do it", status=400, code=1, limit=limit))


@dataclass
class Meta:
    """What Meta keeps of accounts, in memory; the client's promises over it are tested with the stand-in."""

    accounts: dict[str, dict[str, str | None]]
    trouble: list[tuple[str, str, Exception, bool]] = field(default_factory=list)
    """Call, account, error, whether it is carried out all the same."""
    calls: list[tuple[str, str]] = field(default_factory=list)

    def _meet(self, call: str, waba: str) -> Exception | None:
        self.calls.append((call, waba))
        for index, (its_call, account, error, done) in enumerate(self.trouble):
            if its_call == call and account == waba:
                del self.trouble[index]
                if not done:
                    raise error
                return error
        return None

    async def subscribed_apps(self, waba: str) -> tuple[SubscribedApp, ...]:
        await trio.lowlevel.checkpoint()
        self._meet("look", waba)
        found = self.accounts[waba].items()
        return tuple(SubscribedApp(app_id=app, name="n", override_url=url) for app, url in found)

    async def subscribe(self, waba: str) -> None:
        await self._set("subscribe", waba, None)

    async def set_override(self, waba: str, *, url: str, verify_token: Secret) -> None:
        assert verify_token is TOKENS[url]
        await self._set("override", waba, url)

    async def _set(self, call: str, waba: str, url: str | None) -> None:
        await trio.lowlevel.checkpoint()
        lost = self._meet(call, waba)
        self.accounts[waba][US] = url
        if lost is not None:
            raise lost

    async def unsubscribe(self, waba: str) -> None:
        await trio.lowlevel.checkpoint()
        lost = self._meet("unsubscribe", waba)
        self.accounts[waba].pop(US, None)
        if lost is not None:
            raise lost


class Told:
    """A teller that remembers."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.left: list[float] = []

    def progress(self, done: int, total: int, result: Result) -> None:
        self.done.append(done)

    def waiting(self, seconds: float, accounts: int) -> None:
        self.left.append(seconds)


def bringer(meta: Meta, wish: Wish | None = None, *, dry_run: bool = False) -> Bringer:
    wishes = dict.fromkeys(meta.accounts, wish or Wish())
    return Bringer(calls=meta, own=OwnApp(US), wishes=wishes, tokens=TOKENS, dry_run=dry_run)


async def brought(meta: Meta, wish: Wish | None = None, *, wait: bool = False, dry_run: bool = False) -> Run:
    accounts = tuple(meta.accounts)
    run = Run(accounts=accounts, book=UsageBook(accounts), teller=Told(), wait=wait)
    await run.go(bringer(meta, wish, dry_run=dry_run))
    return run


def outcomes(run: Run) -> list[Outcome]:
    return [result.outcome for result in run.ordered]


async def test_what_is_missing_is_done_and_the_second_time_nothing_is() -> None:
    meta = Meta({"1": {}, "2": {US: None}, "3": {OTHERS: THERE}})
    assert outcomes(await brought(meta)) == [Outcome.DONE, Outcome.UNCHANGED, Outcome.DONE]
    assert all(US in apps for apps in meta.accounts.values())
    assert meta.accounts["3"][OTHERS] == THERE
    meta.calls.clear()
    assert set(outcomes(await brought(meta))) == {Outcome.UNCHANGED}
    assert {call for call, _ in meta.calls} == {"look"}


async def test_an_override_comes_after_the_subscription_that_it_needs() -> None:
    meta = Meta({"1": {}})
    (result,) = (await brought(meta, Wish(override_url=HERE))).ordered
    assert [call for call, _ in meta.calls] == ["look", "subscribe", "override"]
    assert result.now == State(subscribed=True, override_url=HERE)
    assert result.what == f"subscribe; override none -> {HERE}"


async def test_a_dry_run_says_what_it_would_do_and_only_looks() -> None:
    meta = Meta({"1": {}, "2": {US: THERE}})
    run = await brought(meta, Wish(override_url=HERE), dry_run=True)
    assert outcomes(run) == [Outcome.WOULD, Outcome.WOULD]
    assert run.ordered[1].what == f"override {THERE} -> {HERE}"
    assert run.ordered[1].now == State(subscribed=True, override_url=THERE)
    assert {call for call, _ in meta.calls} == {"look"}


async def test_an_override_that_nobody_gave_up_stays() -> None:
    meta = Meta({"1": {US: THERE}})
    (result,) = (await brought(meta)).ordered
    assert result.outcome is Outcome.UNDECIDED
    assert THERE in result.what
    assert "--keep-override" in result.remedy
    assert outcomes(await brought(meta, Wish(existing=Existing.KEEP))) == [Outcome.UNCHANGED]
    assert meta.accounts["1"][US] == THERE
    assert outcomes(await brought(meta, Wish(existing=Existing.REMOVE))) == [Outcome.DONE]
    assert meta.accounts["1"][US] is None


async def test_one_that_fails_keeps_no_other_from_its_turn() -> None:
    meta = Meta({"1": {}, "2": {}, "3": {}})
    meta.trouble = [("look", "1", refusal(None), False), ("subscribe", "2", NotSentError("no"), False)]
    run = await brought(meta)
    assert outcomes(run) == [Outcome.FAILED, Outcome.FAILED, Outcome.DONE]
    assert run.ordered[0].code == 1
    assert Counter(meta.calls)["subscribe", "2"] == 1, "what was not sent is not sent by itself"


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_is_looked_up_before_anything_is_done_again(done: bool) -> None:
    meta = Meta({"1": {}})
    meta.trouble = [("subscribe", "1", NoAnswerError("lost"), done)]
    assert outcomes(await brought(meta)) == [Outcome.DONE]
    again = [] if done else [("subscribe", "1")]
    assert meta.calls == [("look", "1"), ("subscribe", "1"), ("look", "1"), *again]


async def test_a_second_lost_answer_is_a_failure() -> None:
    meta = Meta({"1": {}})
    meta.trouble = [("subscribe", "1", NoAnswerError("lost"), False)] * 2
    assert outcomes(await brought(meta)) == [Outcome.FAILED]
    assert Counter(meta.calls)["subscribe", "1"] == 2


@pytest.mark.parametrize(
    ("wish", "step"),
    [
        (Wish(subscribed=False), Step.UNSUBSCRIBE),
        (Wish(override_url=HERE), Step.SET_OVERRIDE),
        (Wish(existing=Existing.REMOVE), Step.REMOVE_OVERRIDE),
    ],
)
async def test_every_step_is_looked_up_after_a_lost_answer(wish: Wish, step: Step) -> None:
    meta = Meta({"1": {US: THERE}})
    call = {Step.UNSUBSCRIBE: "unsubscribe", Step.SET_OVERRIDE: "override", Step.REMOVE_OVERRIDE: "subscribe"}
    meta.trouble = [(call[step], "1", NoAnswerError("lost"), True)]
    (result,) = (await brought(meta, wish)).ordered
    assert result.outcome is Outcome.DONE
    assert result.steps == (step,)
    assert Counter(meta.calls)[call[step], "1"] == 1


# -- limits


async def test_a_limit_stops_that_account_alone_and_says_for_how_long() -> None:
    meta = Meta({"1": {}, "2": {}})
    meta.trouble = [("subscribe", "1", refusal(Scope.ACCOUNT, 7), False)]
    run = await brought(meta)
    assert outcomes(run) == [Outcome.LIMITED, Outcome.DONE]
    assert run.ordered[0].what == "refused; access again in 7 min"
    assert Counter(meta.calls)["subscribe", "1"] == 1


async def test_without_a_time_it_says_so() -> None:
    meta = Meta({"1": {}})
    meta.trouble = [("look", "1", refusal(Scope.ACCOUNT, 0), False)]
    (result,) = (await brought(meta)).ordered
    assert result.what == "refused; Meta does not say for how long"


async def test_a_limit_of_everything_twice_in_a_row_ends_the_run() -> None:
    meta = Meta({str(number): {} for number in range(5)})
    meta.trouble = [("look", str(number), refusal(Scope.EVERYTHING), False) for number in range(5)]
    run = await brought(meta)
    assert outcomes(run) == [Outcome.LIMITED] * 2 + [Outcome.NOT_TRIED] * 3
    assert len(meta.calls) == 2


async def test_it_waits_and_goes_on_without_repeating_what_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    meta = Meta({"1": {}, "2": {}, "3": {}})
    meta.trouble = [
        ("override", "1", refusal(Scope.ACCOUNT, 7), False),
        ("look", "2", refusal(Scope.ACCOUNT, 20), False),
    ]
    started = trio.current_time()
    run = await brought(meta, Wish(override_url=HERE), wait=True)
    assert outcomes(run) == [Outcome.DONE] * 3
    assert trio.current_time() - started == pytest.approx(20 * 60)
    assert Counter(meta.calls)["subscribe", "1"] == 1
    assert Counter(meta.calls)["override", "1"] == 2
    assert [call for call in meta.calls if call[1] == "3"] == [
        ("look", "3"),
        ("subscribe", "3"),
        ("override", "3"),
    ]
    left = run.teller.left  # type: ignore[attr-defined]  # Told's
    assert left[0] == pytest.approx(420)
    assert left[1] == pytest.approx(419)
    assert left.count(0.0) == 2


async def test_without_a_time_it_waits_an_hour(autojump_clock: trio.testing.MockClock) -> None:
    meta = Meta({"1": {}})
    meta.trouble = [("look", "1", refusal(Scope.ACCOUNT, 0), False)]
    started = trio.current_time()
    assert outcomes(await brought(meta, wait=True)) == [Outcome.DONE]
    assert trio.current_time() - started == pytest.approx(3600)


async def test_it_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    meta = Meta({"1": {}, "2": {}})
    meta.trouble = [
        ("look", "1", refusal(Scope.ACCOUNT, 100_000), False),
        *[("look", "2", refusal(Scope.ACCOUNT, 1), False)] * 50,
    ]
    run = await brought(meta, wait=True)
    assert outcomes(run) == [Outcome.LIMITED, Outcome.LIMITED]
    assert Counter(meta.calls) == {("look", "1"): 1, ("look", "2"): MAX_WAITS + 1}


async def test_a_limit_of_everything_has_all_wait(autojump_clock: trio.testing.MockClock) -> None:
    meta = Meta({str(number): {} for number in range(5)})
    meta.trouble = [("look", str(number), refusal(Scope.EVERYTHING, 10), False) for number in range(2)]
    started = trio.current_time()
    run = await brought(meta, wait=True)
    assert outcomes(run) == [Outcome.DONE] * 5
    assert math.isclose(trio.current_time() - started, 600, rel_tol=0.01)
    assert Counter(call for call, _ in meta.calls)["look"] == 7


async def test_what_is_done_so_far_is_known_when_it_is_interrupted() -> None:
    meta = Meta({"1": {}, "2": {}, "3": {}})
    run = Run(accounts=("1", "2", "3"), book=UsageBook([]), teller=Told())

    async def errand(account: str) -> Result:
        if account == "2":
            raise KeyboardInterrupt
        return await bringer(meta)(account)

    with pytest.raises(KeyboardInterrupt):
        await run.go(errand)
    assert outcomes(run) == [Outcome.DONE, Outcome.NOT_TRIED, Outcome.NOT_TRIED]


async def test_looking_changes_nothing_and_shows_everybody() -> None:
    meta = Meta({"1": {US: None, OTHERS: THERE}})
    result = await attempt("1", Looker(calls=meta, own=OwnApp(None)))
    assert [app.app_id for app in result.apps] == [US, OTHERS]
    assert result.now == State(subscribed=None, override_url=THERE)
    assert meta.calls == [("look", "1")]


async def test_which_of_several_is_ours_matters_only_where_something_could_be_lost() -> None:
    meta = Meta({"1": {US: None, OTHERS: THERE}})
    unknown = Bringer(calls=meta, own=OwnApp(None), wishes={"1": Wish(existing=Existing.KEEP)}, tokens=TOKENS)
    result = await attempt("1", unknown)
    assert result.outcome is Outcome.FAILED
    assert "app_id" in result.remedy
    assert meta.calls == [("look", "1")]


ERRORS = st.sampled_from(
    [
        lambda: NoAnswerError("lost"),
        lambda: NotSentError("no"),
        lambda: refusal(None),
        lambda: refusal(Scope.ACCOUNT, 1),
        lambda: refusal(Scope.EVERYTHING, 1),
    ]
)
TROUBLE = st.tuples(
    st.sampled_from(["look", "subscribe", "override", "unsubscribe"]),
    st.sampled_from("123"),
    ERRORS,
    st.booleans(),
)
WISHES = st.sampled_from(
    [
        Wish(),
        Wish(existing=Existing.KEEP),
        Wish(existing=Existing.REMOVE),
        Wish(override_url=HERE),
        Wish(subscribed=False),
    ]
)
BEFORE = st.dictionaries(st.sampled_from([US, OTHERS]), st.sampled_from([None, HERE, THERE]))


@settings(max_examples=100, deadline=None)
@given(
    before=st.tuples(BEFORE, BEFORE, BEFORE),
    wish=WISHES,
    trouble=st.lists(TROUBLE, max_size=8),
    wait=st.booleans(),
)
def test_whatever_happens_nothing_is_done_without_a_look_and_nothing_is_claimed_that_is_not_so(
    before: tuple[dict[str, str | None], ...],
    wish: Wish,
    trouble: list[tuple[str, str, Callable[[], Exception], bool]],
    wait: bool,
) -> None:
    meta = Meta({str(number): dict(apps) for number, apps in enumerate(before, 1)})
    meta.trouble = [
        (call, account, error(), done and call != "look" and isinstance(error(), NoAnswerError))
        for call, account, error, done in trouble
    ]
    run = trio.run(
        partial(brought, meta, wish, wait=wait), clock=trio.testing.MockClock(autojump_threshold=0)
    )
    for account, apps, result in zip("123", before, run.ordered, strict=True):
        now = meta.accounts[account]
        assert now.get(OTHERS, "none") == apps.get(OTHERS, "none"), "others' subscriptions are theirs"
        if result.outcome in {Outcome.DONE, Outcome.UNCHANGED}:
            assert (US in now) == wish.subscribed
            assert wish.override_url in (None, now.get(US))
            assert result.now == State(subscribed=US in now, override_url=now.get(US))
        if (
            apps.get(US)
            and wish.subscribed
            and not wish.override_url
            and wish.existing is not Existing.REMOVE
        ):
            assert now[US] == apps[US], "an override that nobody gave up"
        calls = [call for call, waba in meta.calls if waba == account]
        assert not calls or calls[0] == "look"
        for one, following in pairwise(calls):
            # The same call follows itself nowhere: there is a look between.
            assert one == "look" or one != following


def test_a_result_is_fit_for_json() -> None:
    result = Result(account="1", outcome=Outcome.DONE, what="x", limit=Limit(scope=Scope.ACCOUNT, minutes=7))
    assert result.plain("account")["waba"] == "1"
    assert result.plain("phone")["phone"] == "1"
    assert result.plain("account")["regain_minutes"] == 7
