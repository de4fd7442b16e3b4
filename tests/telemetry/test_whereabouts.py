"""Where the last notifications went, in bounded memory."""

from dataclasses import dataclass

from gateway.telemetry import whereabouts
from gateway.telemetry.whereabouts import GENERATION, Came, Taken, Whereabouts


@dataclass(frozen=True)
class To:
    """A delivery, as planned."""

    target: str


def routed(*targets: str) -> tuple[To, ...]:
    return tuple(map(To, targets))


def came(at_ms: int = 1) -> Came:
    return Came(at_ms, "main", "accepted", "c1", routed("support", "audit"), ())


def test_it_says_how_a_notification_came_and_who_has_taken_it() -> None:
    known = Whereabouts()
    known.came("aa", came(5))
    taken = Taken(at_ms=9, attempt=2, status=204)
    known.taken("support", "aa-support", taken)
    assert known.of("aa") == came(5)
    assert known.of("bb") is None
    assert came().targets == ("support", "audit")
    assert known.taken_by("aa", ("support", "audit")) == {"support": taken}
    assert (known.doing["support"].delivered, known.doing["support"].last_delivered_ms) == (1, 9)


def test_it_remembers_at_least_one_generation_and_at_most_two() -> None:
    known = Whereabouts()
    for number in range(3 * GENERATION):
        known.came(str(number), came(number))
        known.taken("support", f"{number}-support", Taken(at_ms=number, attempt=1, status=200))
        known.taken("audit", f"{number}-audit", Taken(at_ms=number, attempt=1, status=200))
    assert known.of(str(3 * GENERATION - 1)) is not None
    assert known.of(str(2 * GENERATION)) is not None
    assert known.of(str(GENERATION - 1)) is None
    assert known.taken_by("0", ("support",)) == {}
    assert len(known.taken_by(str(2 * GENERATION), ("support", "audit"))) == 2
    assert whereabouts.MANY < GENERATION
