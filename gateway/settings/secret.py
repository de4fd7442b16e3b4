"""Secrets: `{env: NAME}` or `{file: PATH}`, read at load, shown nowhere (law 8)."""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gateway.errors import UsageError
from gateway.settings.reading import Reading, fault, read_named_file, read_path, read_text, reading

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HEADER_BYTES = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""RFC 9110 section 5.5: visible octets, spaces and tabs between them alone."""
_NO_SECRET: Final = (
    (re.compile(rb"[\r\n]"), "several lines"),
    (re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]"), "a control character"),
    (re.compile(rb"\A(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)"), "a byte order mark of Unicode"),
)
_HOW: Final = "write {env: NAME} or {file: PATH}; a secret never stands in the configuration itself"
SECRET_SHAPE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "pattern": f"^{_ENV_NAME.pattern}$"},
        "file": {"type": "string"},
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
"""The JSON Schema of a secret."""


class Secret:
    """A secret with its source, `{env: NAME}` or `{file: PATH}`; its value is in no repr or dump (law 8).

    Equal when source and value are equal (a reload compares them); not hashable.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: bytes, *, source: str) -> None:
        self._value = value
        self.source = source
        """`env NAME` or `file /PATH`: fit for messages."""

    def reveal(self) -> bytes:
        """Return the bytes, one trailing newline dropped; empty under `--without-secrets`."""
        return self._value

    @property
    def file(self) -> Path | None:
        """The file that it stands in; None where it comes from the environment."""
        kind, _, name = self.source.partition(" ")
        return Path(name) if kind == "file" else None

    def __repr__(self) -> str:
        return f"Secret({self.source})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.source == other.source and hmac.compare_digest(self._value, other.reveal())

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            read_secret, serialization=core_schema.to_string_ser_schema()
        )


def read_secret(value: object, info: ValidationInfo) -> Secret:
    """Read a secret from where the configuration says it is; what the file holds instead is never echoed."""
    if isinstance(value, Secret):
        return value
    if value is None:
        raise fault("has no value", _HOW)
    if not isinstance(value, dict) or len(value) != 1:
        raise fault("is not a reference to a secret", _HOW)
    match value:
        case {"env": name}:
            return _from_environment(name, info)
        case {"file": path}:
            return _from_file(path, info)
    raise fault("is not a reference to a secret", _HOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is that the serving process has no use for: read by the command that needs it, alone."""

    env: str = ""
    file: Path | None = None
    trouble: str = field(default="", compare=False)
    """Why it could not be read when the configuration was checked; it may be there when it is needed."""

    @property
    def source(self) -> str:
        """`env NAME` or `file /PATH`: fit for messages."""
        return f"env {self.env}" if self.file is None else f"file {self.file}"

    def read(self, environ: Mapping[str, str]) -> Secret:
        """Read it now.

        Raises:
            UsageError: it is not there, or is no secret.
        """
        context = Reading(base=Path.cwd(), environ=environ, with_secrets=True)
        plain = {"env": self.env} if self.file is None else {"file": str(self.file)}
        try:
            return _ANY_SECRET.validate_python(plain, context=context)
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)[0].get("ctx", {})
            raise UsageError(str(told.get("message", "")), remedy=str(told.get("remedy", ""))) from None

    def __str__(self) -> str:
        return self.source

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            read_reference, serialization=core_schema.to_string_ser_schema()
        )


def read_reference(value: object, info: ValidationInfo) -> SecretReference:
    """Read where a secret is; whether it is there is on record, and no fault."""
    match value:
        case SecretReference():
            return value
        case {"env": name, **rest} if not rest:
            reference = SecretReference(env=_env_name(name))
        case {"file": path, **rest} if not rest:
            _at("file", path)
            reference = SecretReference(file=read_path(path, info))
        case _:
            raise fault("is not a reference to a secret", _HOW)
    if not reading(info).with_secrets:
        return reference
    # Looked for, and not read: the serving process has no use for it, and shall not hold it for a moment.
    trouble = _missing(reference, reading(info).environ)
    return SecretReference(env=reference.env, file=reference.file, trouble=trouble)


def _missing(reference: SecretReference, environ: Mapping[str, str]) -> str:
    if reference.file is None:
        return "" if environ.get(reference.env) else f"the environment variable {reference.env} is not set"
    return "" if os.access(reference.file, os.R_OK) else f"{reference.file} cannot be read"


def read_again(secret: Secret, environ: Mapping[str, str]) -> Secret:
    """Read the one secret that a command needs, of a configuration that was loaded without them.

    Raises:
        UsageError: it is not there, or is no secret.
    """
    if secret.reveal():
        return secret
    name = "" if secret.file else secret.source.partition(" ")[2]
    return SecretReference(env=name, file=secret.file).read(environ)


def _env_name(name: object) -> str:
    if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
        # Not shown: whoever mistakes `env` for the place of the secret has written the secret here.
        raise fault(
            "is not the name of an environment variable", "use letters, digits and underscores", at=("env",)
        )
    return name


def _from_environment(value: object, info: ValidationInfo) -> Secret:
    name = _env_name(value)
    source = f"env {name}"
    if not reading(info).with_secrets:
        return Secret(b"", source=source)
    text = reading(info).environ.get(name)
    if text is None:
        raise fault(
            f"the environment variable {name} is not set", f"set {name}, or use {{file: PATH}}", at=("env",)
        )
    return _fit(Secret(_without_newline(text.encode("utf-8", "surrogateescape")), source=source), "env")


def _from_file(path: object, info: ValidationInfo) -> Secret:
    if not reading(info).with_secrets:
        text = _at("file", path)
        return Secret(b"", source=f"file {reading(info).base / text}")
    name, content = read_named_file(path, info)
    return _fit(Secret(_without_newline(content), source=f"file {name}"), "file")


def _at(key: str, value: object) -> str:
    """Read a text; its faults point at the key that holds it."""
    try:
        return read_text(value)
    except PydanticCustomError as error:
        context = error.context or {}
        raise fault(str(context.get("message")), str(context.get("remedy")), at=(key,)) from None


def _without_newline(content: bytes) -> bytes:
    """Drop one trailing newline, LF or CR LF: editors add it, and no one means it."""
    return content.removesuffix(b"\n").removesuffix(b"\r") if content.endswith(b"\n") else content


def _fit(secret: Secret, key: str) -> Secret:
    """Refuse what no secret of a configuration can be. Spaces at its ends are remarked elsewhere: they may be
    meant."""
    value = secret.reveal().strip()
    if not value:
        # An HMAC with an empty key can be forged by anyone.
        raise fault(f"the secret is empty ({secret.source})", "put the secret there", at=(key,))
    # Meta's are typed into its dashboard or copied from it, the others stand in headers: no line is broken in
    # any of them.
    what = next((what for pattern, what in _NO_SECRET if pattern.search(value)), None)
    if what is not None:
        raise fault(
            f"the secret ({secret.source}) holds {what}", "put the secret alone there, on one line", at=(key,)
        )
    return secret


def read_header_value(value: object, info: ValidationInfo) -> Secret | str:
    """Read the value of a header: plain text, or a secret; neither can smuggle a second header."""
    if isinstance(value, dict | Secret):
        secret = read_secret(value, info)
        if secret.reveal() and not _HEADER_BYTES.fullmatch(secret.reveal()):
            raise fault(
                f"the secret ({secret.source}) cannot stand in a header",
                "remove line breaks, control characters and spaces at its ends",
            )
        return secret
    text = read_text(value)
    if not text.isascii() or text != text.strip():
        raise fault("cannot stand in a header", "write ASCII without spaces at its ends")
    return text


def read_signing_secret(value: object, info: ValidationInfo) -> Secret:
    """Read a secret of Standard Webhooks: `whsec_` and base64, the prefix optional."""
    secret = read_secret(value, info)
    if reading(info).with_secrets and not _decoded(secret.reveal().removeprefix(b"whsec_")):
        raise fault(
            f"the secret ({secret.source}) is not one of Standard Webhooks",
            "write whsec_ and base64, made by: echo whsec_$(openssl rand -base64 32)",
        )
    return secret


def _decoded(text: bytes) -> bytes:
    """Decode base64, its padding optional as in Standard Webhooks' own libraries; empty where it is none."""
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""


_ANY_SECRET: Final = TypeAdapter(Secret)
