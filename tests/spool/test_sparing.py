"""What becomes of a batch whose transaction finds no room. With real databases: tests/contracts."""

from gateway.errors import SpoolUnavailableError
from gateway.spool.requests import AskKept, Effects, OldestKept, Request, SendAgain
from gateway.spool.sparing import run_sparing


class LostError(SpoolUnavailableError):
    """Of no use to try the rest."""


def batch() -> tuple[list[Request], list[Request]]:
    return [SendAgain(items=(), clock_started_ms=0)], [OldestKept(), AskKept(ids=())]


def test_what_stores_fails_and_the_rest_is_done_without_it() -> None:
    storing, rest = batch()
    tried: list[list[Request]] = []

    def transact(requests: list[Request]) -> Effects:
        tried.append(requests)
        if storing[0] in requests:
            raise SpoolUnavailableError("full")
        return Effects(wrote=True)

    effects = run_sparing([*rest, *storing], transact)
    assert tried == [[*rest, *storing], rest]
    assert effects.wrote
    assert [request.error for request in rest] == [None, None]
    assert effects.failure is storing[0].error
    assert str(effects.failure) == "full"


def test_where_nothing_stores_all_of_it_fails_at_once() -> None:
    _, rest = batch()
    tried: list[list[Request]] = []

    def transact(requests: list[Request]) -> Effects:
        tried.append(requests)
        raise SpoolUnavailableError("full")

    effects = run_sparing(rest, transact)
    assert tried == [rest]
    assert {request.error for request in rest} == {effects.failure} != {None}


def test_what_fails_as_a_whole_is_not_tried_without_what_stores() -> None:
    storing, rest = batch()
    tried: list[list[Request]] = []

    def transact(requests: list[Request]) -> Effects:
        tried.append(requests)
        raise LostError("lost")

    effects = run_sparing([*rest, *storing], transact, fails_whole=(LostError,))
    assert len(tried) == 1
    assert {request.error for request in (*rest, *storing)} == {effects.failure} != {None}
