"""The model of more machines than there are here, and the page that shows it."""

import json
from itertools import pairwise

import pytest

from bench.model import (
    MACHINES,
    PAGE,
    RESULT,
    SECTION,
    Assumed,
    Cost,
    Measured,
    gateway_at,
    markdown,
    rate_at,
    size_for,
)

COST = Cost(fixed=1000.0, row=20.0)
MEASURED = Measured(
    accept_gateway=COST,
    accept_database=COST,
    deliver_gateway=COST,
    deliver_database=COST,
    loop_us=300.0,
    log_bytes=3000.0,
)
ASSUMED = Assumed()


def test_the_page_shows_what_the_model_says_of_the_stored_results() -> None:
    """Change the model, the assumptions or the results, and `python -m bench.model --publish` is due."""
    text = markdown(Measured.read(json.loads(RESULT.read_text())), ASSUMED)
    page = PAGE.read_text()
    assert page == SECTION.replace(page, text)


def test_the_line_goes_through_both_sizes() -> None:
    cost = Cost.of(1020.0, 2280.0)
    assert cost.fixed == pytest.approx(1000.0)
    assert cost.row == pytest.approx(20.0)


def test_alone_a_notification_waits_for_its_own_transaction_and_no_other() -> None:
    one = gateway_at(0.001, MEASURED, ASSUMED)
    # A round trip of 0.5 ms, a flush of 1 ms, both fixed costs, both rows, the median of the loop's 0.3 ms.
    assert one.p50_ms == pytest.approx(0.5 + 1.0 + 2.0 + 0.04 + 0.2079, rel=1e-3)
    assert one.accept_rows == 1.0


def test_the_more_comes_in_the_more_share_a_transaction_and_the_longer_each_waits() -> None:
    found = [gateway_at(rate_at(share, MEASURED, ASSUMED), MEASURED, ASSUMED) for share in (0.2, 0.5, 0.9)]
    for before, after in pairwise(found):
        assert before.rate < after.rate
        assert before.accept_rows <= after.accept_rows
        assert before.p99_ms < after.p99_ms
        assert before.database_us >= after.database_us


def test_a_gateway_is_given_no_more_than_a_core_can_do() -> None:
    with pytest.raises(ValueError, match="more than"):
        gateway_at(1e6 / MEASURED.loop_us, MEASURED, ASSUMED)


@pytest.mark.parametrize("machines", MACHINES)
def test_no_database_is_given_more_than_it_is_said_to_bear(machines: int) -> None:
    size = size_for(machines, MEASURED, ASSUMED)
    # The machines are whole: the last one of a database may be a little too much for it.
    most = 1 + size.databases / machines
    assert size.cores <= ASSUMED.cores * ASSUMED.core_share * most
    assert size.log_bytes_per_second <= ASSUMED.log_bytes_per_second * most
    assert size.connections <= ASSUMED.connections * most
    if size.databases > 1:
        fewer = machines / (size.databases - 1)
        rate = size.gateway.rate
        assert (
            fewer * rate * MEASURED.log_bytes > ASSUMED.log_bytes_per_second
            or fewer * size.cores * size.databases / machines > ASSUMED.cores * ASSUMED.core_share
            or fewer * 3 > ASSUMED.connections
        ), "one database fewer would have done"
