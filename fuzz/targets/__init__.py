"""What is fuzzed. A target is a module with `one`, which raises where something is wrong, and `seeds`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

NAMES: Final = (
    "http1",
    "http2",
    "envelope",
    "signature",
    "challenge",
    "certificate",
    "revocation",
    "proxy",
    "dead_letter",
    "configuration",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One of them, imported."""

    name: str
    one: Callable[[bytes], None]
    """Try one input; raises where the gateway's code does what it must not."""
    seeds: Callable[[], Iterable[bytes]]
    """Inputs to begin with."""


def load(name: str) -> Target:
    """Import one target."""
    module = import_module(f"fuzz.targets.{name}")
    return Target(name=name, one=module.one, seeds=module.seeds)


def load_all() -> Mapping[str, Target]:
    """Import them all."""
    return {name: load(name) for name in NAMES}
