"""What every page of --help ends with: examples to copy, and what the exit codes mean."""

import inspect
import re
from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "demo": ("gateway demo", "gateway demo --serve      # leaves it running, and prints its addresses"),
    "init": ("gateway init my-gateway", "gateway init --production /etc/meta-webhook-gateway"),
    "check": (
        "gateway --config my-gateway/gateway.yaml check",
        "gateway check --without-secrets      # in CI",
    ),
    "run": ("gateway --config my-gateway/gateway.yaml run",),
    "doctor": ("gateway doctor", "gateway doctor --offline --json"),
    "routes": ("gateway routes --field messages", "gateway routes --payload notification.json"),
    "send": (
        "gateway send --field messages",
        "gateway send --challenge file:secrets/verify_token",
        "gateway send --payload notification.json --repeat 2",
    ),
    "bench": (
        "gateway bench --rate 3300 --duration 5m",
        "gateway bench --verify      # counts what is lost, and what comes twice",
        "gateway bench --url https://staging.example.com/webhooks/main --yes-really",
    ),
    "status": ("gateway status", "gateway status --watch"),
    "trace": (
        "gateway trace 019c1f8f2c007000b1f2aabbccddeeff",
        "gateway trace wamid.HBgLNDkxNTU2MDAxNzM0MhUCABEYEjMz",
    ),
    "targets list": ("gateway targets list",),
    "targets pause": ("gateway targets pause support --for 2h --reason 'database upgrade'",),
    "targets resume": ("gateway targets resume support --rate 50/s",),
    "targets discard": ("gateway targets discard former --dry-run",),
    "dead-letters list": ("gateway dead-letters list --target support --since 2h",),
    "dead-letters show": ("gateway dead-letters show 019c1f8f2c007000b1f2aabbccddeeff-support",),
    "dead-letters replay": (
        "gateway dead-letters replay --target support --since 2h --dry-run",
        "gateway dead-letters replay 019c1f8f2c007000b1f2aabbccddeeff-support",
    ),
    "dead-letters discard": ("gateway dead-letters discard --target shadow --until 7d --dry-run",),
    "replay": ("gateway replay --target support --since 2h --include-delivered --dry-run",),
    "spool migrate": ("gateway spool migrate --dry-run",),
    "spool move": ("gateway spool move --from sqlite:/var/lib/gateway/spool --to postgresql",),
    "subscriptions list": ("gateway subscriptions list --waba 102900000000001",),
    "subscriptions subscribe": ("gateway subscriptions subscribe --waba 102900000000001",),
    "subscriptions unsubscribe": ("gateway subscriptions unsubscribe --waba 102900000000001",),
    "subscriptions ensure": ("gateway subscriptions ensure --dry-run",),
    "subscriptions check": ("gateway subscriptions check --all",),
    "subscriptions explain": ("gateway subscriptions explain --waba 102900000000001",),
    "certs show": ("gateway certs show meta-outbound-api-ca-2025-12.pem",),
    "certs make": ("gateway certs make certs --name localhost --name 127.0.0.1",),
    "certs issue": ("gateway certs issue my-gateway/certs second",),
    "certs revoke": ("gateway certs revoke my-gateway/certs my-gateway/certs/second.pem",),
    "fields": ("gateway fields", "gateway fields messages --sample"),
    "schema": ("gateway schema > gateway.schema.json",),
}
"""By command; what explains itself by its own examples (completion) is not here."""

_EXIT_CODES: Final = "Exit codes: 0 done; 1 failed while running; 2 wrong usage or configuration."


def help_page(name: str, written: str | None) -> str:
    """Return a command's help: its own paragraphs flowing, then examples and exit codes where it has none.

    typer breaks the lines of a paragraph where the docstring does, and again where it must: here they flow.
    What is indented stays as it is: commands to copy.
    """
    paragraphs = inspect.cleandoc(written or "").split("\n\n")
    page = "\n\n".join(re.sub(r"(?<=\S)\n(?=\S)", " ", paragraph) for paragraph in paragraphs)
    if examples := EXAMPLES.get(name):
        page += "\n\nExamples:\n" + "\n".join(f"    {example}" for example in examples)
    return page


def with_exit_codes(page: str) -> str:
    """Return the page of a command that can be called, with the exit codes where it does not tell them."""
    return page if re.search("exit codes?", page, re.IGNORECASE) else f"{page}\n\n{_EXIT_CODES}"
