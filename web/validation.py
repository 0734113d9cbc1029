"""Requests checked by the same pydantic models that the OpenAPI document shows."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict

Model = TypeVar("Model", bound=BaseModel)


class InvalidRequest(Exception):
    """A request whose fields are wrong.

    Args:
        status: 400 for a body that is no JSON, otherwise 422.
        errors: for each wrong field its name (empty: the request as a whole) and what is wrong with it.
    """

    def __init__(self, status: int, errors: list[dict[str, str]]) -> None:
        super().__init__(errors)
        self.status = status
        self.errors = errors


def check_fields(model: type[Model], fields: MultiDict[str, str], **more: object) -> Model:
    """A model from text fields of a query string or form; a field whose type is a list may be repeated.

    Args:
        model: the model.
        fields: the text fields.
        **more: fields that are no text, uploaded files for example.

    Raises:
        InvalidRequest: a field is missing, unknown or wrong.
    """
    # A field that is given twice and no list stays a list, which its type then refuses.
    values = {name: given if _is_list(model, name) or len(given) > 1 else given[0] for name, given in fields.lists()}
    try:
        return model.model_validate(values | more)
    except ValidationError as error:
        raise InvalidRequest(422, _errors(error)) from None


def check_form(model: type[Model]) -> Model:
    """A model from the fields and files of the current request's form; raises as `check_fields`."""
    return check_fields(model, request.form, **{name: file.read() for name, file in request.files.items()})


def check_json(model: type[Model]) -> Model:
    """A model from the current request's JSON body, its types taken strictly.

    Raises:
        InvalidRequest: the body is no JSON, or a field is missing, unknown or wrong.
    """
    try:
        return model.model_validate_json(request.get_data(), strict=True)
    except ValidationError as error:
        is_json = error.errors()[0]["type"] != "json_invalid"
        raise InvalidRequest(422 if is_json else 400, _errors(error)) from None


class RepeatedFieldsAdapter(PydanticAdapter):
    """APIFlask's adapter for pydantic, which by itself keeps only the first of a repeated query parameter."""

    def validate_input(self, request: Request, location: str, **kwargs: Any) -> BaseModel:
        """The model from the query string, the only location that this application declares."""
        return check_fields(self.model_class, request.args)


# Routes bind to their adapter when they are declared, so that this comes with the import.
registry.register("pydantic", RepeatedFieldsAdapter)


def _is_list(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) in (list, tuple)


def _errors(error: ValidationError) -> list[dict[str, str]]:
    return [{"field": _name(problem), "message": _sentence(problem)} for problem in error.errors()]


def _name(problem: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _sentence(problem: Mapping[str, Any]) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")
