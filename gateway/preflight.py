"""What `check` and `run` look at beyond the configuration itself: the files and directories that it names.

Nothing is created, nothing is connected to.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.x509 import Certificate

from gateway.errors import ConfigurationError, Problem
from gateway.settings.load import KeyPath, Loaded, load_settings
from gateway.settings.model import Settings, TargetTls
from gateway.settings.remainder import load_remainder
from gateway.settings.remarks import remarks_settings, secrets_of
from gateway.spool.succession import left_behind
from gateway.tls.certificate import CertificateFileError, describe, read_certificates, read_private_key
from gateway.tls.material import MaterialProblem, examine_tls
from gateway.tls.names import covers
from gateway.tls.remarks import is_open_to_all, open_to_all, remark_open_key, remarks_tls

Found = tuple[KeyPath, str, str]
"""Where, what is wrong, what to do."""


def load_and_examine(
    path: Path, *, environ: Mapping[str, str], with_secrets: bool = True, content: bytes | None = None
) -> tuple[Loaded | None, tuple[Problem, ...]]:
    """Load a configuration and look at the files that it names; return every problem of both.

    What is wrong in the file hides nothing else: the rest is examined all the same. What is loaded may be
    used only where there is no problem; it is None where more than secrets and lists of ids was wrong.
    `content` is read in place of the file.
    """
    try:
        loaded = load_settings(path, environ=environ, with_secrets=with_secrets, content=content)
    except ConfigurationError as error:
        try:
            loaded = load_settings(
                path, environ=environ, with_secrets=False, with_lists=False, content=content
            )
        except ConfigurationError:
            rest = load_remainder(path, environ=environ, content=content)
            found = _examine_remainder(rest, error.problems, with_keys=with_secrets)
            return None, _in_order((*error.problems, *found))
        return loaded, _in_order((*error.problems, *examine(loaded, with_keys=with_secrets)))
    return loaded, examine(loaded, with_keys=with_secrets)


def _examine_remainder(
    loaded: Loaded | None, known: tuple[Problem, ...], *, with_keys: bool
) -> Iterator[Problem]:
    """Look at the files that the sound part of a file names; nothing is complained of twice."""
    if loaded is None:
        return
    told = {problem.key_path for problem in known}
    for problem in examine(loaded, with_keys=with_keys):
        if problem.key_path not in told:
            yield problem


def examine(loaded: Loaded, *, with_keys: bool = True) -> tuple[Problem, ...]:
    """Return every problem that keeps the gateway from starting, in order of position.

    Args:
        loaded: The configuration.
        with_keys: False leaves private keys alone, for machines that do not have them (`--without-secrets`).
    """
    settings = loaded.settings
    material = examine_tls(settings.tls, address=settings.listen.address, with_key=with_keys)
    found = [
        *_found(material),
        *_examine_targets(settings, with_keys=with_keys),
        *_examine_directories(settings),
        *_examine_shared_spool(settings),
    ]
    return _placed(loaded, found)


def remarks(loaded: Loaded, *, with_keys: bool = True) -> tuple[Problem, ...]:
    """Return what is worth a look and keeps nothing from working, such as a certificate that ends soon.

    Args:
        loaded: The configuration.
        with_keys: False leaves private keys alone.
    """
    settings = loaded.settings
    found = _found(remarks_tls(settings.tls, with_key=with_keys))
    found += remarks_settings(loaded)
    found += _remark_public_name(settings)
    found += _found(_remark_open_files(settings, with_keys=with_keys))
    found += _remark_left_spool(settings)
    found += _remark_open_database(settings)
    return _placed(loaded, found)


def _examine_shared_spool(settings: Settings) -> Iterator[Found]:
    """See that PostgreSQL could be spoken to; whether it is there is seen at the start."""
    if settings.spool.engine != "postgresql" or settings.spool.dsn is None:
        return
    try:
        from gateway.spool.postgresql.dsn import check_dsn, missing_files
    except ImportError as error:
        from gateway.spool.opening import not_installed

        told = not_installed(error)
        yield ("spool", "engine"), told.message, told.remedy
        return
    if fault := check_dsn(settings.spool.dsn):
        yield (
            ("spool", "dsn"),
            f"{fault} ({settings.spool.dsn.source})",
            "write postgresql://USER:PASSWORD@HOST/DATABASE there, with %40 for an @ in the password",
        )
        return
    for key, path in missing_files(settings.spool.dsn):
        yield (
            ("spool", "dsn"),
            f"{key} ({settings.spool.dsn.source}): there is no file {path}",
            "write the whole path of a file that the gateway's user may read",
        )


def _remark_open_database(settings: Settings) -> Iterator[Found]:
    """Look whether others could read, or be, the database."""
    if settings.spool.engine != "postgresql" or settings.spool.dsn is None:
        return
    try:
        from gateway.spool.postgresql.dsn import check_dsn, doubt_about_tls
    except ImportError:
        return  # a problem, not a remark: examine says it
    doubt = "" if check_dsn(settings.spool.dsn) else doubt_about_tls(settings.spool.dsn)
    if doubt:
        yield (
            ("spool", "dsn"),
            f"{doubt} ({settings.spool.dsn.source})",
            "add sslmode=verify-full and sslrootcert=FILE, with the CA of the server (public ones: "
            "/etc/ssl/certs/ca-certificates.crt)",
        )


def _remark_left_spool(settings: Settings) -> Iterator[Found]:
    """Notice what a gateway with another engine has left where nobody delivers from it any more."""
    if left := left_behind(settings.spool):
        yield ("spool", "directory"), left.message, left.remedy


def _remark_public_name(settings: Settings) -> Iterator[Found]:
    """Meta compares the host of the callback URL with the names of the server certificate."""
    url = settings.listen.public_url
    if url is None:
        return
    try:
        names = describe(read_certificates(settings.tls.certificate)[0]).names
    except CertificateFileError:
        return  # a problem, not a remark: examine says it
    host = urlsplit(url).hostname or ""
    if not covers(names, host):
        named = ", ".join(names) or "it has none"
        yield (
            ("listen", "public_url"),
            f"{host} is none of the names in {settings.tls.certificate} ({named})",
            f"Meta refuses the connection: get a certificate for {host}, or correct the URL",
        )


def _remark_open_files(settings: Settings, *, with_keys: bool) -> Iterator[MaterialProblem]:
    """Look at the files of secrets, each once, and at the keys that targets are shown."""
    told: set[Path] = set()
    for path, secret in secrets_of(settings):
        if secret.file is not None and secret.file not in told and is_open_to_all(secret.file):
            told.add(secret.file)
            yield open_to_all(secret.file, path)
    for name, target in settings.targets.items() if with_keys else ():
        if target.tls is not None and target.tls.private_key is not None:
            yield from remark_open_key(target.tls.private_key, ("targets", name, "tls", "private_key"))


def _found(material: Iterable[MaterialProblem]) -> list[Found]:
    return [(one.key_path, one.message, one.remedy) for one in material]


def _placed(loaded: Loaded, found: Iterable[Found]) -> tuple[Problem, ...]:
    return _in_order(loaded.source.problem(path, message, remedy=remedy) for path, message, remedy in found)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def _examine_targets(settings: Settings, *, with_keys: bool) -> Iterator[Found]:
    for name, target in settings.targets.items():
        if target.tls is not None:
            yield from _examine_target_tls(target.tls, ("targets", name, "tls"), with_keys=with_keys)


def _examine_target_tls(tls: TargetTls, path: KeyPath, *, with_keys: bool) -> Iterator[Found]:
    """Look at the CA file and at the pair that the gateway presents to one target."""
    chain: tuple[Certificate, ...] = ()
    private_key = None
    try:
        if tls.ca is not None:
            read_certificates(tls.ca)
    except CertificateFileError as error:
        yield (*path, "ca"), error.message, error.remedy
    try:
        if tls.certificate is not None:
            chain = read_certificates(tls.certificate)
    except CertificateFileError as error:
        yield (*path, "certificate"), error.message, error.remedy
    try:
        if tls.private_key is not None and with_keys:
            private_key = read_private_key(tls.private_key)
    except CertificateFileError as error:
        yield (*path, "private_key"), error.message, error.remedy
    if chain and private_key is not None and private_key.public_key() != chain[0].public_key():
        yield (
            (*path, "private_key"),
            f"{tls.private_key} is not the private key of {tls.certificate}",
            "name the certificate and the key that were issued together",
        )


def _examine_directories(settings: Settings) -> Iterator[Found]:
    """Can the spool, what stands beside it (token, seal key, audit log), and the dead letters be written?"""
    for key_path, directories in (
        (("spool", "directory"), (settings.spool.directory.parent, settings.spool.directory)),
        (("dead_letter", "directory"), (settings.dead_letter.directory,)),
    ):
        trouble = next(filter(None, map(_trouble_with, directories)), None)
        if trouble is not None:
            yield key_path, trouble, "name a directory that the gateway's user may make and write to"


def _trouble_with(directory: Path) -> str | None:
    """Say why a directory could not be made or written to."""
    nearest = directory
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return f"{nearest} stands in the way: it is not a directory"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} cannot be written to"
    return None
