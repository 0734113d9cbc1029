"""What APIFlask's OpenAPI document lacks, and the page that shows it."""

from typing import Any

from apiflask import APIFlask
from flask import Blueprint, current_app, render_template
from pydantic.json_schema import models_json_schema

from web.problems import MEDIA_TYPE, Problem
from web.schemas import API, Query, UploadedPhoto

blueprint = Blueprint("docs", __name__)

REFERENCES = "#/components/schemas/{model}"


@blueprint.get("/api/docs")
def docs() -> str:
    """The document for people."""
    app: APIFlask = current_app  # type: ignore[assignment]
    return render_template("docs.html", spec=app._get_spec())


def complete(spec: Any) -> Any:
    """Say that errors are problem documents, that photos are named by UUIDs, and what a search takes."""
    schemas = models_json_schema(
        [(model, "validation") for model in (Query, UploadedPhoto, Problem)], ref_template=REFERENCES
    )[1]
    spec["components"]["schemas"] |= schemas["$defs"]
    for path in spec["paths"].values():
        for operation in path.values():
            _complete(operation)
    spec["paths"][f"{API}/search"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _reference("UploadedPhoto")},
            "application/json": {"schema": _reference("Query")},
        },
    }
    return spec


def _complete(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if status.startswith("4"):
            response["content"] = {MEDIA_TYPE: {"schema": _reference("Problem")}}
        elif status == "503":
            response["content"] = operation["responses"]["200"]["content"]
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter["schema"]["format"] = "uuid"


def _reference(model: str) -> dict[str, str]:
    return {"$ref": REFERENCES.format(model=model)}
