"""The configuration reference, written from the models: the docstring of a field is its only description."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.settings.model import Settings
from gateway.settings.reserved import RESERVED
from gateway.settings.section import Model
from gateway.settings.shape import Entry, default_in_file, entries

_HEAD: Final = """\
# Configuration reference

<!-- Written by gateway/settings/reference.py from the models; a test holds it. Change the docstrings. -->

One YAML file: `--config PATH`, `GATEWAY_CONFIG`, or `config/gateway.yaml`.
[config/gateway.yaml](../config/gateway.yaml) is a small one;
[config/example-full.yaml](../config/example-full.yaml) has every key. `gateway check` reads it without
starting anything; `gateway schema` prints a JSON Schema for editors.

- **YAML 1.2, core schema.** `off`, `yes` and `no` are texts. An id keeps its digits as written
  (`0123456`), quoted or not. There are no merge keys (`<<`) and no digit separators (`1_000`). An alias
  (`*name`) stands for a whole value.
- **Durations** are a number and a unit: `250ms`, `10s`, `5m`, `2h`, `3d`. **Sizes** likewise, in powers of
  1024: `64KiB`, `3MiB`, `10GiB`.
- **Paths** are relative to the file. One that begins with `$CREDENTIALS_DIRECTORY/` leads to what systemd
  has passed on (`LoadCredential=`); no other variable is replaced.
- **A secret** is `{env: NAME}` or `{file: PATH}`, never plain text. One trailing newline is dropped;
  missing or empty is an error.
- **Ids** are one id, a list of ids, or `{file: PATH}` with one a line; blank lines and what follows a `#`
  are skipped.
- Unknown keys are errors. Top-level keys that begin with `x-` are ignored: a home for anchors.
- Every mistake is told as `FILE:LINE:COLUMN: key.path: what is wrong; what to do`, all of them at once.
- **SIGHUP** takes up everything anew, or nothing where something is wrong. A certificate, key, anchor,
  list or secret *file* that changes is taken up by itself; the YAML waits for the signal. A change of
  `listen.address`, `listen.workers`, `spool`, `admin` or `metrics`, or of the environment, needs a restart;
  of `admin.token` the file's content may change.
"""
_RESERVED_HEAD: Final = """\
## Keys of later versions

These may stand in the file, and say what holds anyway; anything else is an error.

| key | value |
|---|---|
"""


def render_reference() -> str:
    """Return the whole page, in Markdown."""
    sections = "\n".join(_section(title, model) for title, model in _sections("", Settings))
    rows = "".join(
        f"| `{'.'.join(path).replace('*', 'NAME')}` | `{row.default}` |\n"
        for path, row in RESERVED.items()
        if row.default is not None
    )
    return f"{_HEAD}\n{sections}" + (f"\n{_RESERVED_HEAD}{rows}" if rows else "")


def _sections(title: str, model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """Every section, from the top, each before those below it."""
    yield title, model
    for entry in entries(model).values():
        if entry.model is not None:
            yield from _sections(_path(title, entry), entry.model)


def _path(title: str, entry: Entry) -> str:
    suffix = {"one": "", "mapping": ".NAME", "list": "[]"}[entry.holds]
    return f"{title}.{entry.key}{suffix}".removeprefix(".")


def _section(title: str, model: type[Model]) -> str:
    heading = f"## `{title}`" if title else "## The whole file"
    lines = [heading, "", " ".join((model.__doc__ or "").split()), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [_row(title, entry) for entry in entries(model).values() if _stands_alone(title, entry)]
    return "\n".join(lines) + "\n"


def _stands_alone(title: str, entry: Entry) -> bool:
    """Keys of later versions have a table of their own."""
    return tuple(f"{title}.{entry.key}".removeprefix(".").split(".")) not in RESERVED


def _row(title: str, entry: Entry) -> str:
    cells = (f"`{entry.key}`", _value(title, entry), _default(entry), entry.description)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _value(title: str, entry: Entry) -> str:
    kind = " or ".join(f"`{choice}`" for choice in entry.choices) or (
        entry.written.kind if entry.written else ""
    )
    if entry.model is not None:
        path = _path(title, entry)
        anchor = "".join(letter for letter in path.lower() if letter.isalnum() or letter in "_-")
        kind = f"[`{path}`](#{anchor})"
    match entry.holds:
        case "mapping":
            return f"mapping of names to {kind}"
        case "list":
            return f"list of {kind}"
    return kind


def _default(entry: Entry) -> str:
    if entry.required:
        return "**required**"
    if entry.otherwise:
        return entry.otherwise
    default = default_in_file(entry)
    if default is None:
        return "none" if entry.info.default is None else "as below"
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


if __name__ == "__main__":
    Path("docs/configuration.md").write_text(render_reference(), encoding="utf-8")
