"""`gateway run`."""

import os

from gateway.cli.output import err, options, out


def command() -> None:
    """Serve until SIGTERM or SIGINT, and print the callback URL of each app.

    Everything that `gateway check` complains about is complained about here too, before anything listens.
    Logs go to stderr. On SIGTERM the gateway takes nothing new, finishes what is in flight within
    `listen.drain.timeout`, and exits with 0; what is not delivered yet stays in the spool and goes out after
    the next start.
    """
    import sys

    import trio

    from gateway.errors import ConfigurationError
    from gateway.preflight import examine
    from gateway.service import serve
    from gateway.settings.load import load_settings
    from gateway.telemetry.log import configure_logging, wants_json

    loaded = load_settings(options.config, environ=os.environ)
    problems = examine(loaded)
    if problems:
        raise ConfigurationError(problems)
    log = loaded.settings.log
    configure_logging(level=log.level, json=wants_json(log.format, sys.stderr))

    def announce(line: str) -> None:
        out(line)
        sys.stdout.flush()

    trio.run(lambda: serve(loaded, announce=announce))
    err("stopped; what was not delivered is in the spool")
