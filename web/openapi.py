"""Completes APIFlask's OpenAPI document, and the page that shows it."""

from collections import Counter
from typing import Any

from apiflask import APIFlask
from flask import Blueprint, current_app, render_template, request
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from web.logs import REQUEST_ID
from web.problems import MEDIA_TYPE, PROBLEM_TYPES
from web.schemas.problems import Problem

blueprint = Blueprint("docs", __name__)

REFERENCES = "#/components/schemas/{model}"

# Responses that the server's settings can cause for any operation.
ANYWHERE = {
    "401": "A key is required, and missing or wrong",
    "429": "Too many requests (`LOOKALIKE_RATE_LIMIT`)",
    "503": "There is no model yet, or the index is unavailable",
}

# Without an optional parameter, openapi-python-client 0.29 generates invalid code for an operation of two media types.
REQUEST_ID_HEADER = {
    "name": REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "identifies the request in the server's log and in problem documents; generated if there is none",
    "schema": {"type": "string"},
}


IF_MATCH_HEADER = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "the `ETag` of the version that the client has seen; without it, any version is changed",
    "schema": {"type": "string"},
}


@blueprint.get("/api/docs")
def docs() -> str:
    """The document for people."""
    app: APIFlask = current_app  # type: ignore[assignment]
    return render_template("docs.html", spec=app.spec, problem_types=PROBLEM_TYPES)


def complete(spec: Any) -> Any:
    """Add what APIFlask leaves out.

    Errors are problem documents, photos are identified by UUIDs, and a form may have a JSON alternative. Operations are
    sorted by tag, each tag is listed once, each schema has one name, and each operation an id.
    """
    _add_schema(spec, Problem)
    _add_json_bodies(spec)
    for path in spec["paths"].values():
        for operation in path.values():
            _complete(operation)
    spec["components"]["schemas"] = {_short(name): schema for name, schema in spec["components"]["schemas"].items()}
    _shorten_references(spec)
    _describe_responses(spec)
    spec["components"]["schemas"].pop("HTTPError", None)  # of APIFlask; errors are problem documents
    _drop_wrong_defaults(spec)
    _number_operations(spec)
    tags = list(dict.fromkeys(tag["name"] for tag in spec["tags"]))
    spec["tags"] = [{"name": tag} for tag in tags]
    spec["paths"] = dict(sorted(spec["paths"].items(), key=lambda path: tags.index(_tag(path[1]))))
    spec["servers"] = [{"url": request.script_root or "/"}]
    return spec


def _drop_wrong_defaults(node: Any) -> None:
    """Drop defaults that are not of the type of their schema: null for an optional field, an object for its text."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _drop_wrong_defaults(child)
    if isinstance(node, dict) and "default" in node:
        is_text = isinstance(node["default"], str)
        if (node["default"] is None and "type" in node) or (node.get("type") == "string" and not is_text):
            del node["default"]


def _number_operations(spec: dict[str, Any]) -> None:
    """Make the id of an operation that has several paths unique."""
    seen = Counter[str]()
    for path in spec["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            seen[name] += 1
            if seen[name] > 1:
                operation["operationId"] = f"{name}{seen[name]}"


def _describe_responses(spec: dict[str, Any]) -> None:
    """Describe the models of responses as they are sent: with computed fields, which APIFlask leaves out."""
    for view in current_app.view_functions.values():
        model = getattr(view, "_spec", {}).get("response", {}).get("schema")
        if isinstance(model, type) and issubclass(model, BaseModel):
            _add_schema(spec, model, "serialization")


def _add_json_bodies(spec: dict[str, Any]) -> None:
    """Document `Blueprint.input(…, or_json=…)`."""
    for rule in current_app.url_map.iter_rules():
        if model := getattr(current_app.view_functions[rule.endpoint], "or_json", None):
            operation = spec["paths"][rule.rule]["post"]
            operation["requestBody"]["content"]["application/json"] = {"schema": _add_schema(spec, model)}
            operation["parameters"].append(REQUEST_ID_HEADER)


def _add_schema(spec: dict[str, Any], model: type[BaseModel], mode: JsonSchemaMode = "validation") -> dict[str, str]:
    """Add the schema of a model and of those that it contains; return the reference to it."""
    spec["components"]["schemas"] |= models_json_schema([(model, mode)], ref_template=REFERENCES)[1]["$defs"]
    return _reference(model.__name__)


def _complete(operation: dict[str, Any]) -> None:
    has_reasons = "503" in operation["responses"]
    anywhere = {status: {"description": description} for status, description in ANYWHERE.items()}
    operation["responses"] = anywhere | operation["responses"]
    for status, response in operation["responses"].items():
        if status == "503" and has_reasons:
            response["content"] = operation["responses"]["200"]["content"]
        elif status.startswith(("4", "503")):
            response["content"] = {MEDIA_TYPE: {"schema": _reference("Problem")}}
    if "412" in operation["responses"]:
        operation["parameters"].append(IF_MATCH_HEADER)
    for parameter in operation["parameters"]:
        if parameter["name"] == "photo":
            parameter["schema"]["format"] = "uuid"
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True


def _shorten_references(node: Any) -> None:
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _shorten_references(child)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        node |= _reference(_short(node["$ref"].rpartition("/")[2]))


def _reference(name: str) -> dict[str, str]:
    return {"$ref": REFERENCES.format(model=name)}


def _short(name: str) -> str:
    """`Job` for `Jobs.Job`, as APIFlask calls a schema that another one contains."""
    return name.rpartition(".")[2]


def _tag(path: dict[str, Any]) -> str:
    operation = next(iter(path.values()))
    return str(operation["tags"][0])
