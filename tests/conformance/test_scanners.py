"""What a scanner remarks is explained, or a failure."""

from conformance.outcome import State
from conformance.scanners import EXPLAINED, explain


def test_a_remark_that_is_explained_passes_with_the_reason() -> None:
    (remark, rest) = explain("testssl.sh", {"HSTS": "LOW: not offered"})
    assert remark.state is State.PASSED
    assert EXPLAINED["HSTS"] in remark.detail
    assert rest.state is State.PASSED


def test_any_other_is_a_failure() -> None:
    (remark, rest) = explain("testssl.sh", {"BEAST": "HIGH: vulnerable"})
    assert remark.state is rest.state is State.FAILED
    assert "HIGH: vulnerable (not explained)" in remark.detail
