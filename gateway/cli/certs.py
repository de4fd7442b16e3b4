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
    help="Show a certificate file, or make a development PKI, and issue and revoke in it.",
    no_args_is_help=True,
    add_completion=False,
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
        "issuing_ca": (files.issuing_ca, "who issued it: gateway certs issue and revoke use it"),
        "issuing_key": (files.issuing_key, "and its key"),
    }
    if as_json:
        out_json({key: str(path) for key, (path, _) in meanings.items()})
        return
    for path, meaning in meanings.values():
        out(f"{path}  {meaning}")
    err("for development only: check refuses these on a public address")


@commands.command()
def issue(
    directory: Annotated[Path, typer.Argument(help="A development PKI.", exists=True, file_okay=False)],
    name: Annotated[str, typer.Argument(help="Of the files: NAME.pem and NAME.key in DIRECTORY.")],
    common_name: Annotated[
        str | None, typer.Option("--common-name", help="Default: the name that Meta's certificates have.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long it is valid.")] = 397,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Issue one more client certificate in a development PKI.

    To try what another name, a rotation or a revocation does: gateway send --cert NAME.pem --key NAME.key
    presents it.
    """
    from gateway.simulator.authorities import issue_client
    from gateway.simulator.pki import META_CLIENT_NAME

    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r:.80} is no name of a file", remedy="give it without directories")
    certificate, key = issue_client(directory, name, common_name=common_name or META_CLIENT_NAME, days=days)
    if as_json:
        out_json({"certificate": str(certificate), "key": str(key)})
        return
    out(f"{certificate}  leaf and intermediate")
    out(f"{key}  and its key")


@commands.command()
def revoke(
    directory: Annotated[Path, typer.Argument(help="A development PKI.", exists=True, file_okay=False)],
    certificate: Annotated[
        Path, typer.Argument(help="A client certificate that it has issued.", exists=True, dir_okay=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a client certificate of a development PKI on its revocation list, and sign that anew.

    The list is DIRECTORY/revoked.pem; the gateway reads it once tls.clients.NAME.revocation_lists names it,
    and takes up each new one by itself.
    """
    from gateway.simulator.authorities import revoke_client

    path, count = revoke_client(directory, certificate)
    if as_json:
        out_json({"revocation_list": str(path), "revoked": count})
        return
    out(f"{path}  revokes {count}: name it under tls.clients.meta.revocation_lists")


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
