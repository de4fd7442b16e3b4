"""The first line of the page: did Meta stop sending, do we refuse it, or is a target down? Pure.

The three conditions are the ledger's (`core.conditions`); what is added is whether the gateway accepts at
all, and what is worth a look though nothing is wrong yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.admin.dashboard import wording
from gateway.admin.health import Check
from gateway.core.conditions import Name


class Level(StrEnum):
    """How something is; each has a shape, a colour and a word."""

    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"
    IDLE = "idle"
    """Nothing is known, or nothing is to be expected."""


_GRAVITY: Final = (Level.IDLE, Level.GOOD, Level.WATCH, Level.BAD)
_QUIET_MS: Final = 3_600_000
"""After an hour without a notification "sending" would be too much said, suspicious or not."""
_TOLD_ELSEWHERE: Final = frozenset({"listener", "draining", "workers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that somebody should look at."""

    name: str
    summary: str
    since_ms: int | None = None
    evidence: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    target: str | None = None
    level: Level = Level.BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To one of the three questions."""

    who: str
    word: str
    detail: str
    level: Level
    at_ms: int | None = None
    """A time that goes before the detail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the page says first."""

    level: Level
    sentence: str
    answers: tuple[Answer, ...]
    conditions: tuple[Condition, ...]
    callback_urls: Mapping[str, str]
    """Of a gateway that has received nothing yet; else empty."""


def worst(levels: Iterable[Level]) -> Level:
    """Return the gravest."""
    return max(levels, key=_GRAVITY.index, default=Level.IDLE)


def judge(
    *,
    health: Mapping[str, Check],
    conditions: Sequence[Condition],
    states: Mapping[str, str],
    last_received_ms: int | None,
    accepted_per_second: float | None,
    callback_urls: Mapping[str, str],
    now_ms: int,
) -> Verdict:
    """Say how things are. `states`: of each target."""
    named: dict[str, list[Condition]] = {
        Name.META_SILENT: [],
        Name.GATEWAY_REFUSING: [],
        Name.TARGET_FAILING: [],
    }
    for condition in conditions:
        named.setdefault(condition.name, []).append(condition)
    meta = _meta(
        named[Name.META_SILENT], named[Name.GATEWAY_REFUSING], last_received_ms, accepted_per_second, now_ms
    )
    door = _door(health, named[Name.GATEWAY_REFUSING])
    targets = _targets(named[Name.TARGET_FAILING], states)
    answers = (meta, door, targets)
    return Verdict(
        level=worst(answer.level for answer in answers),
        sentence=_sentence(answers, named, door, has_received=last_received_ms is not None),
        answers=answers,
        conditions=(*conditions, *_remarks(health)),
        callback_urls=callback_urls if last_received_ms is None else {},
    )


def _meta(
    silent: Sequence[Condition],
    refusing: Sequence[Condition],
    last_ms: int | None,
    per_second: float | None,
    now_ms: int,
) -> Answer:
    pace = f"{wording.rate(per_second)} now" if per_second else ""
    if silent:
        return Answer(who="Meta", word="is silent", detail=silent[0].summary, level=Level.BAD, at_ms=last_ms)
    if last_ms is None:
        word = "comes, and is refused" if refusing else "has sent nothing yet"
        level = Level.BAD if refusing else Level.IDLE
        return Answer(who="Meta", word=word, detail="since this gateway began", level=level)
    if now_ms - last_ms > _QUIET_MS and not per_second:
        detail = "not unusual, as far as is known"
        return Answer(who="Meta", word="is quiet", detail=detail, level=Level.GOOD, at_ms=last_ms)
    return Answer(who="Meta", word="is sending", detail=pace, level=Level.GOOD, at_ms=last_ms)


def _door(health: Mapping[str, Check], refusing: Sequence[Condition]) -> Answer:
    broken = [f"{name.replace('_', ' ')}: {check.detail}" for name, check in health.items() if not check.ok]
    if not health:
        return Answer(who="The gateway", word="does not say how it is", detail="", level=Level.BAD)
    if not health.get("draining", Check(ok=True)).ok:
        return Answer(who="The gateway", word="is stopping", detail="and accepts no more", level=Level.WATCH)
    if broken:
        return Answer(who="The gateway", word="accepts nothing", detail="; ".join(broken), level=Level.BAD)
    if refusing:
        return Answer(who="The gateway", word="refuses Meta", detail=refusing[0].summary, level=Level.BAD)
    return Answer(
        who="The gateway", word="accepts", detail="nothing of Meta\u2019s is refused", level=Level.GOOD
    )


def _targets(failing: Sequence[Condition], states: Mapping[str, str]) -> Answer:
    total = len(states)
    if failing:
        names = ", ".join(condition.target or "?" for condition in failing)
        word = (
            f"{len(failing)} of {wording.plural(total, 'target')} {'is' if len(failing) == 1 else 'are'} down"
        )
        return Answer(who="", word=word, detail=names, level=Level.BAD)
    for state, level, says in (
        ("unknown", Level.WATCH, "not in the configuration, and deliveries wait"),
        ("paused", Level.WATCH, "paused"),
        ("recovering", Level.WATCH, "recovering"),
    ):
        found = [name for name, one in states.items() if one == state]
        if found:
            verb = "is" if len(found) == 1 else "are"
            word = f"{len(found)} of {wording.plural(total, 'target')} {verb} {says}"
            return Answer(who="", word=word, detail=", ".join(found), level=level)
    if not total:
        return Answer(who="", word="No target", detail="none is configured", level=Level.IDLE)
    who = "The target" if total == 1 else f"All {total} targets"
    word = "takes deliveries" if total == 1 else "take deliveries"
    return Answer(who=who, word=word, detail="", level=Level.GOOD)


def _sentence(
    answers: Sequence[Answer],
    named: Mapping[str, Sequence[Condition]],
    door: Answer,
    *,
    has_received: bool,
) -> str:
    bad: list[str] = []
    if door.level is Level.BAD and named[Name.GATEWAY_REFUSING]:
        bad.append("The gateway is refusing Meta.")
    elif door.level is Level.BAD:
        bad.append(f"{door.who} {door.word}.")
    if named[Name.META_SILENT]:
        bad.append("Meta has stopped sending.")
    if named[Name.TARGET_FAILING]:
        names = [condition.target or "?" for condition in named[Name.TARGET_FAILING]]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        bad.append(f"{'A target is' if len(names) == 1 else f'{len(names)} targets are'} down: {shown}.")
    if (
        bad
        and not named[Name.GATEWAY_REFUSING]
        and not named[Name.META_SILENT]
        and door.level is not Level.BAD
    ):
        bad.append("Meta gets through, and what waits is kept.")
    if bad:
        return " ".join(bad)
    watched = [answer for answer in answers if answer.level is Level.WATCH]
    if watched:
        told = "; ".join(f"{one.who} {one.word}".strip() for one in watched)
        return f"Nothing is failing; {told}."
    if not has_received:
        return "Ready, and nothing has been received yet."
    return "All is well: Meta gets through, and every target takes its deliveries."


def _remarks(health: Mapping[str, Check]) -> tuple[Condition, ...]:
    """What the checks say though they are well: a certificate that ends soon, a reload that was refused."""
    return tuple(
        Condition(
            name=name, summary=f"{name.replace('_', ' ').capitalize()}: {check.detail}", level=Level.WATCH
        )
        for name, check in health.items()
        if check.ok and check.detail and name not in _TOLD_ELSEWHERE
    )
