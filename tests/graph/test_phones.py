"""Overrides of single phone numbers: looked at first, set once."""

import pytest

from gateway.graph.answers import PhoneConfiguration
from gateway.graph.client import NoAnswerError
from gateway.graph.errands import Outcome
from gateway.graph.phones import PhoneBringer
from gateway.settings.secret import Secret

HERE = "https://here.example/hooks"


class Phone:
    """One phone number."""

    def __init__(self, url: str | None, *, lost: int = 0, done: bool = True) -> None:
        self.url = url
        self.sets = 0
        self._lost, self._done = lost, done

    async def phone_configuration(self, phone: str) -> PhoneConfiguration:
        return PhoneConfiguration(phone_number=self.url, waba=None, application=None)

    async def set_phone_override(self, phone: str, *, url: str, verify_token: Secret | None) -> None:
        self.sets += 1
        lost = self.sets <= self._lost
        if not lost or self._done:
            self.url = url or None
        if lost:
            raise NoAnswerError("lost")


def bringer(phone: Phone, url: str | None, *, dry_run: bool = False) -> PhoneBringer:
    return PhoneBringer(calls=phone, override_url=url, verify_token=None, dry_run=dry_run)


@pytest.mark.parametrize(("before", "wanted"), [(None, HERE), (HERE, None), (HERE, "https://there.example/")])
async def test_it_is_set_once_and_then_no_more(before: str | None, wanted: str | None) -> None:
    phone = Phone(before)
    assert (await bringer(phone, wanted)("5")).outcome is Outcome.DONE
    assert (await bringer(phone, wanted)("5")).outcome is Outcome.UNCHANGED
    assert phone.url == wanted
    assert phone.sets == 1


@pytest.mark.parametrize(("done", "sets"), [(True, 1), (False, 2)])
async def test_a_lost_answer_is_looked_up(done: bool, sets: int) -> None:
    phone = Phone(None, lost=1, done=done)
    assert (await bringer(phone, HERE)("5")).outcome is Outcome.DONE
    assert phone.sets == sets


async def test_a_dry_run_only_looks() -> None:
    phone = Phone(None)
    result = await bringer(phone, HERE, dry_run=True)("5")
    assert result.outcome is Outcome.WOULD
    assert result.what == f"override none -> {HERE}"
    assert phone.sets == 0
