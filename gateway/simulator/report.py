"""What the demo tells: steps while it goes on, a report at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.simulator.journeys import DeadLetterFile, Journey
from gateway.simulator.pki import PkiFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One expectation and what happened."""

    stage: str
    what: str
    happened: str
    expected: str
    ok: bool
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything is, while the demo runs."""

    callback_url: str
    admin_url: str
    config: Path
    pki: PkiFiles
    targets: Mapping[str, str]
    dead_letters: Path
    log: Path
    verify_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the demo went."""

    steps: tuple[Step, ...]
    journeys: tuple[Journey, ...]
    dead_letters: tuple[DeadLetterFile, ...]
    differences: tuple[str, ...]
    """Empty exactly when everything happened as it should."""
    seconds: float
    log_tail: tuple[str, ...]
    """The gateway's last log lines, where something differed."""

    @property
    def ok(self) -> bool:
        return not self.differences


class Audience(Protocol):
    """Whoever watches the demo."""

    def stage(self, title: str, sense: str) -> None:
        """A new part begins; `sense` says what it shows."""
        ...

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """What there is: names, and what to know of each."""
        ...

    def step(self, step: Step) -> None:
        """An expectation was checked."""
        ...

    def journeys(self, journeys: tuple[Journey, ...], *, final: bool) -> None:
        """How the deliveries stand now: called again and again, at last with `final`."""
        ...

    def dead_letters(self, letters: tuple[DeadLetterFile, ...]) -> None:
        """What could not be delivered."""
        ...
