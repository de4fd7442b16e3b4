"""`gateway certs`: look into certificate files, and make a development PKI."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.output import err, out, out_json
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.tls.certificate import Description

commands = typer.Typer(
    help="Show a certificate file, or make a development PKI.", no_args_is_help=True, add_completion=False
)


@commands.command()
def show(
    file: Annotated[
        Path, typer.Argument(help="A PEM file, with one certificate or more.", exists=True, dir_okay=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show subject, issuer, SANs, key, SHA-256 and days left of every certificate in a file.

    Compare the SHA-256 with the one that its source publishes before you trust a CA file.
    """
    from gateway.tls.certificate import CertificateFileError, describe, read_certificates, utc_now

    now = utc_now()
    try:
        found = [describe(certificate) for certificate in read_certificates(file)]
    except CertificateFileError as error:
        # Here the file is the argument: as wrong as one that is not there.
        raise UsageError(error.message, remedy=error.remedy) from error
    if as_json:
        out_json(
            [
                {
                    "subject": one.subject,
                    "issuer": one.issuer,
                    "serial": one.serial,
                    "names": list(one.names),
                    "key": one.key,
                    "ca": one.is_ca,
                    "purposes": list(one.purposes),
                    "sha256": one.sha256,
                    "not_before": one.not_before.isoformat(),
                    "not_after": one.not_after.isoformat(),
                    "days_left": one.days_left(now),
                    "development": one.development,
                }
                for one in found
            ]
        )
        return
    for position, one in enumerate(found):
        if position:
            out("")
        kind = "CA" if one.is_ca else "leaf"
        rows = {
            "subject": one.subject or "(empty)",
            "issuer": f"{one.issuer} (itself)" if one.self_issued else one.issuer,
            "SANs": ", ".join(one.names) or "none",
            "key": one.key,
            "kind": f"{kind}, {'for ' + ', '.join(one.purposes) if one.purposes else 'for any purpose'}",
            "serial": one.serial,
            "SHA-256": one.sha256_colons,
            "valid": _validity(one, now),
        }
        for label, value in rows.items():
            out(f"{label:<9}{_printable(value)}")


@commands.command()
def make(
    directory: Annotated[Path, typer.Argument(help="Where to; made if it is missing.", file_okay=False)],
    name: Annotated[
        list[str] | None,
        typer.Option(help="A DNS name or IP address of the server certificate; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a development PKI: server CA and certificate, and a client certificate shaped like Meta's.

    Nothing is overwritten. `gateway check` refuses these certificates on a public address.
    """
    from gateway.simulator.pki import SERVER_NAMES, make_pki

    files = make_pki(directory, names=tuple(name) if name else SERVER_NAMES)
    meanings = {
        "server_ca": (files.server_ca, "what clients trust to reach the gateway"),
        "server_certificate": (files.server_certificate, "tls.certificate"),
        "server_key": (files.server_key, "tls.private_key"),
        "meta_ca": (files.meta_ca, "tls.clients.meta.trust_anchors"),
        "client_certificate": (files.client_certificate, "what Meta's stand-in presents"),
        "client_key": (files.client_key, "and its key"),
    }
    if as_json:
        out_json({key: str(path) for key, (path, _) in meanings.items()})
        return
    for path, meaning in meanings.values():
        out(f"{path}  {meaning}")
    err("for development only: check refuses these on a public address")


def _validity(one: "Description", now: datetime) -> str:
    if one.not_before > now:
        state = "not yet valid"
    elif one.not_after < now:
        state = "EXPIRED"
    else:
        state = f"{one.days_left(now)} days left"
    return f"{one.not_before:%Y-%m-%d %H:%M} to {one.not_after:%Y-%m-%d %H:%M} UTC, {state}"


def _printable(text: str) -> str:
    """A certificate's text is its maker's: no escape sequences of a stranger's on this terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
