"""What PostgreSQL says, as errors of ours. Real servers say it in test_migrations and test_tls."""

import pytest

from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.troubles import UNAVAILABLE_REMEDY, ContendedError, LinkLostError, trouble


def test_of_several_hosts_each_is_told_of() -> None:
    dsn = Secret(b"postgresql://gateway:pa55word@127.0.0.1:1,127.0.0.1:2/postgres", source="env DSN")
    with pytest.raises(GatewayError) as caught:
        Link(dsn).open()
    for port in (1, 2):
        assert f'connection to server at "127.0.0.1", port {port} failed: Connection refused' in (
            caught.value.message
        )
    assert caught.value.remedy == UNAVAILABLE_REMEDY
    assert "pa55word" not in str(caught.value)
    assert "\n" not in caught.value.message


def test_what_may_quote_a_row_is_left_out() -> None:
    said = trouble("22021", "invalid byte sequence\nDETAIL:  Failing row contains (secret)", lost=False)
    assert said.message == "the database: invalid byte sequence (22021)"


@pytest.mark.parametrize(
    ("state", "lost", "kind"),
    [
        ("58030", False, SpoolBrokenError),
        ("23505", False, ContendedError),
        ("53100", False, SpoolUnavailableError),
        ("", True, LinkLostError),
    ],
)
def test_the_class_says_what_may_be_done_next(state: str, lost: bool, kind: type[GatewayError]) -> None:
    assert type(trouble(state, "words", lost=lost)) is kind


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "a", database "b", no encryption',
            "sslmode=verify-full",
        ),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "a", database "b", SSL encryption',
            "pg_hba.conf",
        ),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("FATAL:  no more connections allowed (max_client_conn)", "max_connections"),
        ("session is read-only", "default_transaction_read_only"),
        ("FATAL:  unsupported startup parameter: options", "ignore_startup_parameters"),
        ("SSL error: tlsv1 alert unknown ca", "sslcert"),
        ("Connection refused", "see that the server runs"),
    ],
)
def test_where_there_is_no_sqlstate_the_words_give_the_next_step(said: str, remedy: str) -> None:
    assert remedy in trouble("", said, lost=True).remedy
