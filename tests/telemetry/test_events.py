"""The table of events is what the code logs."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gateway
from gateway.telemetry.events import EVENTS, FIELDS

PACKAGE = Path(gateway.__file__).parent
LEVELS = {"debug", "info", "warning", "error"}


@dataclass(frozen=True)
class Logged:
    """One place where an event is logged."""

    where: str
    event: str | None
    """None where it is no literal."""
    fields: frozenset[str]


def is_log_method(node: ast.AST) -> bool:
    """`log.info`, `_log.warning`, `self._log.error`."""
    if not (isinstance(node, ast.Attribute) and node.attr in LEVELS):
        return False
    receiver = node.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name.lstrip("_") in ("log", "logger")


def logged(path: Path) -> Iterator[Logged]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    chosen = {  # `line = log.warning if alarm else log.info`
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(is_log_method(part) for part in ast.walk(node.value))
        for target in node.targets
        if isinstance(target, ast.Name) and not isinstance(node.value, ast.Call)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if is_log_method(node.func) or (isinstance(node.func, ast.Name) and node.func.id in chosen):
            first = node.args[0] if node.args else None
            yield Logged(
                where=f"{path.relative_to(PACKAGE)}:{node.lineno}",
                event=first.value
                if isinstance(first, ast.Constant) and isinstance(first.value, str)
                else None,
                fields=frozenset(keyword.arg for keyword in node.keywords if keyword.arg is not None),
            )


ALL = [one for path in sorted(PACKAGE.rglob("*.py")) for one in logged(path)]


def test_the_code_is_found_to_log() -> None:
    assert {one.event for one in ALL} >= {"request_refused", "notification_accepted"}


def test_every_event_is_a_literal_name_and_not_a_sentence() -> None:
    wrong = [one for one in ALL if one.event is None or not re.fullmatch(r"[a-z]+(_[a-z]+)*", one.event)]
    assert wrong == []


def test_every_logged_event_is_in_the_table_with_its_fields() -> None:
    unknown = [one for one in ALL if one.event not in EVENTS]
    assert unknown == []
    surplus = [
        (one.where, one.event, missing)
        for one in ALL
        if one.event and (missing := one.fields - {*EVENTS[one.event].fields, "exc_info"})
    ]
    assert surplus == []


def test_every_event_of_the_table_is_logged() -> None:
    assert set(EVENTS) - {one.event for one in ALL} == set()


def test_every_event_says_in_one_sentence_what_it_tells() -> None:
    for name, event in EVENTS.items():
        assert event.meaning.endswith("."), name
        assert len(set(event.fields)) == len(event.fields), name


def test_every_field_says_what_it_means() -> None:
    assert set(FIELDS) == {field for event in EVENTS.values() for field in event.fields}
    assert [name for name, meaning in FIELDS.items() if not meaning.endswith(".")] == []
