"""Define the base class of all settings and the types that several sections share."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Modes = Annotated[tuple[str, ...], Field(min_length=1)]


class Settings(BaseModel):
    """Base of all settings: unknown keys, booleans in place of numbers, infinity and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_boolean_is_a_number(cls, values: Any) -> Any:
        # pydantic would read true as 1, and YAML reads yes and on as true.
        for name, field in cls.model_fields.items() if isinstance(values, dict) else ():
            kinds = _kinds(field.annotation)
            if kinds & {int, float} and bool not in kinds and _has_boolean(values.get(name)):
                raise PydanticCustomError(
                    "boolean", "must be a number; YAML reads yes, no, on and off as true and false", {"key": name}
                )
        return values


def _kinds(annotation: Any) -> set[Any]:
    """Return all types in an annotation, at any depth."""
    return {annotation}.union(*map(_kinds, get_args(annotation))) if get_args(annotation) else {annotation}


def _has_boolean(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_boolean, value.values()))
    return any(map(_has_boolean, value)) if isinstance(value, list | tuple) else isinstance(value, bool)
