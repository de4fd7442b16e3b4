"""What belongs into a file that a key names and that is not there: the key decides the next step."""

import re
from typing import Final

from gateway.settings.tree import KeyPath

ABSENT: Final = "put the file there, or correct the path"
"""The remedy of whoever finds a file missing and does not know which key has named it."""

_STEPS: Final = (
    (
        r"apps\.[^.]+\.app_secrets",
        "put the app secret there (Meta's dashboard: App settings, Basic), mode 0600",
    ),
    (
        r"apps\.[^.]+\.verify_token",
        "put a random string of your own there, mode 0600, and tell Meta's dashboard the same",
    ),
    (
        r"tls\.certificate",
        "put the gateway's own certificate there, the full chain of a public CA (certbot: fullchain.pem)",
    ),
    (r"tls\.private_key", "put the key of tls.certificate there (certbot: privkey.pem), mode 0600"),
    (
        r"tls\.clients\.[^.]+\.(trust|staged)_anchors",
        "download Meta's CA file to there, from its page Graph API webhooks, getting started",
    ),
    (r"admin\.token", "put a random string there, mode 0600"),
)
_OTHERWISE: Final = "or correct the path (gateway init DIR makes a whole set to try)"


def remedy_for(path: KeyPath, remedy: str) -> str:
    """Return the remedy, or a better one where it is `ABSENT` and the key says what belongs there."""
    if remedy != ABSENT:
        return remedy
    dotted = ".".join(str(part) for part in path)
    for pattern, step in _STEPS:
        if re.match(pattern + r"(\.|$)", dotted):
            return f"{step}, {_OTHERWISE}"
    return ABSENT
