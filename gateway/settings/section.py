"""What every section of the file is made of."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen; an unknown key is an error; a complaint never echoes what was written."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
    )
