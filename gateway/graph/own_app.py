"""Which of the apps that are subscribed to an account is ours.

The configuration says it (`apps.NAME.app_id`), or Meta does: `app id|app secret` is a token that it takes for
one app alone. What is not proved is not assumed: another app's subscription taken for ours would be left as
it is, and nothing would come.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.graph.answers import SubscribedApp
from gateway.graph.plan import State, state_of

MAX_TRIED: Final = 10
"""Candidates that are asked about in one run: accounts have a handful of apps, the same ones."""


class OwnApp:
    """Knows it, or finds it out at the first account where it is among the subscribed."""

    def __init__(self, app_id: str | None, prove: Callable[[str], Awaitable[bool]] | None = None) -> None:
        """`prove` says whether an app is ours, as far as Meta tells; None: it cannot be asked."""
        self.app_id = app_id
        self._prove = prove
        self._tried: set[str] = set()

    async def state_among(self, apps: Sequence[SubscribedApp]) -> State:
        """Say how things stand for our app, among those that are subscribed."""
        if self.app_id is None and self._prove is not None:
            for app in apps:
                if await self._is_ours(app.app_id):
                    self.app_id = app.app_id
                    break
        return state_of(apps, self.app_id)

    async def _is_ours(self, app_id: str) -> bool:
        if self._prove is None or app_id in self._tried or len(self._tried) >= MAX_TRIED:
            return False
        self._tried.add(app_id)
        return await self._prove(app_id)
