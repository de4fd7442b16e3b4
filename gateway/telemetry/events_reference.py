"""The documentation of the log, written from the table of its events."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.telemetry.events import EVENTS, FIELDS, SECTIONS

_HEAD: Final = """\
# The log

<!-- Written by gateway/telemetry/events_reference.py from gateway/telemetry/events.py; a test holds it. -->

Logs go to stderr, results to stdout. An event is one line: a name from the tables below, and fields. No line
holds a secret, a token, message text or a whole phone number, whatever `log.level` and `log.format` are.

## Format

`log.format: auto` is the console format on a terminal, and JSON lines everywhere else.

```json
{"timestamp": "2026-11-23T06:10:56.623100Z", "level": "info", "event": "delivery_retried",
 "component": "delivery", "target": "support", "notification": "019c...", "delivery": "019c...-support",
 "attempt": 1, "suppressed": 0, "status": 503, "error": "", "retry_seconds": 1.1}
```

- **JSON** (one line each, not wrapped as here): `event`, `level` (`debug`, `info`, `warning`, `error`),
  `timestamp` (RFC 3339, UTC), `component`, and the event's fields. `worker` is there with `listen.workers`
  above 1: each worker writes its own lines, its own summaries too, into the same stderr. What a total is of,
  a scrape of `/metrics` knows.
- **Console**: the local time, the level, the event in words, and those fields that say something; wrapped at
  the width of the terminal. Colours only there, and not with `NO_COLOR`. In a file (`log.format: console`)
  an event is one line with the whole time.
- **Under systemd**, where stderr goes to the journal (`JOURNAL_STREAM`), lines have no `timestamp`, since the
  journal has one, and begin with the priority that it takes off again (`<4>` is a warning): so
  `journalctl -u gateway -p warning` works, and `journalctl -u gateway -o cat | jq` has the fields.

**A log that cannot be written never holds the gateway.** Lines are written by a thread of their own; a full
pipe, a terminal held by Ctrl-S, a reader that is gone or a full disk cost lines, and the first one that gets
through says how many (`lost_lines`). 10,000 lines are held; the process ends within a second all the same.

## How much: `log.notifications`

| | what is written | at 3,300 notifications/s |
|---|---|---|
| `problems` | trouble, and one `summary` per app and 10 s in which something came | 2.3 MB a day |
| `sample` | besides, one notification in 100 from acceptance to delivery, chosen by its id | 1.6 GB a day |
| `all` | besides, every notification, every repeat and every delivery | 160 GB a day |

In bytes, a summary has 265, an acceptance 285, a delivery 276 (one in a merged POST: a line for all its
members); the table is for one app, and one target that takes everything. In trouble, a kind of line about
deliveries is written 20 times for a target and then once a second; `suppressed` on the next one says how many
were left out. Of what `sample` and `all` tell, all lines are there. Refused handshakes and requests are
bounded likewise, those of Meta and those of strangers apart. Counts are in `/metrics`, whole.

A `summary` is the difference of counters that the metrics have anyway, at `info`. `accepted` and `duplicates`
were answered 200; `refused` counts by the word of the answer (`signature`, `client_certificate`,
`unavailable`, ...); quantiles are estimated from the buckets of `ack_seconds`, as Prometheus does;
`lag_seconds` is read from a sample (Meta's timestamps are whole seconds, by Meta's clock).

## Following one message

The same thing has the same name in every line:

- `connection`: begins with `connection_accepted` (at `log.level: debug`) or `handshake_refused`; stands in
  `notification_accepted`, `duplicate` and `request_refused`.
- `notification`: begins with `notification_accepted`; the target gets it as `Gateway-Notification`.
- `delivery`: NOTIFICATION-TARGET; the target gets it as `Idempotency-Key`. After `dead_letter_written`,
  `gateway dead-letters show DELIVERY` has the rest.
- `attempt`: from 1; the target gets it as `Gateway-Attempt`.

```sh
jq -c 'select(.notification == "019c...")' gateway.log
```

In the lines of a merged POST, `notification` and `delivery` are its oldest, and `merged` names them all.

"""


def render_events_reference() -> str:
    """Return the whole page, in Markdown."""
    events = "\n".join(_section(title, names) for title, names in sections())
    rows = "".join(f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in sorted(FIELDS.items()))
    return f"{_HEAD}## Events\n\n{events}\n## Fields\n\n| field | what it says |\n|---|---|\n{rows}"


def sections() -> Iterator[tuple[str, list[str]]]:
    """Yield each heading with the events under it, in the order of the table."""
    title, names = "", list[str]()
    for name in EVENTS:
        if name in SECTIONS:
            if names:
                yield title, names
            title, names = SECTIONS[name], []
        names.append(name)
    yield title, names


def _section(title: str, names: list[str]) -> str:
    lines = [f"### {title}", "", "| event | what it tells | fields |", "|---|---|---|"]
    for name in names:
        fields = ", ".join(f"`{field}`" for field in EVENTS[name].fields)
        lines.append(f"| `{name}` | {_cell(EVENTS[name].meaning)} | {fields} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path("docs/events.md").write_text(render_events_reference(), encoding="utf-8")
