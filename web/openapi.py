"""What APIFlask's OpenAPI document lacks, and the page that shows it."""

from typing import Any

from apiflask import APIFlask
from flask import Blueprint, current_app, render_template, request
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web.problems import MEDIA_TYPE, Problem
from web.schemas import API, IndexedMatch, NewJob, NewPhoto, Query, UploadedMatch, UploadedPhoto

blueprint = Blueprint("docs", __name__)

REFERENCES = "#/components/schemas/{model}"

# What a POST takes.
BODIES: dict[str, dict[str, type[BaseModel]]] = {
    f"{API}/search": {"multipart/form-data": UploadedPhoto, "application/json": Query},
    f"{API}/explain": {"multipart/form-data": UploadedMatch, "application/json": IndexedMatch},
    f"{API}/images": {"multipart/form-data": NewPhoto},
    f"{API}/jobs": {"application/json": NewJob},
}

# What any call may be answered, where the server is set up so.
ANYWHERE = {
    "401": "A key is missing or wrong (LOOKALIKE_API_KEYS, LOOKALIKE_READS_NEED_KEY)",
    "429": "Too many requests (LOOKALIKE_RATE_LIMIT)",
}


@blueprint.get("/api/docs")
def docs() -> str:
    """The document for people."""
    app: APIFlask = current_app  # type: ignore[assignment]
    return render_template("docs.html", spec=app._get_spec())


def complete(spec: Any) -> Any:
    """Say that errors are problem documents, that photos are named by UUIDs, and what the calls with a body take.

    Calls stand in the order of their tags, and each tag once.
    """
    models: list[type[BaseModel]] = [Problem, *(model for of_path in BODIES.values() for model in of_path.values())]
    schemas = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCES)[1]
    spec["components"]["schemas"] |= schemas["$defs"]
    for path in spec["paths"].values():
        for operation in path.values():
            _complete(operation)
    tags = list(dict.fromkeys(tag["name"] for tag in spec["tags"]))
    spec["tags"] = [{"name": tag} for tag in tags]
    spec["paths"] = dict(sorted(spec["paths"].items(), key=lambda path: tags.index(_tag(path[1]))))
    for path, of_path in BODIES.items():
        content = {media_type: {"schema": _reference(model.__name__)} for media_type, model in of_path.items()}
        spec["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    spec["servers"] = [{"url": request.script_root or "/"}]
    return spec


def _complete(operation: dict[str, Any]) -> None:
    operation["responses"] |= {status: {"description": description} for status, description in ANYWHERE.items()}
    for status, response in operation["responses"].items():
        if status.startswith("4"):
            response["content"] = {MEDIA_TYPE: {"schema": _reference("Problem")}}
        elif status == "503":
            response["content"] = operation["responses"]["200"]["content"]
    for parameter in operation["parameters"]:
        if parameter["name"] == "photo":
            parameter["schema"]["format"] = "uuid"


def _tag(path: dict[str, Any]) -> str:
    operation = next(iter(path.values()))
    return str(operation["tags"][0])


def _reference(model: str) -> dict[str, str]:
    return {"$ref": REFERENCES.format(model=model)}
