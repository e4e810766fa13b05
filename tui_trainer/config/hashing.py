"""Which settings decide what is trained, and one hash of them: what gates and resuming compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config


def result_fields(config: Config) -> dict[str, Any]:
    """The settings that affect results, nested as in the YAML."""
    return _result_fields(config)


def config_hash(config: Config) -> str:
    """SHA-256, in hexadecimal, of the settings that affect results."""
    text = json.dumps(
        _canonical(result_fields(config)), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def differing_keys(a: Config, b: Config) -> list[str]:
    """Dotted keys of the settings that affect results and differ between two configs, in the schema's
    order."""
    return list(_differences(result_fields(a), result_fields(b), ""))


def _result_fields(group: BaseModel) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in type(group).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and not extra.get("affects_results", True):
            continue
        fields[field.alias or name] = _plain(getattr(group, name))
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _result_fields(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _canonical(value: Any) -> Any:
    """`value` with every mapping as a mapping of JSON texts, so that the keys 1 and "1" stay apart."""
    if isinstance(value, Mapping):
        return {json.dumps(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def _differences(a: Any, b: Any, prefix: str) -> Iterator[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            path = f"{prefix}.{key}" if prefix else str(key)
            if key not in a or key not in b:
                yield path
            else:
                yield from _differences(a[key], b[key], path)
    elif json.dumps(_canonical(a), sort_keys=True) != json.dumps(_canonical(b), sort_keys=True):
        yield prefix
