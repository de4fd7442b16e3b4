"""Errands for single phone numbers: their own alternate callback URL. They look first, too."""

from dataclasses import dataclass
from typing import Protocol

from gateway.graph.answers import PhoneConfiguration
from gateway.graph.client import NoAnswerError
from gateway.graph.errands import Outcome, Result
from gateway.graph.plan import State, Step
from gateway.settings.secret import Secret


class PhoneCalls(Protocol):
    """As much of the client as these errands need."""

    async def phone_configuration(self, phone: str) -> PhoneConfiguration: ...
    async def set_phone_override(self, phone: str, *, url: str, verify_token: Secret | None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneBringer:
    """Sets or deletes the override of one phone number, if it is not so already."""

    calls: PhoneCalls
    override_url: str | None
    """None: there shall be none."""
    verify_token: Secret | None
    dry_run: bool = False

    async def __call__(self, phone: str) -> Result:
        before = (await self.calls.phone_configuration(phone)).phone_number
        step = Step.SET_OVERRIDE if self.override_url else Step.REMOVE_OVERRIDE
        same = before == self.override_url
        if not same and not self.dry_run:
            await self._surely(phone)
        outcome = Outcome.WOULD if self.dry_run else Outcome.DONE
        after = before if same or self.dry_run else self.override_url
        return Result(
            account=phone,
            outcome=Outcome.UNCHANGED if same else outcome,
            what=f"override {before or 'none'}"
            if same
            else f"override {before or 'none'} -> {self.override_url or 'none'}",
            before=State(subscribed=None, override_url=before),
            now=State(subscribed=None, override_url=after),
            steps=() if same else (step,),
        )

    async def _surely(self, phone: str) -> None:
        """Set it; where no answer came, look whether it was done before it is done once more."""
        try:
            await self._set(phone)
        except NoAnswerError:
            if (await self.calls.phone_configuration(phone)).phone_number != self.override_url:
                await self._set(phone)

    async def _set(self, phone: str) -> None:
        await self.calls.set_phone_override(
            phone, url=self.override_url or "", verify_token=self.verify_token
        )
