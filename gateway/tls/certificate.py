"""Certificate files: reading them, and saying what they hold."""

from typing import Final

DEVELOPMENT_ORGANIZATION: Final = "meta-webhook-gateway development"
"""The organization in every certificate of a development PKI, so that `check` knows one when it sees it."""
