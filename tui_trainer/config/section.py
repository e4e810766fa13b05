"""What the groups of settings in `schema` and `study` are made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tui_trainer.config.plain import plain_mapping, plain_text

LARGEST_COUNT = 2**31 - 1

Mode = Literal["min", "max"]
Text = Annotated[str, Field(min_length=1), AfterValidator(plain_text)]
Args = Annotated[dict[str, Any], AfterValidator(plain_mapping)]


def setting(default: Any = ..., *, affects_results: bool = True, **limits: Any) -> Any:
    """A field with its default and limits (`ge`, `gt`, `le`, `lt`, `min_length` …).

    `affects_results=False`: another value trains the same model, so gates and resuming do not ask for it.
    """
    extra: dict[str, Any] = {"affects_results": affects_results}
    if isinstance(default, (dict, list)):
        extra["default"] = copy.deepcopy(default)  # a factory's value would be missing in the JSON schema
        return Field(default_factory=lambda: copy.deepcopy(default), json_schema_extra=extra, **limits)
    return Field(default, json_schema_extra=extra, **limits)


def section(of: type[BaseModel], *, affects_results: bool = True) -> Any:
    """A group of settings; where the config leaves it out, all of them have their defaults."""
    return Field(default_factory=of, json_schema_extra={"affects_results": affects_results})


class Section(BaseModel):
    """What all groups share: unknown keys refused, no silent conversions, no NaN or infinity, immutable."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class TargetConfig(Section):
    """Something pluggable: a built-in name or an import path, and the keyword arguments it is called with."""

    default_args: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Arguments that a built-in gets where the config does not give them, by its name."""

    target: Text
    """A built-in name, or an import path `package.module:attribute`."""
    args: Args = setting({})
    """Keyword arguments for the target."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_default_args(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("args", {}), Mapping):
            return given
        target = given.get("target", cls.model_fields["target"].default)
        usual = cls.default_args.get(target, {}) if isinstance(target, str) else {}
        return {**given, "args": {**copy.deepcopy(dict(usual)), **given.get("args", {})}}


TargetRef = Text | TargetConfig


def target_of(reference: str | TargetConfig) -> TargetConfig:
    """A reference in its long form: a bare name becomes a target without arguments."""
    return TargetConfig(target=reference) if isinstance(reference, str) else reference
