"""`gateway run`."""

import os

from gateway.cli.output import err, options, out


def command() -> None:
    """Serve until SIGTERM or SIGINT, and print the callback URL of each app.

    Everything that `gateway check` complains about is complained about here too, before anything listens; its
    remarks are logged. Logs go to stderr. On SIGTERM the gateway takes nothing new, finishes what is in
    flight within `listen.drain.timeout`, and exits with 0; what is not delivered yet stays in the spool and
    goes out after the next start.

    On SIGHUP everything is read anew: settings, certificates, anchors, lists, file secrets. A certificate,
    key, anchor, list or secret file that changes is taken up by itself, a second after it came to rest. No
    connection is dropped. A new state that is broken, or that changes listen.address, listen.workers, spool,
    admin or metrics, changes nothing: the log, /readyz and /api/config of the admin port say why.
    """
    import signal
    import sys

    # Until the gateway listens to signals itself: not the end of the process, and not forgotten either.
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))

    import trio

    from gateway.errors import ConfigurationError
    from gateway.preflight import load_and_examine, remarks
    from gateway.service import serve
    from gateway.telemetry.log import configure_logging, get_logger, wants_json

    loaded, problems = load_and_examine(options.config, environ=os.environ)
    if problems or loaded is None:
        raise ConfigurationError(problems)
    written = loaded.settings.log
    configure_logging(level=written.level, json=wants_json(written.format, sys.stderr))
    log = get_logger("configuration")
    for remark in remarks(loaded):
        log.warning(
            "configuration_remark",
            place=f"{remark.file}:{remark.line}:{remark.column}",
            key=remark.key_path,
            message=remark.message,
            remedy=remark.remedy,
        )

    def announce(line: str) -> None:
        out(line)
        sys.stdout.flush()

    trio.run(lambda: serve(loaded, announce=announce, reload_asked=lambda: bool(early)))
    err("stopped; what was not delivered is in the spool")
