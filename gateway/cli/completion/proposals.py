"""What a shell proposes for an argument: names of the configuration, fields, samples. Never more than names.

Only the keys of the file are read, so a configuration that is broken elsewhere has its names too, and nothing
is validated, opened or asked for it. What goes wrong proposes nothing.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gateway.cli.output import options

MOST_BYTES: Final = 1024**2
"""Of a configuration: a bigger one is not worth a wait at each press of Tab."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""As the settings have it; anything else would be typed into somebody's shell."""


def complete_target(ctx: Any, incomplete: str) -> list[str]:
    """Propose the targets of the configuration."""
    return _beginning(incomplete, _names(ctx, "targets"))


def complete_app(ctx: Any, incomplete: str) -> list[str]:
    """Propose the apps of the configuration."""
    return _beginning(incomplete, _names(ctx, "apps"))


def complete_field(incomplete: str) -> list[str]:
    """Propose the known fields."""
    from gateway.core.fields import FIELDS

    return _beginning(incomplete, sorted({one.name for one in FIELDS}))


def complete_kind(incomplete: str) -> list[str]:
    """Propose the kinds of changes."""
    from gateway.core.change import Kind

    return _beginning(incomplete, [str(kind) for kind in Kind])


def complete_sample(incomplete: str) -> list[str]:
    """Propose the samples that can be sent."""
    from gateway.simulator.payloads import samples

    return _beginning(incomplete, [sample.name for sample in samples()])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _names(ctx: Any, section: str) -> list[str]:
    from gateway.settings.tree import read_tree

    # Nothing but parameters was parsed: the option after the command has gone to `options` already.
    before = ctx.find_root().params.get("config")
    path = options.config if options.chosen or before is None else Path(before)
    try:
        with path.open("rb") as file:
            root = read_tree(file.read(MOST_BYTES).decode(errors="replace")).root
    except OSError:
        return []
    named = root.get(section) if isinstance(root, dict) else None
    return [str(name) for name in named if _NAME.fullmatch(str(name))] if isinstance(named, dict) else []
