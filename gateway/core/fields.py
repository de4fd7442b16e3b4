"""The known webhook fields of each object, and what each means. Data, not law: unknown fields are welcome."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One webhook field of one object."""

    object: str
    name: str
    meaning: str
    """One sentence."""


FIELDS: tuple[Field, ...] = ()


def metric_field(object_: str, field: str) -> str:
    """Return the field if it is known for the object, else `other`: bounds the cardinality of metrics."""
    raise NotImplementedError


def metric_object(object_: str) -> str:
    """Return the object if it is known, else `other`."""
    raise NotImplementedError
