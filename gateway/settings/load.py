"""Reading the file: text -> YAML 1.2 with positions -> `Loaded`. The only importer of ruamel.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import Problem
from gateway.settings.model import Settings

KeyPath = tuple[str | int, ...]
"""Where something stands: `("targets", "support", "retry", "schedule", 2)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where every key stands in the file, so that later checks can name the place too."""

    file: Path
    sha256: str
    """Hexadecimal, of the file's bytes: `config_info{hash}`."""
    positions: Mapping[KeyPath, tuple[int, int]]
    """Line and column, 1-based."""

    def problem(self, key_path: KeyPath, message: str, *, remedy: str) -> Problem:
        """Make a complaint about a key (or the nearest parent that stands in the file)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Validated settings with their source."""

    settings: Settings
    source: Source


def load_settings(path: Path, *, environ: Mapping[str, str], with_secrets: bool = True) -> Loaded:
    """Load and validate one configuration file.

    Raises:
        ConfigurationError: every problem that was found, in order of position.
    """
    raise NotImplementedError
