"""Names and reasons: who a certificate says it is, and why it was refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import match_name, reason_for_x509_error

META = "client.webhooks.fbclientcerts.com"


def test_the_only_cn_counts() -> None:
    assert match_name([META], [], {META}) == META
    assert match_name([META], ["other.example"], {META, "x"}) == META


def test_a_dns_name_counts_where_there_is_no_cn() -> None:
    assert match_name([], [META], {META}) == META
    assert match_name([], ["other.example", META], {META}) == META


@pytest.mark.parametrize(
    ("common_names", "dns_names"),
    [
        pytest.param([], [], id="no name at all"),
        pytest.param([META, META], [], id="two CNs, both right"),
        pytest.param([META, "other.example"], [], id="two CNs, the first right"),
        pytest.param(["other.example", META], [], id="two CNs, the last right"),
        pytest.param(["other.example"], [META], id="a dNSName beside a CN"),
        pytest.param([""], [META], id="a dNSName beside an empty CN"),
        pytest.param([META + ".evil.example"], [], id="a longer name"),
        pytest.param(["evil." + META], [], id="a subdomain"),
        pytest.param([META.upper()], [], id="another case"),
        pytest.param([META + "."], [], id="a trailing dot"),
        pytest.param([" " + META], [], id="a space in front"),
        pytest.param([META + "\x00.evil.example"], [], id="a NUL"),
        pytest.param(["CN=" + META], [], id="the name in a name"),
        pytest.param(["*.webhooks.fbclientcerts.com"], [], id="a wildcard CN"),
        pytest.param([], ["*.webhooks.fbclientcerts.com"], id="a wildcard dNSName"),
        pytest.param(["client.webhooks.fbclientcerts\u3002com"], [], id="another kind of dot"),
    ],
)
def test_nothing_else_matches(common_names: list[str], dns_names: list[str]) -> None:
    assert match_name(common_names, dns_names, {META}) is None


def test_an_allowed_wildcard_is_no_pattern() -> None:
    assert match_name([META], [], {"*.webhooks.fbclientcerts.com", "*", ""}) is None
    assert match_name([""], [""], {""}) is None


@given(name=st.text())
def test_only_the_exact_text_matches(name: str) -> None:
    assert match_name([name], [], {META}) == (META if name == META else None)


REASONS = {
    2: "unknown_issuer",
    18: "unknown_issuer",
    19: "unknown_issuer",
    20: "unknown_issuer",
    21: "unknown_issuer",
    9: "not_yet_valid",
    10: "expired",
    23: "revoked",
    26: "wrong_purpose",
    79: "wrong_purpose",
}


@pytest.mark.parametrize("code", range(120))
def test_each_x509_error_has_one_reason(code: int) -> None:
    assert reason_for_x509_error(code) == REASONS.get(code, "bad_chain")
