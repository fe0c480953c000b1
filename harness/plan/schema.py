"""The JSON schema of a plan's file, for editors that check TOML; made from the models."""

from __future__ import annotations

from typing import Any

from harness.plan.backend_options import EXECUTION_AXES
from harness.plan.file import PlanFile
from harness.plan.request import AXES, PlanAxes

Schema = dict[str, Any]
_NULL = {"type": "null"}
_NONE = {"const": "none", "description": "TOML has no null."}
_REFERENCES = {name: {"$ref": f"#/$defs/{name}"} for name in ("axes", "combination", "execution")}


def plan_schema() -> Schema:
    """Return the schema: every key and axis with its range."""
    axes = {
        name: _axis(content)
        for name, content in PlanAxes.model_json_schema()["properties"].items()
        if name in AXES
    }
    several = {
        name: {"anyOf": [axis, {"type": "array", "items": axis, "minItems": 1}]}
        for name, axis in axes.items()
    }
    tables = {
        "axes": several,
        "combination": axes,
        "execution": {name: axes[name] for name in EXECUTION_AXES},
    }
    schema = PlanFile.model_json_schema()
    properties = {name: _key(content) for name, content in schema["properties"].items()}
    properties["matrix"] |= _REFERENCES["axes"]
    properties["backend"]["additionalProperties"] = _REFERENCES["execution"]
    for name in ("case", "include", "exclude"):
        properties[name]["items"] = _REFERENCES["combination" if name == "include" else "axes"]
    definitions = {
        name: {"type": "object", "properties": content, "additionalProperties": False}
        for name, content in tables.items()
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, **schema, "properties": properties, "$defs": definitions}


def _key(content: Schema) -> Schema:
    """Return the schema of an optional key, without the null that it has in Python."""
    kept = {
        name: value
        for name, value in content.items()
        if name not in {"title", "default", "anyOf", "gt", "le"}
    }
    kept |= next((branch for branch in content.get("anyOf", ()) if branch != _NULL), {})
    if kept.get("type") == "object" and kept.get("additionalProperties") is True:
        del kept["additionalProperties"]
    return kept


def _axis(content: Schema) -> Schema:
    """Return the schema of one value of an axis, as it is written in TOML."""
    kept = {name: value for name, value in content.items() if name not in {"title", "default"}}
    options = kept.pop("anyOf", None)
    if options is None:
        return {"type": "string"} if kept.get("pattern") else kept
    return {**kept, "anyOf": [_NONE if option == _NULL else option for option in options]}
