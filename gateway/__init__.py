"""meta-webhook-gateway: the mTLS door for Meta and WhatsApp webhooks."""

from importlib.metadata import version

__version__ = version("meta-webhook-gateway")
