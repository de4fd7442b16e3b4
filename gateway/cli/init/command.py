"""`gateway init`: a configuration, certificates and secrets to start from."""

import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.output import out, out_json
from gateway.errors import UsageError

_SECRET_BYTES: Final = 32
"""256 bits of randomness: as long as the HMAC-SHA256 that the secret keys."""

_DEVELOPMENT_STEPS: Final = """\
Next:
  gateway --config {config} check
  gateway --config {config} run
and from another terminal, in Meta's part:
  gateway --config {config} send --field messages"""

_PRODUCTION_STEPS: Final = """\
Next, in the order that Meta demands. Until the last step the signature alone decides who may deliver;
every problem with a certificate is counted and logged, and nothing is refused for it. Run the commands as the
user that the gateway runs as; docs/getting-started.md has each step for a systemd service.

 1. Put a certificate of a public CA for your host name to {directory}/certs/fullchain.pem, and its
    key to {directory}/certs/privkey.pem, readable for the gateway's user. Meta refuses self-signed ones.
    In {directory}/gateway.yaml set listen.public_url to https://YOUR-HOST, and your targets and routes.
 2. Put the app secret (Meta's dashboard: App settings, Basic) into {directory}/secrets/app_secret
    (mode 0600).
 3. Download meta-outbound-api-ca-2025-12.pem from Meta's page "Graph API webhooks, getting started" to
    {directory}/certs/, and compare its SHA-256 with what Meta tells, over a second way if you can:
      gateway certs show {anchor}
 4. Start the gateway, reachable on port 443 of your host name. What is not yet delivered lies in
    /var/lib/meta-webhook-gateway, which has to be there and to belong to the gateway's user:
      gateway --config {config} check
      gateway --config {config} run
    Whatever goes wrong from here on, begin with this; it looks at the port as Meta sees it, too:
      gateway --config {config} doctor
 5. Verify the callback URL in the dashboard (Webhooks): the one that `gateway run` prints, which is
    listen.public_url and /webhooks/main, with the verify token in {directory}/secrets/verify_token.
    Meta demands this before mTLS can be switched on.
 6. Subscribe: the fields in the dashboard, and the app to each WhatsApp Business Account, with a system
    user's token in META_ACCESS_TOKEN:
      gateway --config {config} subscriptions subscribe --waba ID
    Send a message; it arrives at your target.
 7. Switch mTLS on in the dashboard ("Attach a client certificate to Webhook requests"), for each app and each
    object subscription.
 8. Watch for some hours, until every notification comes with an accepted certificate:
      meta_gateway_client_certificates_total{{presented="accepted"}} grows, "refused" and "none" do not.
    `gateway doctor` counts, shows who was refused and why, and says when it is safe to require.
 9. Set client_certificate: required in {directory}/gateway.yaml, and reload (SIGHUP).
    From now on only Meta gets in."""


def command(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to write; made where it is missing.")
    ] = Path(),
    production: Annotated[
        bool,
        typer.Option("--production", help="No development certificates; prints the steps that Meta demands."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was written, as JSON.")] = False,
) -> None:
    """Write DIR/gateway.yaml, certificates and secrets to start from. Nothing is ever overwritten."""
    if production:
        written = _write_production(directory)
        steps = _PRODUCTION_STEPS
    else:
        written = _write_development(directory)
        steps = _DEVELOPMENT_STEPS
    if json:
        out_json({"written": [str(path) for path in written]})
        return
    for path in written:
        out(f"wrote {path}")
    out("\n" + _fill_in(steps, directory))


def _fill_in(steps: str, directory: Path) -> str:
    """Write the paths into the steps: quoted where they stand in a command."""
    return steps.format(
        directory=directory,
        config=shlex.quote(str(directory / "gateway.yaml")),
        anchor=shlex.quote(str(directory / "certs" / "meta-outbound-api-ca-2025-12.pem")),
    )


def _write_development(directory: Path) -> list[Path]:
    from gateway.simulator.pki import PkiFiles, make_pki

    certs = PkiFiles.in_directory(directory / "certs")
    pki = list(certs.all)
    files = {
        directory / "gateway.yaml": (_template("development.yaml"), 0o644),
        directory / "secrets" / "app_secret": (_random_secret(), 0o600),
        directory / "secrets" / "verify_token": (_random_secret(), 0o600),
    }
    _refuse_to_overwrite([*files, *pki])
    with _our_words(directory):
        make_pki(directory / "certs")
        _write(files)
    return [*files, *pki]


def _write_production(directory: Path) -> list[Path]:
    files = {
        directory / "gateway.yaml": (_template("production.yaml"), 0o644),
        directory / "secrets" / "verify_token": (_random_secret(), 0o600),
    }
    _refuse_to_overwrite(list(files))
    with _our_words(directory):
        (directory / "certs").mkdir(parents=True, exist_ok=True)
        _write(files)
    return list(files)


def _template(name: str) -> str:
    return resources.files("gateway.cli.init").joinpath(name).read_text(encoding="utf-8")


def _random_secret() -> str:
    return secrets.token_hex(_SECRET_BYTES) + "\n"


def _refuse_to_overwrite(paths: list[Path]) -> None:
    """Look at every file before the first is written: either all come to be, or none."""
    standing = [path for path in paths if path.is_symlink() or path.exists()]
    if standing:
        raise UsageError(
            f"already there: {', '.join(str(path) for path in standing)}",
            remedy="nothing was written; name another directory, or move them away",
        )


@contextmanager
def _our_words(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename or directory} cannot be written: {error.strerror}",
            remedy="name a directory that you may write to",
        ) from error


def _write(files: Mapping[Path, tuple[str, int]]) -> None:
    for path, (text, mode) in files.items():
        # Secrets stand in a directory that nobody else may enter.
        path.parent.mkdir(mode=0o755 if mode == 0o644 else 0o700, parents=True, exist_ok=True)
        # O_EXCL: what has appeared since the check is not overwritten either.
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
        ) as file:
            file.write(text)
