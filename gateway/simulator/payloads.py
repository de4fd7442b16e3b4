"""Sample notifications by field, shaped like Meta's, with values of our own.

The files stand in `samples/OBJECT/FIELD[.CASE].json`. Each sending makes them fresh: new message ids and
new times, so that the gateway does not take the second for a duplicate of the first, and escaped as Meta
escapes.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from gateway.core.fields import FIELDS
from gateway.errors import UsageError

SAMPLE_TIME_SECONDS: Final = 1_795_330_800
"""The time (Unix) at which all samples happen; freshening moves it to now."""
_SAMPLE_SPAN_SECONDS: Final = 10_000_000
"""Numbers this near to the sample time are times: the samples reach from days before to a month after it."""

_MESSAGE_ID: Final = re.compile(r"(wamid\.|wacid\.|m_|aWdfZA)[A-Za-z0-9+/=_-]+")
"""Ids of messages, calls, Messenger and Instagram: what makes one notification differ from the next."""

_DEFAULT_CASES: Final = {"messages": "text", "account_update": "partner_added", "history": "threads"}
"""The case that stands for a field, where it is not the first by name."""

MAIN_OBJECT: Final = "whatsapp_business_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample file."""

    object: str
    field: str
    case: str
    """What distinguishes it from other samples of the field; may be empty."""

    @property
    def name(self) -> str:
        """What `--field` takes: `messages.image`; with the object where it is not WhatsApp's: `page/feed`."""
        local = f"{self.field}.{self.case}" if self.case else self.field
        return local if self.object == MAIN_OBJECT else f"{self.object}/{local}"

    def read(self) -> Any:
        """Return the parsed body, as it stands in the file."""
        file = f"{self.field}.{self.case}.json" if self.case else f"{self.field}.json"
        return json.loads((_root() / self.object / file).read_bytes())


def _root() -> Any:  # importlib's Traversable, which is named differently from one Python version to the next
    return resources.files("gateway.simulator") / "samples"


@cache
def samples() -> tuple[Sample, ...]:
    """Return all samples: WhatsApp's first; the one that stands for its field before others of the field."""
    found = []
    for folder in _root().iterdir():
        for file in folder.iterdir():
            field, _, case = file.name.removesuffix(".json").partition(".")
            found.append(Sample(object=folder.name, field=field, case=case))
    return tuple(sorted(found, key=_order))


def _order(sample: Sample) -> tuple[bool, str, str, bool, str]:
    stands_for_field = sample.case == _DEFAULT_CASES.get(sample.field, "")
    return (sample.object != MAIN_OBJECT, sample.object, sample.field, not stands_for_field, sample.case)


def samples_of(field: str, *, object_: str | None = None) -> tuple[Sample, ...]:
    """Return the samples of one field (of one object, where it is named); empty where there are none."""
    return tuple(
        sample
        for sample in samples()
        if sample.field == field and (object_ is None or sample.object == object_)
    )


def find_sample(name: str) -> Sample:
    """Return the sample of this name, or the one that stands for the field of this name.

    `messages`, `messages.image`, `page/messages`.

    Raises:
        UsageError: there is none.
    """
    for sample in samples():
        if name in {sample.name, f"{sample.object}/{sample.name}"}:
            return sample
    object_, slash, field = name.rpartition("/")
    of_field = samples_of(field, object_=object_ if slash else None)
    if of_field:
        return of_field[0]
    known = any(one.name == field and (not slash or one.object == object_) for one in FIELDS)
    raise UsageError(
        f"{name!r} is a known field, of which nobody here has seen a notification: there is no sample"
        if known
        else f"there is no sample for the field {name!r}",
        remedy="gateway fields lists those that have one; --payload FILE sends a body of your own",
    )


def freshen(body: Any, *, now_ms: int, draw: Callable[[], str]) -> bytes:
    """Return a parsed sample as Meta would send it now: new ids, new times, compact, escaped.

    `draw` gives unique text for ids (letters and digits). The same old id becomes the same new one
    throughout. A body in which nothing has an id of its own gets `simulation_id` beside `entry.id`, a key
    that consumers ignore as they must ignore all new keys of Meta's; otherwise two of them within one
    second would be duplicates.
    """
    renewed: dict[str, str] = {}
    shift_seconds = now_ms // 1000 - SAMPLE_TIME_SECONDS

    def renew(value: Any) -> Any:
        match value:
            case dict():
                return {key: renew(item) for key, item in value.items()}
            case list():
                return [renew(item) for item in value]
            case str() if found := _MESSAGE_ID.fullmatch(value):
                if value not in renewed:
                    renewed[value] = found.group(1) + draw()
                return renewed[value]
            case str() if value.isascii() and value.isdecimal():
                moved = _moved(int(value), shift_seconds)
                return value if moved == int(value) else str(moved)
            case int():
                return _moved(value, shift_seconds)
            case _:
                return value

    fresh = renew(body)
    if not renewed:
        for envelope in fresh if isinstance(fresh, list) else [fresh]:
            for entry in envelope.get("entry", []):
                entry["simulation_id"] = draw()
    return as_meta_writes(fresh)


def _moved(value: int, shift_seconds: int) -> int:
    if abs(value - SAMPLE_TIME_SECONDS) < _SAMPLE_SPAN_SECONDS:
        return value + shift_seconds
    if abs(value - SAMPLE_TIME_SECONDS * 1000) < _SAMPLE_SPAN_SECONDS * 1000:
        return value + shift_seconds * 1000
    return value


def as_meta_writes(body: Any) -> bytes:
    r"""Serialise as Meta does: compact, non-ASCII as `\u00e4` in lower case, `/` as `\/`."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True)
    return text.replace("/", "\\/").encode("ascii")  # a slash stands in strings only
