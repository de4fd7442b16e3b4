"""Going through many accounts: look, decide, do what is missing; waiting where Meta asks for it.

Laws: nothing is done without a look before it. What a limit or a lost answer interrupts is begun again with a
look, so nothing that is done is done again. An account that fails does not keep the others from their turn;
a limit of the app or of the token's user, told twice in a row, does.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import trio

from gateway.errors import GatewayError
from gateway.graph.answers import SubscribedApp
from gateway.graph.client import NoAnswerError
from gateway.graph.own_app import OwnApp
from gateway.graph.plan import (
    STATE_IT,
    WHICH_IS_OURS,
    Plan,
    Question,
    State,
    Step,
    Unclear,
    Wish,
    after,
    fulfilled,
    plan,
)
from gateway.graph.refusals import Limit, RefusedError, Scope
from gateway.graph.usage import UsageBook
from gateway.settings.secret import Secret

UNTOLD_MINUTES: Final = 60.0
"""How long to wait where Meta does not say: its limits are on the calls of an hour."""
MAX_WAIT_MINUTES: Final = 26 * 60.0
"""A longer wait is not begun: no limit of these lasts more than a day."""
MAX_WAITS: Final = 5
"""For one account; one that is blocked again and again needs somebody to look."""
_IN_A_ROW: Final = 2
"""So many limits of everything, one after the other, and nobody else is asked about."""
TICK_SECONDS: Final = 1.0
"""Of the countdown."""


class Outcome(StrEnum):
    """How it went for one account."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It was so already."""
    WOULD = "would"
    """Something would be done; `--dry-run`."""
    UNDECIDED = "undecided"
    """There is an override that somebody must decide about."""
    LIMITED = "limited"
    FAILED = "failed"
    NOT_TRIED = "not_tried"


GOOD: Final = frozenset({Outcome.DONE, Outcome.UNCHANGED, Outcome.WOULD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one account."""

    account: str
    outcome: Outcome
    what: str
    """For people, in a few words."""
    remedy: str = ""
    before: State | None = None
    now: State | None = None
    """As the answers have it; None where nobody has looked."""
    apps: tuple[SubscribedApp, ...] = ()
    """Who was subscribed at the look."""
    steps: tuple[Step, ...] = ()
    """What was done, or would be."""
    limit: Limit | None = None
    code: int | None = None
    """Of the Graph API, where it refused."""
    trace: str = ""

    def plain(self, what: str) -> dict[str, object]:
        """Return it fit for JSON; `what` is `account`, which is told as `waba`, or `phone`."""
        return {
            "phone" if what == "phone" else "waba": self.account,
            "outcome": str(self.outcome),
            "what": self.what,
            "remedy": self.remedy,
            "before": self.before.plain() if self.before else None,
            "now": self.now.plain() if self.now else None,
            "steps": [str(step) for step in self.steps],
            "code": self.code,
            "regain_minutes": self.limit.minutes if self.limit else None,
            "trace": self.trace,
        }


Errand = Callable[[str], Awaitable[Result]]
"""What is done for one account; raises GatewayError where it fails."""


class Teller(Protocol):
    """Who is told how it goes."""

    def progress(self, done: int, total: int, result: Result) -> None:
        """One more account is through."""
        ...

    def waiting(self, seconds: float, accounts: int) -> None:
        """So many seconds are left, and so many accounts wait."""
        ...


@dataclass(slots=True, kw_only=True)
class Run:
    """One run through several accounts; `results` is true at every moment, also after Ctrl-C."""

    accounts: tuple[str, ...]
    book: UsageBook
    teller: Teller
    wait: bool = False
    """Wait for the end of a block, and go on."""
    sleep: Callable[[float], Awaitable[None]] = trio.sleep
    now: Callable[[], float] = trio.current_time
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def ordered(self) -> tuple[Result, ...]:
        """A result for every account, in their order."""
        return tuple(self.results.get(one) or not_tried(one) for one in self.accounts)

    async def go(self, errand: Errand) -> None:
        """Run the errand for each account, one after the other."""
        queue, waits = deque(self.accounts), dict.fromkeys(self.accounts, 0)
        blocked: dict[str, float] = {}
        in_a_row = 0
        while queue or blocked:
            if not queue:
                queue.extend(await self._sit_out(blocked))
                in_a_row = 0
            account = queue.popleft()
            result = await attempt(account, errand)
            limit = result.limit
            self._note(result)
            if limit is None:
                in_a_row = 0
                continue
            in_a_row = in_a_row + 1 if limit.scope is Scope.EVERYTHING else 0
            patient = self.wait and waits[account] < MAX_WAITS and _bearable(limit)
            if patient:
                waits[account] += 1
                blocked[account] = self.now() + 60 * (limit.minutes or UNTOLD_MINUTES)
            if in_a_row >= _IN_A_ROW:
                if not patient:
                    return
                until = blocked[account]
                while queue:
                    blocked[queue.popleft()] = until

    def _note(self, result: Result) -> None:
        self.results[result.account] = result
        through = sum(1 for one in self.results.values() if one.outcome is not Outcome.LIMITED)
        self.teller.progress(through, len(self.accounts), result)

    async def _sit_out(self, blocked: dict[str, float]) -> tuple[str, ...]:
        """Wait until the first of the blocks is over, and return whose are."""
        until = min(blocked.values())
        while (left := until - self.now()) > 0:
            self.teller.waiting(left, len(blocked))
            await self.sleep(min(TICK_SECONDS, left))
        self.teller.waiting(0.0, len(blocked))
        free = tuple(account for account, at in blocked.items() if at <= self.now())
        for account in free:
            del blocked[account]
            self.book.forget_blocks(account)
        return free


def _bearable(limit: Limit) -> bool:
    return limit.minutes <= MAX_WAIT_MINUTES


async def attempt(account: str, errand: Errand) -> Result:
    """Run an errand; what it raises becomes a result."""
    try:
        return await errand(account)
    except RefusedError as error:
        refusal = error.refusal
        return Result(
            account=account,
            outcome=Outcome.FAILED if refusal.limit is None else Outcome.LIMITED,
            what=refusal.told,
            remedy=refusal.remedy,
            limit=refusal.limit,
            code=refusal.code,
            trace=refusal.trace,
        )
    except GatewayError as error:
        return Result(account=account, outcome=Outcome.FAILED, what=error.message, remedy=error.remedy)


def not_tried(account: str) -> Result:
    """Make the result of an account that nobody came to."""
    return Result(
        account=account, outcome=Outcome.NOT_TRIED, what="not tried", remedy="repeat the command for it"
    )


# -- errands


class Calls(Protocol):
    """As much of the client as these errands need."""

    async def subscribed_apps(self, waba: str) -> tuple[SubscribedApp, ...]: ...
    async def subscribe(self, waba: str) -> None: ...
    async def set_override(self, waba: str, *, url: str, verify_token: Secret) -> None: ...
    async def unsubscribe(self, waba: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Looks at one account, and does nothing."""

    calls: Calls
    own: OwnApp

    async def __call__(self, account: str) -> Result:
        apps = await self.calls.subscribed_apps(account)
        state = await self.own.state_among(apps)
        return Result(account=account, outcome=Outcome.UNCHANGED, what="", before=state, now=state, apps=apps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bringer:
    """Brings one account to what is wished: looks, plans, does the steps."""

    calls: Calls
    own: OwnApp
    wishes: Mapping[str, Wish]
    tokens: Mapping[str, Secret]
    """Override URL -> the token with which Meta verifies it."""
    dry_run: bool = False

    async def __call__(self, account: str) -> Result:
        wish = self.wishes[account]
        before = await self._look(account)
        match plan(before, wish):
            case Question(override_url=url):
                return Result(
                    account=account,
                    outcome=Outcome.UNDECIDED,
                    what=f"has the override {url}, which this would remove"
                    + ("" if before.subscribed else " if it is ours"),
                    remedy="--keep-override leaves it, --remove-override (or --yes) removes it",
                    before=before,
                    now=before,
                )
            case Unclear():
                return Result(
                    account=account,
                    outcome=Outcome.FAILED,
                    what=WHICH_IS_OURS,
                    remedy=STATE_IT,
                    before=before,
                    now=before,
                )
            case Plan(steps=steps):
                return await self._do(account, wish, before, steps)

    async def _look(self, account: str) -> State:
        return await self.own.state_among(await self.calls.subscribed_apps(account))

    async def _do(self, account: str, wish: Wish, before: State, steps: tuple[Step, ...]) -> Result:
        state = before
        if not self.dry_run:
            for step in steps:
                state = await self._surely(account, step, state, wish)
        outcome = Outcome.WOULD if self.dry_run else Outcome.DONE
        return Result(
            account=account,
            outcome=outcome if steps else Outcome.UNCHANGED,
            what=say_steps(steps, before, wish) or say_state(state),
            before=before,
            now=state,
            steps=steps,
        )

    async def _surely(self, account: str, step: Step, state: State, wish: Wish) -> State:
        """Do a step; where no answer came, look whether it was done before it is done once more."""
        try:
            await self._call(account, step, wish)
        except NoAnswerError:
            seen = await self._look(account)
            if fulfilled(step, seen, wish):
                return seen
            await self._call(account, step, wish)
        return after(step, state, wish)

    async def _call(self, account: str, step: Step, wish: Wish) -> None:
        match step:
            case Step.SUBSCRIBE | Step.REMOVE_OVERRIDE:
                await self.calls.subscribe(account)
            case Step.SET_OVERRIDE:
                url = wish.override_url or ""
                await self.calls.set_override(account, url=url, verify_token=self.tokens[url])
            case Step.UNSUBSCRIBE:
                await self.calls.unsubscribe(account)


def say_state(state: State) -> str:
    """Say in words how an account is."""
    if state.subscribed is None:
        return WHICH_IS_OURS
    if not state.subscribed:
        return "not subscribed"
    return f"subscribed, override {state.override_url}" if state.override_url else "subscribed"


def say_steps(steps: Iterable[Step], before: State, wish: Wish) -> str:
    """Say in words what is done, the difference; empty where nothing is."""
    words = {
        Step.SUBSCRIBE: "subscribe",
        Step.SET_OVERRIDE: f"override {before.override_url or 'none'} -> {wish.override_url}",
        Step.REMOVE_OVERRIDE: f"override {before.override_url} -> none"
        if before.subscribed
        else "subscribe, without an override",
        Step.UNSUBSCRIBE: "unsubscribe",
    }
    return "; ".join(words[step] for step in steps)
