"""`gateway fields`: the known webhook fields."""

import json
import shutil
import sys
import textwrap
from typing import Annotated, Final

import typer

from gateway.cli.output import out, out_json
from gateway.core.fields import FIELDS, Field
from gateway.errors import UsageError
from gateway.simulator.payloads import MAIN_OBJECT, Sample, find_sample, samples_of

_LEAST_WIDTH: Final = 72
"""Columns; narrower terminals wrap by themselves."""


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show one field and its samples: messages, page/feed. A sample by its name: messages.image."
        ),
    ] = None,
    sample: Annotated[
        bool,
        typer.Option("--sample", help="Print the sample that stands for the field, and nothing else: JSON."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """List the known webhook fields: what each means, whether overrides apply, which have samples.

    Overrides are alternate callback URLs of an account or a phone number (`gateway subscriptions`); they
    apply to messaging-type fields alone.

    In a pipe it is one line a field, tab-separated: object, field, meaning, number of samples, whether
    overrides apply, whether entry.time is present (yes, no, or ? where that is not known).

    Of one field with several samples a terminal gets their names, a pipe all of them.

    Fields that are not listed are welcome all the same: they are stored, answered and routed like any other.
    """
    if sample:
        if name is None:
            raise UsageError("--sample of which field?", remedy="gateway fields messages --sample")
        out(json.dumps(find_sample(name).read(), indent=2))
    elif name is None:
        _list_fields(as_json=as_json)
    else:
        _show(name, as_json=as_json)


def _list_fields(*, as_json: bool) -> None:
    if as_json:
        out_json([_plain(field) for field in FIELDS])
        return
    if not sys.stdout.isatty():
        for field in FIELDS:
            words = (field.object, field.name, field.meaning, str(len(_samples(field))))
            out("\t".join((*words, say(field.overridable), say(field.entry_time))))
        return
    width = _width()
    column = max(len(field.name) for field in FIELDS) + 2
    for object_ in dict.fromkeys(field.object for field in FIELDS):
        out(f"{object_}")
        for field in FIELDS:
            if field.object == object_:
                lines = textwrap.wrap(field.meaning + _remark(field), width - column - 2)
                out(
                    "\n".join(
                        [
                            f"  {field.name:<{column}}{lines[0]}",
                            *(" " * (column + 2) + one for one in lines[1:]),
                        ]
                    )
                )
        out("")
    out("gateway fields NAME shows a field with its samples; gateway send --field NAME sends one.")


def _width() -> int:
    return max(_LEAST_WIDTH, shutil.get_terminal_size((110, 24)).columns)


def say(known: bool | None, *, unknown: str = "?") -> str:
    """Write yes, no, or that it is not known."""
    return unknown if known is None else "yes" if known else "no"


def _remark(field: Field) -> str:
    count = len(_samples(field))
    remarks = ["overrides apply"] if field.overridable else []
    if count != 1:
        remarks.append(f"{count} samples" if count else "no sample")
    return f" ({', '.join(remarks)})" if remarks else ""


def _samples(field: Field) -> tuple[Sample, ...]:
    return samples_of(field.name, object_=field.object)


def _plain(field: Field) -> dict[str, object]:
    return {
        "object": field.object,
        "field": field.name,
        "meaning": field.meaning,
        "overrides": field.overridable,
        "entry_time": field.entry_time,
        "samples": [sample.name for sample in _samples(field)],
    }


def _show(name: str, *, as_json: bool) -> None:
    object_, slash, local = name.rpartition("/")
    known = [field for field in FIELDS if field.name == local and (not slash or field.object == object_)]
    shown = [sample for field in known for sample in _samples(field)]
    if not known:
        try:
            shown = [find_sample(name)]
        except UsageError:
            raise UsageError(
                f"{name}: not a known field",
                remedy="gateway fields lists the known ones; others are routed, too",
            ) from None
        known = [
            field for field in FIELDS if field.name == shown[0].field and field.object == shown[0].object
        ]
    if as_json:
        bodies = [{"name": sample.name, "object": sample.object, "body": sample.read()} for sample in shown]
        out_json({"fields": [_plain(field) for field in known], "samples": bodies})
        return
    for field in known:
        prefix = "" if field.object == MAIN_OBJECT else f"{field.object}/"
        out(f"{prefix}{field.name}: {field.meaning}")
        if field.object == MAIN_OBJECT:
            out(f"  overrides apply: {say(field.overridable, unknown='not known')}")
        out(f"  entry.time is present: {say(field.entry_time, unknown='not known')}")
    if len(shown) > 1 and sys.stdout.isatty():
        out(f"\n{len(shown)} samples; gateway fields SAMPLE shows one, gateway send --field SAMPLE sends it:")
        out(textwrap.fill(", ".join(one.name for one in shown), _width(), break_on_hyphens=False))
        return
    for sample in shown:
        out(f"\n{sample.name}")
        out(json.dumps(sample.read(), indent=2, ensure_ascii=False))
