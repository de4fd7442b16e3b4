"""Reading JSON of the admin port, which may be another version's: what is absent or odd reads as nothing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime


def mapping(value: object) -> Mapping[str, object]:
    """Return an object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def mappings(content: Mapping[str, object], key: str) -> Iterator[Mapping[str, object]]:
    """Return the objects of a list."""
    value = content.get(key)
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def text(content: Mapping[str, object], key: str) -> str:
    """Return a text; empty where it is none."""
    value = content.get(key)
    return value if isinstance(value, str) else ""


def texts(content: Mapping[str, object], key: str) -> list[str]:
    """Return the texts of a list."""
    value = content.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(content: Mapping[str, object], key: str) -> float:
    """Return a number; 0 where it is none."""
    value = content.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def time(content: Mapping[str, object], key: str) -> datetime | None:
    """Return an RFC 3339 time; None where it is none."""
    try:
        found = datetime.fromisoformat(text(content, key))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
