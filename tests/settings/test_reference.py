"""Reference and JSON Schema say what the models say, and the example files agree with both."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.settings.model import Settings
from gateway.settings.reference import render_reference
from gateway.settings.reserved import RESERVED
from gateway.settings.schema import json_schema
from gateway.settings.section import Model
from gateway.settings.shape import Entry, default_in_file, entries

ROOT = Path(__file__).parents[2]


def every_entry(model: type[Model] = Settings, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Entry]]:
    for entry in entries(model).values():
        here = (*path, entry.key)
        yield ".".join(here), entry
        if entry.model is not None:
            yield from every_entry(entry.model, here if entry.holds == "one" else (*here, "*"))


EVERY_ENTRY = dict(every_entry())


def test_the_committed_reference_is_what_the_models_say() -> None:
    committed = (ROOT / "docs/configuration.md").read_text()
    assert committed == render_reference(), "write it anew: python -m gateway.settings.reference"


@pytest.mark.parametrize("path", EVERY_ENTRY)
def test_every_key_is_described_in_one_sentence_or_more(path: str) -> None:
    description = EVERY_ENTRY[path].description
    assert description.endswith(".")
    assert len(description) > 10


@pytest.mark.parametrize("path", EVERY_ENTRY)
def test_every_key_stands_in_the_reference(path: str) -> None:
    if tuple(path.split(".")) in RESERVED:
        return
    assert f"| `{path.rpartition('.')[2]}` |" in render_reference()


def test_every_link_of_the_reference_leads_to_a_heading() -> None:
    text = render_reference()
    anchors = {
        re.sub(r"[^a-z0-9_-]", "", line.lower()) for line in text.splitlines() if line.startswith("## `")
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert links
    assert links <= anchors


def test_defaults_are_written_as_in_the_file() -> None:
    def default(path: str) -> object:
        return default_in_file(EVERY_ENTRY[path])

    assert default("listen.address") == "[::]:8443"
    assert default("listen.max_body") == "3MiB"
    assert default("targets.*.retry.schedule") == ["1s", "5s", "30s", "2m", "10m", "30m", "1h", "3h", "6h"]
    assert default("targets.*.retry.give_up_after") == "7d"
    assert default("spool.duplicates_max") == 20_000_000
    assert default("tls.certificate") is None


# --- the JSON Schema, through a validator of as much of it as the schema uses


TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
Check = Callable[[Any, Any], bool]
CHECKS: dict[str, Check] = {
    # keyword: (what the schema says, the value) -> is it right?
    "type": lambda said, value: any(isinstance(value, TYPES[one]) for one in several(said)),
    "const": lambda said, value: bool(value == said),
    "enum": lambda said, value: value in said,
    "anyOf": lambda said, value: any(not faults(one, value) for one in said),
    "pattern": lambda said, value: not isinstance(value, str) or re.search(said, value) is not None,
    "maxLength": lambda said, value: not isinstance(value, str) or len(value) <= said,
    "minLength": lambda said, value: not isinstance(value, str) or len(value) >= said,
    "minimum": lambda said, value: not isinstance(value, int) or value >= said,
    "maximum": lambda said, value: not isinstance(value, int) or value <= said,
    "minItems": lambda said, value: not isinstance(value, list) or len(value) >= said,
    "minProperties": lambda said, value: not isinstance(value, dict) or len(value) >= said,
    "maxProperties": lambda said, value: not isinstance(value, dict) or len(value) <= said,
    "required": lambda said, value: not isinstance(value, dict) or set(said) <= set(value),
    "propertyNames": lambda said, value: all(not faults(said, key) for key in value),
}
NESTED = {"items", "properties", "patternProperties", "additionalProperties"}
REMARKS = {"$schema", "title", "description", "default", "examples"}


def several(said: Any) -> list[str]:
    return said if isinstance(said, list) else [said]


def faults(schema: dict[str, Any], value: Any, path: str = "$") -> list[str]:
    """Return what a JSON Schema validator would say."""
    assert set(schema) <= CHECKS.keys() | NESTED | REMARKS, "a keyword that is not checked here"
    found = [
        f"{path}: {word} {schema[word]}"
        for word, check in CHECKS.items()
        if word in schema and not check(schema[word], value)
    ]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += faults(schema.get("items", {}), item, f"{path}[{index}]")
    if isinstance(value, dict):
        for key, below in value.items():
            found += faults_of_key(schema, key, below, f"{path}.{key}")
    return found


def faults_of_key(schema: dict[str, Any], key: str, value: Any, path: str) -> list[str]:
    if key in schema.get("properties", {}):
        return faults(schema["properties"][key], value, path)
    if any(re.search(pattern, key) for pattern in schema.get("patternProperties", {})):
        return []
    rest = schema.get("additionalProperties", {})
    return [f"{path}: unknown"] if rest is False else faults(rest, value, path)


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


@pytest.mark.parametrize(
    "file",
    [
        "config/gateway.yaml",
        "config/example-full.yaml",
        "gateway/cli/init/development.yaml",
        "gateway/cli/init/production.yaml",
    ],
)
def test_the_schema_takes_every_configuration_of_ours(file: str) -> None:
    assert faults(json_schema(), read(ROOT / file)) == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("targets", "support", "timeout"), 10, "type string"),
        (("targets", "support", "timeout"), "10 s", "pattern"),
        (("targets", "support", "timout"), "10s", "unknown"),
        (("targets", "support", "order"), "receiver", "enum"),
        (("targets", "sup port"), {"url": "http://a"}, "propertyNames"),
        (("apps", "main", "verify_token"), "plain", "type object"),
        (("apps", "main", "app_secrets"), [], "minItems 1"),
        (("unrouted",), "off", "enum"),
        (("listen", "workers"), 0, "anyOf"),
        (("lisen",), {}, "unknown"),
    ],
)
def test_the_schema_underlines_mistakes(path: tuple[str, ...], value: object, fault: str) -> None:
    tree = read(ROOT / "config/gateway.yaml")
    section = tree
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    (found,) = faults(json_schema(), tree)
    assert fault in found


@pytest.mark.parametrize("path", EVERY_ENTRY)
def test_every_key_stands_in_the_full_example_at_its_default(path: str) -> None:
    """Somewhere in it: where names may be chosen, in one of them."""
    found = list(values_at(read(ROOT / "config/example-full.yaml"), path.split(".")))
    assert found, "add it to config/example-full.yaml"
    default = default_in_file(EVERY_ENTRY[path])
    if default is not None and path not in {"targets.*.headers", "apps.*.clients", "graph.subscriptions"}:
        assert default in found


@pytest.mark.parametrize("path", [path for path, row in RESERVED.items() if row.default is not None])
def test_every_key_of_a_later_version_stands_there_too(path: tuple[str, ...]) -> None:
    assert list(values_at(read(ROOT / "config/example-full.yaml"), list(path)))


def values_at(tree: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield tree
    elif path[0] == "*":
        for below in tree if isinstance(tree, list) else tree.values():
            yield from values_at(below, path[1:])
    elif path[0] in tree:
        yield from values_at(tree[path[0]], path[1:])
