"""From what is so and what should be so to the calls that lead there. Pure.

POST /{waba}/subscribed_apps without a body subscribes, and removes an override that is there; with one it
sets the override, for which the app should be subscribed already (Meta, "Override the callback URL"). So
nothing is planned without a look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from gateway.graph.answers import SubscribedApp

WHICH_IS_OURS: Final = "apps are subscribed, and which of them is ours is not known"
STATE_IT: Final = "state apps.NAME.app_id (App settings, Basic)"


class Step(StrEnum):
    """One call that changes something."""

    SUBSCRIBE = "subscribe"
    SET_OVERRIDE = "set_override"
    REMOVE_OVERRIDE = "remove_override"
    UNSUBSCRIBE = "unsubscribe"


class Existing(Enum):
    """What is to become of an override that is there and that nobody has asked for."""

    ASK = "ask"
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is so for one account."""

    subscribed: bool | None
    """None: apps are subscribed, and whether ours is among them is not known."""
    override_url: str | None
    """Ours; where that is not known, the first that there is."""

    def plain(self) -> dict[str, object]:
        """Return it fit for JSON."""
        return {"subscribed": self.subscribed, "override_url": self.override_url}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What should be so for one account."""

    subscribed: bool = True
    override_url: str | None = None
    """None: the app's own URL; what `existing` says of one that is there."""
    existing: Existing = Existing.ASK


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The calls that lead from state to wish; none: it is so already."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """There is an override that somebody must decide about."""

    override_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """It cannot be told which of the subscribed apps is ours, and it matters."""


def state_of(apps: Sequence[SubscribedApp], app_id: str | None) -> State:
    """Find our app among those subscribed; without its id, any of them may be it."""
    if app_id is None and apps:
        overrides = [app.override_url for app in apps if app.override_url]
        return State(subscribed=None, override_url=overrides[0] if overrides else None)
    ours = [app for app in apps if app.app_id == app_id]
    return State(subscribed=bool(ours), override_url=ours[0].override_url if ours else None)


def plan(state: State, wish: Wish) -> Plan | Question | Unclear:
    """Return what to do about one account."""
    first = (Step.SUBSCRIBE,) if state.subscribed is False else ()
    if not wish.subscribed:
        return Plan(steps=() if state.subscribed is False else (Step.UNSUBSCRIBE,))
    if wish.override_url is not None:
        so = state.subscribed is True and state.override_url == wish.override_url
        return Plan(steps=() if so else (*first, Step.SET_OVERRIDE))
    if state.override_url is None:
        return Plan(steps=() if state.subscribed else (Step.SUBSCRIBE,))
    match wish.existing:
        case Existing.ASK:
            return Question(override_url=state.override_url)
        case Existing.REMOVE:
            return Plan(steps=(Step.REMOVE_OVERRIDE,))
        case Existing.KEEP:
            return Plan(steps=()) if state.subscribed else Unclear()


def fulfilled(step: Step, state: State, wish: Wish) -> bool:
    """Say whether a state is what a step leads to: asked when no answer told whether it was done."""
    match step:
        case Step.SUBSCRIBE:
            return state.subscribed is True
        case Step.SET_OVERRIDE:
            return state.override_url == wish.override_url
        case Step.REMOVE_OVERRIDE:
            return state.subscribed is not False and state.override_url is None
        case Step.UNSUBSCRIBE:
            return state.subscribed is False


def after(step: Step, state: State, wish: Wish) -> State:
    """Return the state that a step leads to."""
    match step:
        case Step.SUBSCRIBE | Step.REMOVE_OVERRIDE:
            return State(subscribed=True, override_url=None)
        case Step.SET_OVERRIDE:
            return State(subscribed=True, override_url=wish.override_url)
        case Step.UNSUBSCRIBE:
            return State(subscribed=False, override_url=None)
