"""What the admin port says of the gateway: the shapes of its answers, and who is asked for them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

RenderMetrics = Callable[[], Awaitable[bytes]]

Changes = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
"""Returns the last lines of the audit log, oldest first: `{"at", "action", "by", ...}`, with `gateway` where
several share a database."""

Config = Callable[[], Mapping[str, object] | Awaitable[Mapping[str, object]]]
"""Returns `{"hash", "file", "spool", "loaded_at", "last_reload"}`, fit for JSON.

`hash` is that of `config_info`, `file` and `spool` are paths (a command sees by them whose gateway it asks),
times are RFC 3339. `last_reload` is null where none has been tried, else
`{"at", "success", "trigger": "signal" | "file", "problems": [...]}`, each problem as `gateway check --json`
prints it.
"""

EdgeReport = Callable[[], Mapping[str, object] | Awaitable[Mapping[str, object]]]
"""Returns what the edge knows of its clients, fit for JSON; times are RFC 3339 or null. No secret, no token.

    {
      "anchors": [{"client", "sha256", "subject", "not_after", "last_seen_at", "staged": bool}],
      "secrets": [{"app", "index", "last_used_at"}],
      "certificates": [{"name", "not_after", "days_left": int}],
      "revocation_lists": [{"client", "path", "issuer", "this_update", "next_update", "revoked": int,
                            "outdated": TEXT, "known_issuer": bool, "strict": bool}],
      "apps": {NAME: {"client_certificate": "required" | "report",
                      "recent": {"notifications": int, "without_accepted": int}}},
      "refusals": [{"at", "kind": "connection" | "request", "address", "reason", "detail",
                    "subject", "issuer", "serial", "sha256", "claims", "claims_meta": bool,
                    "staged", "staged_says", "connection", "app", "status", "proved": bool, "gateway"}],
      "gateways": [GATEWAY]
    }

`gateway` and `gateways` (`admin.actions`) are there where several share a database; it is then of all.

Certificates are named as in `certificate_expiry_timestamp_seconds`: `server`, the first 16 digits of an
anchor's SHA-256, `client:ENTRY` for the last one that was admitted. `outdated` is empty where a list is
current; without `known_issuer` its signature is verified when a chain first shows its CA.

Refusals are the newest first, of four kinds the last 50 each (`telemetry.ledger`). Of a connection, `reason`
is one of the contract's words; of a request (401, 403) the word of its answer. With status 200 it is a
signed notification of an app on `report`, which `required` would refuse. `claims` is the client entry whose
name the certificate bears, whatever its chain. `staged` is `ENTRY ANCHOR` where a staged anchor would have
admitted it, else null; `staged_says` is what it says at length. `proved`: the peer was proved to be a client
of the app's.
"""

LedgerReport = Callable[[], Awaitable[Mapping[str, object]]]
"""Returns what is the matter and what comes in, fit for JSON; times are RFC 3339 or null. No payload.

    {
      "at", "listening_since",
      "conditions": [{"condition": "meta_silent" | "gateway_refusing" | "target_failing",
                      "app", "field", "target", "reason", "since", "summary": TEXT,
                      "evidence": [TEXT], "next_steps": [TEXT]}],
      "fields": [{"app", "object", "field", "received": int, "first_received_at", "last_received_at",
                  "usual_interval_seconds": float | null, "lag_seconds": float | null,
                  "silence": {"judgement": "usual" | "learning" | "suspicious", "seconds": float,
                              "missed": float}}],
      "lines": [{"app", "waba", "phone_number_id", "object", "field", "received": int,
                 "first_received_at", "last_received_at", "usual_interval_seconds", "lag_seconds",
                 "delivered": {TARGET: {"count": int, "last_at"}}}],
      "lines_left_out": int,
      "targets": {NAME: {"state", "delivered": int, "last_delivered_at",
                         "last_error": {"at", "status": int | null, "error": TEXT} | null,
                         "next_give_up_at"}}
    }

`conditions` is empty where nothing is the matter; of `app`, `field`, `target` and `reason` those are null
that do not apply. Fields are of the known table, else `other`; numbers are of changes, those of `delivered`
of notifications. Counts and times of `fields` and `lines` outlive restarts, those of `targets` do not.
`lines` are those heard of last, 500 at most. docs/observing.md says how silence is judged.
"""
