"""From what is so to what should be: every combination, and never a POST that removes what nobody gave up."""

import itertools

import pytest

from gateway.graph.answers import SubscribedApp
from gateway.graph.plan import (
    Existing,
    Plan,
    Question,
    State,
    Step,
    Unclear,
    Wish,
    after,
    fulfilled,
    plan,
    state_of,
)

HERE, THERE = "https://here.example/hooks", "https://there.example/hooks"
STATES = [State(subscribed=one, override_url=url) for one in (True, None) for url in (None, HERE, THERE)]
STATES.append(State(subscribed=False, override_url=None))
WISHES = [
    *(Wish(existing=existing) for existing in Existing),
    Wish(override_url=HERE),
    Wish(subscribed=False),
]


def app(app_id: str, override_url: str | None = None) -> SubscribedApp:
    return SubscribedApp(app_id=app_id, name="n", override_url=override_url)


@pytest.mark.parametrize(
    ("apps", "app_id", "subscribed", "override"),
    [
        ([], None, False, None),
        ([], "1", False, None),
        ([app("1", HERE)], None, None, HERE),  # whose it is, is not known: nothing may be taken for done
        ([app("2", HERE)], "1", False, None),
        ([app("2", HERE), app("1")], "1", True, None),
        ([app("2"), app("1", THERE)], None, None, THERE),
        ([app("2"), app("1")], None, None, None),
    ],
)
def test_our_app_is_found(
    apps: list[SubscribedApp], app_id: str | None, subscribed: bool | None, override: str | None
) -> None:
    assert state_of(apps, app_id) == State(subscribed=subscribed, override_url=override)


@pytest.mark.parametrize(
    ("state", "wish", "steps"),
    [
        (State(subscribed=False, override_url=None), Wish(), [Step.SUBSCRIBE]),
        (State(subscribed=True, override_url=None), Wish(), []),
        (State(subscribed=None, override_url=None), Wish(), [Step.SUBSCRIBE]),
        (
            State(subscribed=False, override_url=None),
            Wish(override_url=HERE),
            [Step.SUBSCRIBE, Step.SET_OVERRIDE],
        ),
        (State(subscribed=True, override_url=THERE), Wish(override_url=HERE), [Step.SET_OVERRIDE]),
        (State(subscribed=True, override_url=HERE), Wish(override_url=HERE), []),
        (State(subscribed=None, override_url=HERE), Wish(override_url=HERE), [Step.SET_OVERRIDE]),
        (State(subscribed=True, override_url=HERE), Wish(existing=Existing.KEEP), []),
        (State(subscribed=True, override_url=HERE), Wish(existing=Existing.REMOVE), [Step.REMOVE_OVERRIDE]),
        (State(subscribed=True, override_url=HERE), Wish(subscribed=False), [Step.UNSUBSCRIBE]),
        (State(subscribed=False, override_url=None), Wish(subscribed=False), []),
    ],
)
def test_what_is_missing_is_planned(state: State, wish: Wish, steps: list[Step]) -> None:
    assert plan(state, wish) == Plan(steps=tuple(steps))


def test_an_override_in_the_way_is_a_question() -> None:
    assert plan(State(subscribed=True, override_url=HERE), Wish()) == Question(override_url=HERE)
    assert plan(State(subscribed=None, override_url=HERE), Wish()) == Question(override_url=HERE)


def test_keeping_what_may_be_ours_or_not_is_unclear() -> None:
    assert plan(State(subscribed=None, override_url=HERE), Wish(existing=Existing.KEEP)) == Unclear()


@pytest.mark.parametrize(("state", "wish"), list(itertools.product(STATES, WISHES)))
def test_a_plan_once_carried_out_leaves_nothing_to_do(state: State, wish: Wish) -> None:
    """Idempotent; and each step shows in the state, so that a lost answer can be looked up."""
    found = plan(state, wish)
    if not isinstance(found, Plan):
        return
    for step in found.steps:
        state = after(step, state, wish)
        assert fulfilled(step, state, wish)
    if state.subscribed is not None:
        assert plan(state, wish) == Plan(steps=())


@pytest.mark.parametrize(("state", "wish"), list(itertools.product(STATES, WISHES)))
def test_no_override_goes_that_nobody_gave_up(state: State, wish: Wish) -> None:
    found = plan(state, wish)
    if state.override_url and isinstance(found, Plan) and wish.existing is not Existing.REMOVE:
        assert Step.SUBSCRIBE not in found.steps
        assert Step.REMOVE_OVERRIDE not in found.steps


def test_a_step_that_was_not_done_does_not_look_done() -> None:
    wish = Wish(override_url=HERE)
    assert not fulfilled(Step.SUBSCRIBE, State(subscribed=False, override_url=None), wish)
    assert not fulfilled(Step.SET_OVERRIDE, State(subscribed=True, override_url=THERE), wish)
    assert not fulfilled(Step.REMOVE_OVERRIDE, State(subscribed=True, override_url=HERE), wish)
    assert not fulfilled(Step.UNSUBSCRIBE, State(subscribed=True, override_url=None), wish)
