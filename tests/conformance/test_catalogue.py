"""docs/security.md tells the zoo as it is."""

from conformance.catalogue import DOCUMENT, tables, with_tables
from conformance.zoo import ZOO


def test_the_document_holds_the_tables_as_they_are() -> None:
    text = DOCUMENT.read_text()
    assert tables() in text, "write them anew: .venv/bin/python -m conformance.catalogue"
    assert with_tables(text) == text


def test_every_specimen_has_a_row() -> None:
    assert all(f"\n| {one.name} | " in tables() for one in ZOO)
