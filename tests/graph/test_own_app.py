"""Which subscribed app is ours: stated, proved, or not claimed."""

from gateway.graph.answers import SubscribedApp
from gateway.graph.own_app import MAX_TRIED, OwnApp
from gateway.graph.plan import State

HERE = "https://here.example/hooks"


def apps(*ids: str) -> tuple[SubscribedApp, ...]:
    return tuple(
        SubscribedApp(app_id=one, name="n", override_url=HERE if one == "2" else None) for one in ids
    )


class Prover:
    """Knows whose secret we have, and how often it was asked."""

    def __init__(self, ours: str) -> None:
        self.asked: list[str] = []
        self._ours = ours

    async def __call__(self, app_id: str) -> bool:
        self.asked.append(app_id)
        return app_id == self._ours


async def test_what_is_stated_is_not_asked() -> None:
    prover = Prover("2")
    own = OwnApp("1", prover)
    assert await own.state_among(apps("2")) == State(subscribed=False, override_url=None)
    assert prover.asked == []


async def test_it_is_proved_once_and_then_known() -> None:
    prover = Prover("2")
    own = OwnApp(None, prover)
    assert (await own.state_among(apps("1"))).subscribed is None
    assert await own.state_among(apps("1", "2", "3")) == State(subscribed=True, override_url=HERE)
    assert await own.state_among(apps("3")) == State(subscribed=False, override_url=None)
    assert prover.asked == ["1", "2"]


async def test_what_is_not_proved_is_not_assumed() -> None:
    """Another app's subscription taken for ours would be left as it is, and nothing would come."""
    for own in (OwnApp(None), OwnApp(None, Prover("9"))):
        assert await own.state_among(apps("2")) == State(subscribed=None, override_url=HERE)
        assert await own.state_among(()) == State(subscribed=False, override_url=None)


async def test_not_everybody_is_asked_about() -> None:
    prover = Prover("none")
    own = OwnApp(None, prover)
    for start in range(5):
        await own.state_among(apps(*(str(start * 10 + number) for number in range(10))))
    assert len(prover.asked) == MAX_TRIED
