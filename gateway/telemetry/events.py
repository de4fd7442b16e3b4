"""Every event of the log, with its fields and what it tells: what operators search for and alert on.

Each line also carries `timestamp` (RFC 3339, UTC), `level` and `component`, and `lost_lines` after lines that
could not be written. A test compares this table with what the code logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event."""

    fields: tuple[str, ...]
    """All that it may carry."""
    meaning: str
    """One sentence."""


def _event(fields: str, meaning: str) -> Event:
    return Event(fields=tuple(fields.split()), meaning=meaning)


def _of_delivery(fields: str, meaning: str) -> Event:
    """One of a delivery's life: these say whose it is, wherever it is told."""
    return _event(f"target notification delivery {fields}", meaning)


EVENTS: Final[Mapping[str, Event]] = {
    # The life of the process.
    "configuration_remark": _event(
        "place key message remedy", "At start: something in the configuration works, and is worth a look."
    ),
    "ready": _event("addresses", "The public port accepts."),
    "draining": _event("delay_seconds timeout_seconds", "A signal has asked the gateway to stop."),
    "descriptors_short": _event(
        "limit max_connections remedy", "Fewer connections are let in than listen.max_connections says."
    ),
    "stopped": _event("", "The gateway has stopped in order; what was not delivered is in the spool."),
    "service_manager_not_told": _event(
        "told error", "systemd asked to be told (NOTIFY_SOCKET) and could not be; nothing else is wrong."
    ),
    # Worker processes, by `number`. What a worker logs carries its number as `worker`.
    "worker_started": _event("number pid drains", "A worker serves; with `drains`, it empties a file."),
    "worker_not_started": _event("number error", "A worker did not come to serve, and is started anew."),
    "worker_ended": _event(
        "number exit_code restart_seconds",
        "A worker has died (negative: by that signal); it is started anew.",
    ),
    "worker_behind": _event(
        "number error", "A worker did not take up a reload that it had prepared, and is started anew with it."
    ),
    "worker_unintelligible": _event(
        "number error", "A defect: a worker answers nonsense; it is started anew."
    ),
    "worker_killed": _event("number", "A worker did not end in time."),
    "worker_file_drained": _event(
        "file", "All that was left to a worker that is no more has been delivered."
    ),
    # Reload.
    "reloaded": _event(
        "trigger hash changed", "A new state is taken up; `changed` names keys and files, never values."
    ),
    "reload_refused": _event(
        "trigger problems remedy",
        "A new state is broken, or not to be had without a restart: nothing changed.",
    ),
    "reload_failed": _event("error", "A defect kept a new state from being built; nothing was changed."),
    "reload_not_audited": _event("error", "A reload could not be written to the audit log."),
    "clients_reconsidered": _event(
        "connections withdrawn",
        "A reload changed whom to trust; so many open connections have lost their identity, and are closed.",
    ),
    "callback_url": _event("app url", "After a reload: the callback URL of an app is new, or another one."),
    "watch_unavailable": _event(
        "error look_seconds", "No word of changed files is to be had; they are looked at every so often."
    ),
    # The door.
    "connection_accepted": _event(
        "connection address port clients",
        "A connection goes on: as the clients that it has proved to be, or as nobody (at `debug`).",
    ),
    "handshake_refused": _event(
        "reason detail connection address port subject issuer serial sha256 claims staged outcome suppressed",
        "A client did not get in, or got in without identity; why, and what a staged anchor says.",
    ),
    "accept_failed": _event("error suppressed", "A connection could not be accepted: descriptors, usually."),
    "connection_broken": _event("", "A client has gone in the middle of a connection."),
    "connection_failed": _event(
        "error errors address connection suppressed", "A defect ended one connection; the others go on."
    ),
    "connection_refused": _event(
        "reason address connection suppressed", "A client broke the rules of HTTP/2 or its own limits."
    ),
    "app_failed": _event("errors", "A defect ended one request, which was answered 500."),
    # The edge.
    "certificate_expires_soon": _event(
        "certificate role subject not_after days_left",
        "A certificate ends within 30, 14 or 3 days: the gateway's own, an anchor, or a client's.",
    ),
    "certificate_expired": _event("certificate role subject not_after", "A certificate has ended."),
    "revocation_list_outdated": _event(
        "client path issuer state strict",
        "A revocation list is out of date, told daily; with `strict`, its CA's clients are refused.",
    ),
    "last_seen_unusable": _event(
        "error", "When anchors and secrets were last used could not be read or stored."
    ),
    # What is the matter (docs/observing.md).
    "condition_began": _event(
        "condition app field target reason summary evidence",
        "Something is the matter: meta_silent, gateway_refusing or target_failing.",
    ),
    "condition_ended": _event("condition app field target reason seconds", "It is over."),
    "conditions_not_judged": _event("error", "What is the matter could not be looked at just now."),
    "gap_ledger_unusable": _event("error", "The gap ledger could not be read or stored."),
    # The acknowledgement path.
    "request_refused": _event(
        "app status reason detail address connection proved suppressed",
        "A request stored nothing; with `proved`, the client was Meta, and that is an alarm.",
    ),
    "challenge_answered": _event("app address connection proved", "A callback URL has been verified."),
    "notification_accepted": _event(
        "connection notification app address changes deliveries bytes",
        "A notification is on disk (as `log.notifications` says).",
    ),
    "duplicate": _event(
        "connection app address bytes", "A notification was on disk already (as `log.notifications` says)."
    ),
    "summary": _event(
        "app seconds accepted duplicates refused bytes ack_p50_ms ack_p99_ms lag_seconds",
        "What came in for an app in the last ten seconds; none where nothing came.",
    ),
    "unrouted_only_counted": _event(
        "app suppressed",
        "More comes in that no route takes than is kept whole; the rest is counted, and nothing else.",
    ),
    # The spool.
    "spool_write_failed": _event("detail", "A commit failed and left nothing behind; Meta was told 503."),
    "spool_broken": _event("detail", "The disk or the file has failed for good, and the process ends."),
    "target_pauses_followed": _event(
        "target", "Another process on the same spool has paused or resumed a target; this one follows."
    ),
    "spool_doubtful": _event("detail", "The database is set up so that a crash of it may lose something."),
    "spool_unreachable": _event("detail", "The database does not answer; Meta is told 503 until it does."),
    "spool_reachable": _event("", "The database answers again."),
    "exchange_unreachable": _event(
        "detail", "The other gateways on the database cannot be asked now; nothing waits for that."
    ),
    "exchange_reachable": _event("", "They can be asked again."),
    "exchange_overrun": _event(
        "queued", "Other gateways ask more than this one answers; what is too much was not answered."
    ),
    "replica_answer_unusable": _event(
        "gateway question detail suppressed",
        "Another gateway on the database answered what is of no use; it counts as not answering.",
    ),
    "spool_close_failed": _event("detail", "The spool could not be closed in order; nothing is lost."),
    "spool_ready_callback_failed": _event("error", "A defect kept a target from being woken at once."),
    # Delivery.
    "delivery_delivered": _of_delivery(
        "attempt members merged status", "A target has taken a delivery, or all of a merged POST."
    ),
    "delivery_retried": _of_delivery(
        "attempt members merged status error retry_seconds suppressed",
        "An attempt failed; the next one is due then.",
    ),
    "delivery_halved": _of_delivery(
        "attempt members merged status suppressed", "A merged POST was refused; its halves go at once."
    ),
    "delivery_refused": _of_delivery("attempt status suppressed", "A target will never take a delivery."),
    "refusal_not_believed": _of_delivery(
        "attempt members merged status suppressed",
        "A probe was refused while the target refuses everything: it stays in the spool.",
    ),
    "delivery_gave_up": _of_delivery(
        "attempt status error suppressed",
        "The last attempt has failed, or there is no time or no room for another.",
    ),
    "breaker_opened": _event(
        "target state probe_seconds", "A target fails, or refuses everything: only probes are sent to it."
    ),
    "breaker_recovering": _event("target", "A target answers again: what waits is released gradually."),
    "breaker_closed": _event("target", "All that waits for a target is released again."),
    "delivery_dropped": _of_delivery(
        "attempt reason suppressed", "A delivery ended without a dead letter, as `on_give_up` says."
    ),
    "delivery_uncuttable": _of_delivery(
        "attempt", "No request can be made of what is stored; a dead letter."
    ),
    "delivery_damaged": _of_delivery(
        "",
        "What the spool kept of a delivery is not what came: look at the disk. A dead letter has the bytes.",
    ),
    "deliveries_unjoinable": _of_delivery(
        "attempt members merged", "The bodies of a group make no envelope; its members go singly."
    ),
    "target_paused": _event(
        "target reason", "An operator has paused a target; its give-up clock stands still."
    ),
    "target_resumed": _event("target", "A pause has ended, by itself or because an operator said so."),
    "lease_failed": _event("target error", "The spool could not hand out deliveries; it is asked again."),
    "settlement_slow": _of_delivery("", "The outcome of an attempt is not on disk in time."),
    "settlement_failed": _of_delivery(
        "error", "The outcome of an attempt could not be stored; that is tried again."
    ),
    "target_unknown_pending": _event(
        "target pending", "Deliveries wait for a target that the configuration has lost."
    ),
    # Dead letters.
    "dead_letter_written": _of_delivery("reason attempts suppressed", "A delivery has become a dead letter."),
    "dead_letter_not_written": _of_delivery(
        "attempt error retry_seconds", "A dead letter could not be written; the spool has it."
    ),
    "dead_letter_of_delivered_removed": _of_delivery(
        "", "The file of a delivery that a target took in a later life has been removed."
    ),
    "dead_letter_not_removed": _of_delivery("error", "Such a file could not be removed."),
    "dead_letter_pruned": _event("target delivery reason", "A dead letter was past `keep` or `max_size`."),
    "dead_letters_listed": _event("letters", "Dead letters were found that are on no list: they are now."),
    "dead_letters_gone": _event(
        "letters delivery",
        "Listed dead letters have no file any more (so many, the first): they are off the list.",
    ),
    "dead_letter_undecided": _event(
        "delivery error", "What became of a dead letter that was being written or replayed could not be seen."
    ),
    "dead_letters_not_pruned": _event("error", "The dead-letter directory could not be tidied."),
    # The admin port.
    "admin_token_refused": _event(
        "path address suppressed", "Somebody asked for an action without the token."
    ),
    "admin_action_failed": _event("path status error suppressed", "Something was asked for and failed."),
    "dashboard_not_sampled": _event(
        "error", "The metrics could not be asked for, so the dashboard's charts have a gap."
    ),
}

FIELDS: Final[Mapping[str, str]] = {
    # Ids: what a line is about, under the same name in every line.
    "connection": "A connection of the public port; unique over restarts and workers.",
    "notification": "A notification: `Gateway-Notification` to targets, `notification_id` in a dead letter.",
    "delivery": "A delivery, NOTIFICATION-TARGET: its `Idempotency-Key` alone, the `id` of its dead letter.",
    "merged": "The deliveries of a merged POST, oldest first; the first 50.",
    "attempt": "The number of the attempt, from 1: the `Gateway-Attempt` that targets get.",
    "app": "An app of the configuration; `none` where a request was for none.",
    "target": "A target of the configuration, or `_unrouted`.",
    # Who.
    "address": "The client's IP address; behind a load balancer, as the PROXY header has it.",
    "port": "The client's port.",
    "clients": "The entries of `tls.clients` that accept the certificate.",
    "subject": "Of a certificate, as it says itself (RFC 4514).",
    "issuer": "Of a certificate or a revocation list, as it says itself.",
    "serial": "Of a certificate, hexadecimal.",
    "sha256": "Of a certificate (DER), hexadecimal.",
    "claims": "The entry of `tls.clients` whose name the certificate bears, whatever its chain.",
    "staged": "What a staged anchor would have said of it.",
    "proved": "Whether the client had proved to be one of the app's.",
    # What.
    "status": "The HTTP status: of our answer to a request, of a target's answer to an attempt.",
    "reason": "Why, in one word; for a pause, as the operator wrote it.",
    "detail": "More about the reason.",
    "condition": "What is the matter: meta_silent, gateway_refusing or target_failing (docs/observing.md).",
    "field": "A webhook field.",
    "summary": "A condition in one sentence.",
    "evidence": "What speaks for it.",
    "error": "What went wrong, in words.",
    "told": "What systemd was to hear.",
    "errors": "Defects by kind and place, never in their own words.",
    "outcome": "What became of the connection: closed, or it goes on without identity.",
    "suppressed": "How many lines like this one were left out since the last.",
    "remedy": "What to do.",
    "message": "What is wrong.",
    "problems": "What is wrong with a new state, each with its place.",
    # How many, how long.
    "accepted": "Notifications stored.",
    "duplicates": "Notifications answered 200 that were on disk already.",
    "refused": "Requests that stored nothing, by the word of their answer.",
    "bytes": "Of bodies: of this one, or of all that were answered 200.",
    "ack_p50_ms": "The median time from the head of a request to its 200, estimated from `ack_seconds`.",
    "ack_p99_ms": "What 99 % were faster than, estimated likewise.",
    "lag_seconds": "How long before us Meta's own timestamp is, the longest of those that were read.",
    "gateway": "Another gateway on the same database: its host and process.",
    "question": "What another gateway was asked.",
    "queued": "How many questions wait to be answered.",
    "seconds": "How long a time a summary is of; how long a condition lasted.",
    "changes": "Changes in a notification.",
    "deliveries": "Deliveries that a notification became.",
    "members": "Deliveries of a merged POST.",
    "attempts": "Attempts that were made.",
    "pending": "Deliveries that wait.",
    "letters": "Dead letters.",
    "connections": "Connections that are open.",
    "withdrawn": "Connections that have lost their identity.",
    "retry_seconds": "Until the next try.",
    "restart_seconds": "Until the worker is started anew.",
    "probe_seconds": "Between two probes.",
    "look_seconds": "Between two looks at the files.",
    "delay_seconds": "`drain.delay`.",
    "timeout_seconds": "`drain.timeout`.",
    "limit": "Descriptors that the process may open.",
    "max_connections": "Connections that are let in.",
    "days_left": "Until a certificate ends.",
    # Where.
    "addresses": "Where the public port listens.",
    "place": "FILE:LINE:COLUMN in the configuration.",
    "key": "The key in the configuration.",
    "trigger": "What brought a reload about: a signal, or a file that has changed.",
    "hash": "SHA-256 of the configuration file.",
    "changed": "Keys and files that differ.",
    "url": "A callback URL.",
    "path": "A file, or the path of a request to the admin port.",
    "file": "The number of a worker's spool file.",
    "client": "The entry of `tls.clients`.",
    "certificate": "Which certificate, by its key in the configuration.",
    "role": "What a certificate is for.",
    "not_after": "When a certificate ends.",
    "state": "How far out of date a list is; how a target is.",
    "strict": "Whether `revocation_strict` holds.",
    "number": "The number of a worker.",
    "pid": "Of a process.",
    "exit_code": "Of a process; negative: by that signal.",
    "drains": "Whether a worker only empties a file.",
}
"""What each field says, whichever event it stands in."""

SECTIONS: Final[Mapping[str, str]] = {
    "configuration_remark": "The life of the process",
    "worker_started": "Workers",
    "reloaded": "Reload",
    "connection_accepted": "The door",
    "certificate_expires_soon": "Certificates and lists",
    "request_refused": "The acknowledgement path",
    "spool_write_failed": "The spool",
    "delivery_delivered": "Delivery",
    "dead_letter_written": "Dead letters",
    "admin_token_refused": "The admin port",
}
"""Headings of the documentation, by the first event under each."""
