"""Whether a certificate is for a host."""

import pytest

from gateway.tls.names import covers


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["hooks.example.com"], "hooks.example.com", True),
        (["hooks.example.com"], "HOOKS.example.com.", True),
        (["example.com"], "hooks.example.com", False),
        (["*.example.com"], "hooks.example.com", True),
        (["*.example.com"], "a.hooks.example.com", False),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], ".example.com", False),
        (["h*.example.com"], "hooks.example.com", False),  # RFC 9525: a wildcard is a whole label
        (["a.example", "hooks.example.com"], "hooks.example.com", True),
        (["127.0.0.1"], "127.0.0.1", True),
        (["::1"], "[0:0::1]", True),
        (["*.0.0.1"], "127.0.0.1", False),
        (["not an address"], "127.0.0.1", False),
        ([], "hooks.example.com", False),
    ],
)
def test_names_fit_as_clients_have_it(names: list[str], host: str, fits: bool) -> None:
    assert covers(names, host) is fits
