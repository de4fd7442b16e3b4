"""How every command ends: with an exit code and a sentence, never with a traceback for what was foreseen."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.cli.output import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, err
from gateway.errors import ConfigurationError, GatewayError, UsageError

_FORESEEN = (GatewayError, OSError, KeyboardInterrupt)


@contextmanager
def ending() -> Iterator[None]:
    """Run a command line in this; it always raises SystemExit, but for a mistake of ours."""
    _print_whatever_the_encoding()
    try:
        yield
        _flush()
    except SystemExit as ended:
        try:
            _flush()
        except OSError as error:
            raise SystemExit(_tell(error)) from None
        raise SystemExit(ended.code) from None
    except _FORESEEN as error:
        raise SystemExit(_tell(error)) from None
    except BaseExceptionGroup as group:
        # Trio's nurseries wrap what their tasks raise.
        foreseen, mistakes = group.split(_FORESEEN)
        if foreseen is None or mistakes is not None:
            raise
        raise SystemExit(max(_tell(error) for error in _leaves(foreseen))) from None


def _tell(error: BaseException) -> int:
    """Say what happened, and return the exit code."""
    match error:
        case ConfigurationError() | UsageError():
            err(str(error))
            return EXIT_USAGE
        case BrokenPipeError():
            _stop_printing()
        case OSError():
            where = f"{error.filename}: " if error.filename is not None else ""
            err(f"{where}{error.strerror or error}")
        case KeyboardInterrupt():
            err("interrupted")
            return EXIT_INTERRUPTED
        case _:
            err(str(error))
    return EXIT_FAILED


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _print_whatever_the_encoding() -> None:
    r"""A terminal or pipe that is not UTF-8 shows what it has no letter for as `\u2713`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Now, and not as the interpreter ends: there nobody catches anything."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _stop_printing() -> None:
    """The reader of our output went away (`gateway fields | head`): nothing is wrong, nobody listens.

    What is still buffered has to go somewhere as the interpreter ends (Python, `signal`, note on SIGPIPE).
    """
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
