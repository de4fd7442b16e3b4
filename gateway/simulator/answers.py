"""What an answer to Meta's part means, other than 200, and the next step."""

from typing import Final

ANSWERS: Final = {
    400: "the request itself is not as Meta makes it; the gateway's log has the detail (request_refused)",
    401: "the signature was refused: the secret is not one of the app's whose path is in the URL; give it"
    " with --secret, or --config of the gateway under test",
    403: "the app demands a client certificate that it accepts: give one with --cert and --key; the gateway's"
    " log says what was wrong with this one (request_refused)",
    404: "no app has this path: gateway run prints the callback URL of each; give it with --url",
    408: "the body was not there in time: the network, or the client, is too slow for this rate",
    413: "the body is larger than the gateway takes (listen.max_body)",
    429: "not the gateway's answer: something in front of it limits the rate",
    502: "not the gateway's answer: something in front of it has lost it",
    503: "the gateway cannot store: its disk is full, its spool not writable or its database not there,"
    " or it is at its limit of bodies; gateway doctor says which",
    504: "not the gateway's answer: something in front of it has waited in vain",
}
"""By status."""

_WRONG_WORD: Final = (
    "that is not the verify token of the app whose path is in the URL: --challenge file:PATH reads it from"
    " the file that apps.NAME.verify_token names"
)


def explain_status(status: int, *, word: str = "") -> str:
    """Say what an answer other than 200 means here; `word` is its body: the gateway's reason."""
    if 300 <= status <= 399:
        return (
            "not the gateway's answer: something in front of it redirects; give the URL that it redirects to"
        )
    if (status, word) == (403, "verify_token"):
        return _WRONG_WORD
    return ANSWERS.get(status, "look at the gateway's log")
