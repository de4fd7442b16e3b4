"""docs/fields.md, written from the table of known fields: `python -m gateway.cli.fields.page`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.cli.fields.command import say
from gateway.core.fields import FIELDS, Field
from gateway.simulator.payloads import MAIN_OBJECT, samples_of

_HEAD: Final = """\
# Webhook fields

<!-- Written by gateway/cli/fields/page.py from gateway/core/fields.py; a test holds it. Change the table. -->

What Meta may send, and what each field means; the same table stands behind `gateway fields`, the samples of
`gateway send --field`, and the labels of metrics. **A field that is not listed is welcome all the same**: it
is stored, answered 200 and routed like any other; only its metrics are counted as `other`.

- **overrides**: whether an alternate callback URL of an account or a phone number applies
  ([subscriptions](subscriptions.md)). Fields with *no* always go to the app's own URL.
- **entry.time**: whether `entry[].time` is present.
- **samples**: `gateway fields NAME` shows them, `gateway fields NAME --sample` prints one for a pipe, and
  `gateway send --field NAME` sends one, with fresh ids and times.
- **?**: not known here.
"""


def render_page() -> str:
    """Return the whole page, in Markdown."""
    objects = dict.fromkeys(field.object for field in FIELDS)
    return "\n".join([_HEAD, *(_section(object_) for object_ in objects)])


def _section(object_: str) -> str:
    columns = (
        "field",
        "meaning",
        *(("overrides",) if object_ == MAIN_OBJECT else ()),
        "entry.time",
        "samples",
    )
    lines = [f"## `{object_}`", "", _row(columns), _row(("---",) * len(columns))]
    lines += [_row(tuple(_cells(field))) for field in FIELDS if field.object == object_]
    return "\n".join(lines) + "\n"


def _cells(field: Field) -> Iterator[str]:
    yield f"`{field.name}`"
    yield field.meaning
    if field.object == MAIN_OBJECT:
        yield say(field.overridable)
    yield say(field.entry_time)
    names = [f"`{sample.name}`" for sample in samples_of(field.name, object_=field.object)]
    yield ", ".join(names) or "none"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    Path("docs/fields.md").write_text(render_page(), encoding="utf-8")
