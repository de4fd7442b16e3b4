"""The facts that the doctor knows are Meta's, to the letter."""

from gateway.doctor import advice
from gateway.doctor.finding import Level


def test_what_is_said_of_digicert_has_both_dates_and_the_file() -> None:
    (digicert,) = advice.ANCHOR_ADVICE
    code, level, _, why, remedy = digicert.only
    assert (code, level) == ("anchors_digicert_only", Level.PROBLEM)
    assert "2026-03-31" in why
    assert "2026-04-15" in why
    assert "meta-outbound-api-ca-2025-12.pem" in remedy


def test_terms_grow_stricter_as_days_are_fewer() -> None:
    assert [(days, level) for days, _, level in advice.EXPIRY] == [
        (3, Level.PROBLEM),
        (14, Level.WARNING),
        (30, Level.NOTE),
    ]
    shares = [share for _, share, _ in advice.EXPIRY]
    assert shares == sorted(shares)


def test_the_bar_of_a_durable_write_is_metas_median() -> None:
    assert {level: seconds for seconds, level in advice.FSYNC}[Level.PROBLEM] == 0.25
