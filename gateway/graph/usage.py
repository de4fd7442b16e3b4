"""Rate limits as Meta tells them: the usage header of every answer, and the pace that follows from it. Pure.

`X-Business-Use-Case-Usage: {"<business id>": [{"type", "call_count", "total_cputime", "total_time",
"estimated_time_to_regain_access"}]}`; percentages, and minutes (Meta, "Graph API, rate limits"). What stands
there decides how long we wait, so nothing in it is believed beyond its bounds, and garbage is no error: the
answer beside it may be good.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

HEADER: Final = "x-business-use-case-usage"

OUR_KIND: Final = "whatsapp_business_management"
"""The limit that calls on `subscribed_apps` count against; others are shown, and block nothing."""

SLOW_FROM_PERCENT: Final = 80.0
"""Beyond this the pace slows, so that a run ends slowly rather than in a block."""
FULL_PERCENT: Final = 100.0
SLOWEST_SECONDS: Final = 18.0
"""Between two calls at 100 %: 200 calls an hour, the lesser of Meta's limits, evenly spread."""

_MAX_HEADER_CHARACTERS: Final = 64 * 1024
"""Of all its lines together; Meta's are some hundreds."""
_MAX_USAGES: Final = 50
"""Businesses times types in one answer, which names one or two."""
_MAX_OTHERS: Final = 1000
"""Of limits of others that are remembered; the oldest give way."""
_MAX_NUMBER: Final = 1_000_000.0
"""Percent and minutes beyond this say the same: two years of waiting."""
_MAX_NAME_CHARACTERS: Final = 64
"""Of an id and of a type; Meta's have at most 30."""
_PERCENTAGES: Final = ("call_count", "total_cputime", "total_time")
_REGAIN: Final = "estimated_time_to_regain_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of one limit is used up."""

    business: str
    """The id that the limit is kept for: an account's, or that of the business that owns it."""
    kind: str
    """Meta's name of the limit; empty where none was given."""
    percent: float
    """The greatest of the three; 0 where none was given."""
    regain_minutes: float = 0.0
    """How long the block lasts; 0: none."""

    def plain(self) -> dict[str, object]:
        """Return it fit for JSON."""
        return {
            "business": self.business,
            "type": self.kind,
            "percent": round(self.percent, 1),
            "regain_minutes": round(self.regain_minutes, 1),
        }


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every pair, also those whose key comes twice."""


def read_usage(values: Sequence[str]) -> tuple[Usage, ...]:
    """Read every line of the header; what cannot be understood is passed over. Never raises.

    One usage for each business and type, in order of appearance: of several the worst.
    """
    if sum(map(len, values)) > _MAX_HEADER_CHARACTERS:
        return ()
    worst: dict[tuple[str, str], Usage] = {}
    for value in values:
        for usage in _read_line(value):
            key = (usage.business, usage.kind)
            worst[key] = _worse(worst.get(key, usage), usage)
            if len(worst) >= _MAX_USAGES:
                return tuple(worst.values())
    return tuple(worst.values())


def _worse(one: Usage, other: Usage) -> Usage:
    return Usage(
        business=one.business,
        kind=one.kind,
        percent=max(one.percent, other.percent),
        regain_minutes=max(one.regain_minutes, other.regain_minutes),
    )


def _read_line(value: str) -> Iterable[Usage]:
    try:
        parsed = json.loads(value, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return
    for business, entries in parsed if isinstance(parsed, _Pairs) else ():
        several = entries if isinstance(entries, list) and not isinstance(entries, _Pairs) else [entries]
        for entry in several:
            if isinstance(entry, _Pairs) and len(business) <= _MAX_NAME_CHARACTERS:
                yield _read_entry(business, entry)


def _read_entry(business: str, entry: _Pairs) -> Usage:
    kinds = [value for key, value in entry if key == "type" and isinstance(value, str)]
    return Usage(
        business=business,
        kind=kinds[-1][:_MAX_NAME_CHARACTERS] if kinds else "",
        percent=max((_number(value) for key, value in entry if key in _PERCENTAGES), default=0.0),
        regain_minutes=max((_number(value) for key, value in entry if key == _REGAIN), default=0.0),
    )


def _number(value: object) -> float:
    """Read a number that may be anything; what is none counts as 0."""
    if isinstance(value, str) and len(value) <= _MAX_NAME_CHARACTERS and value.isascii():
        try:
            value = float(value)
        except ValueError:
            return 0.0
    match value:
        case bool():
            return 0.0
        case int():
            return float(min(max(value, 0), int(_MAX_NUMBER)))
        case float() if value == value:  # not a number is not equal to itself
            return min(max(value, 0.0), _MAX_NUMBER)
    return 0.0


def pace_seconds(percent: float) -> float:
    """Say how long to wait before the next call, with so much used up: nothing up to 80 %, then ever more."""
    beyond = (percent - SLOW_FROM_PERCENT) / (FULL_PERCENT - SLOW_FROM_PERCENT)
    return SLOWEST_SECONDS * min(max(beyond, 0.0), 1.0)


class UsageBook:
    """What Meta has said last of each limit, over a run through several accounts.

    A limit is kept under the account's id, or under another, such as the business's that owns it. Of another
    it is not known whether accounts share it: so all of them slow down, and only the account whose answer has
    told of a block stops.
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        self._of_account: dict[str, dict[tuple[str, str], Usage]] = {one: {} for one in accounts}
        self._of_others: dict[tuple[str, str], Usage] = {}

    def note(self, account: str, usages: Iterable[Usage]) -> None:
        """Take up what the answer to a call about an account said."""
        for usage in usages:
            key = (usage.business, usage.kind)
            if usage.business in self._of_account:
                self._of_account[usage.business][key] = usage
            else:
                self._of_others.pop(key, None)
                self._of_others[key] = usage
                if len(self._of_others) > _MAX_OTHERS:
                    del self._of_others[next(iter(self._of_others))]
                self._of_account.setdefault(account, {})[key] = usage

    def forget_blocks(self, account: str) -> None:
        """Drop what says that a limit is reached: the time that it named is over."""
        for known in (self._of_account.get(account, {}), self._of_others):
            for key, usage in list(known.items()):
                if usage.regain_minutes or usage.percent >= FULL_PERCENT:
                    del known[key]

    def told_of(self, account: str) -> tuple[Usage, ...]:
        """Return what is known of the limits of one account."""
        return tuple(self._of_account.get(account, {}).values())

    def slowing(self, account: str) -> tuple[Usage, ...]:
        """Return what makes calls about an account slower, the worst first; empty where nothing does."""
        known = dict.fromkeys((*self.told_of(account), *self._of_others.values()))
        return tuple(
            sorted((one for one in known if pace_seconds(one.percent)), key=lambda one: -one.percent)
        )

    def blocked_minutes(self, account: str) -> float:
        """Say for how long calls about an account are blocked, as far as is known; 0: they are not."""
        ours = (usage for usage in self.told_of(account) if usage.kind in {OUR_KIND, ""})
        return regain_minutes(ours, account)


def regain_minutes(usages: Iterable[Usage], account: str) -> float:
    """Return the longest time until access to an account is regained; 0 where none is told.

    What is told of the account itself speaks before the rest, and our kind of limit before others.
    """
    told = [usage for usage in usages if usage.regain_minutes]
    worst = {
        (usage.business == account, usage.kind == OUR_KIND): usage.regain_minutes
        for usage in sorted(told, key=lambda usage: usage.regain_minutes)
    }
    return worst[max(worst)] if worst else 0.0


def say_minutes(minutes: float) -> str:
    """Write a time for people: `7 min`, `2 h 5 min`; never shorter than it is."""
    whole = max(1, int(-(-minutes // 1)))
    if whole < 120:
        return f"{whole} min"
    hours, rest = divmod(whole, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def say_usage(usages: Iterable[Usage]) -> str:
    """Write what is used up on one line: `71 % of whatsapp_business_management`; empty where nothing is."""
    return ", ".join(
        f"{usage.percent:.0f} % of {usage.kind or 'an unnamed limit'}"
        for usage in sorted(usages, key=lambda usage: -usage.percent)
    )
