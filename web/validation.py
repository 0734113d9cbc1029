"""Requests validated by the pydantic models that the OpenAPI document shows."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast, get_origin

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from web.large_file import expect_large_file

Model = TypeVar("Model", bound=BaseModel)
View = TypeVar("View", bound=Callable[..., Any])


class Blueprint(APIBlueprint):
    """APIFlask's blueprint with inputs that pydantic validates strictly.

    APIFlask's adapter for pydantic keeps only the first value of a repeated query parameter, ignores unknown files and
    converts JSON values to the expected types. So APIFlask's `input` is used for the OpenAPI document only.
    """

    def input(
        self,
        schema: Any,
        location: str = "json",
        arg_name: str | None = None,
        *args: Any,
        or_json: type[BaseModel] | None = None,
        large_file: bool = False,
        **options: Any,
    ) -> Callable[[View], View]:
        """Validate the request and pass it to the view as `arg_name`, by default `{location}_data`.

        Args:
            location: "query", "form_and_files" or "json".
            or_json: for a form, the model of a request whose body is JSON instead.
            large_file: whether the form has a file that `web.large_file` stores on disk.

        Raises:
            InvalidRequest: if a field is missing, unknown or wrong.
            UnsupportedMediaType: if the body is of another media type.
        """
        document = super().input(schema, location, arg_name, *args, **options)
        models = {location: schema} | ({"json": or_json} if or_json else {})

        def decorator(view: View) -> View:
            @wraps(document(view))  # takes over what APIFlask's document needs
            def validated(*args: Any, **kwargs: Any) -> Any:
                if large_file:
                    expect_large_file()
                return view(*args, **kwargs, **{arg_name or f"{location}_data": _validate(models)})

            validated.or_json = or_json  # type: ignore[attr-defined]
            return cast(View, validated)

        return decorator


class InvalidRequest(Exception):
    """A request whose fields are wrong.

    Args:
        status: 400 for a body that is not JSON, otherwise 422.
        errors: for each wrong field its name (empty: the request as a whole) and what is wrong with it.
    """

    def __init__(self, status: int, errors: list[dict[str, str]]) -> None:
        super().__init__(errors)
        self.status = status
        self.errors = errors


def check_fields(model: type[Model], fields: MultiDict[str, str], **files: object) -> Model:
    """Validate the text fields of a query string or form, and the content of files; a list field may be repeated.

    Raises `InvalidRequest` if a field is missing, unknown or wrong.
    """
    # A field that is given twice but is not a list stays a list, which its type then refuses.
    values = {name: given if _is_list(model, name) or len(given) > 1 else given[0] for name, given in fields.lists()}
    try:
        return model.model_validate(values | files)
    except ValidationError as error:
        raise InvalidRequest(422, _errors(error)) from None


def _validate(models: Mapping[str, type[BaseModel]]) -> BaseModel:
    """Validate the current request as the model of its location."""
    if "query" in models:
        return check_fields(models["query"], request.args)
    for location, model in models.items():
        media_type, check = BODIES[location]
        if request.mimetype == media_type:
            return check(model)
    raise UnsupportedMediaType(f"The body must be {' or '.join(BODIES[location][0] for location in models)}.")


def _check_form(model: type[Model]) -> Model:
    sent: dict[str, object] = {}
    for name, files in request.files.lists():
        if len(files) > 1 and not _is_list(model, name):
            raise InvalidRequest(422, [{"field": name, "message": f"{len(files)} files were sent; send one"}])
        contents = files if _is_stored(model, name) else [file.read() for file in files]
        sent[name] = contents if _is_list(model, name) else contents[0]
    return check_fields(model, request.form, **sent)


def _check_json(model: type[Model]) -> Model:
    try:
        return model.model_validate_json(request.get_data(), strict=True)
    except ValidationError as error:
        is_json = error.errors()[0]["type"] != "json_invalid"
        raise InvalidRequest(422 if is_json else 400, _errors(error)) from None


BODIES = {"form_and_files": ("multipart/form-data", _check_form), "json": ("application/json", _check_json)}


def _is_list(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) in (list, tuple)


def _is_stored(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and field.annotation is FileStorage


def _errors(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"field": _name(problem["loc"]), "message": problem["msg"].removeprefix("Value error, ")}
        for problem in error.errors()
    ]


def _name(place: tuple[int | str, ...]) -> str:
    """The name of a field: `queries.3.k`. Pydantic repeats a name that tells the kind of an object."""
    parts = [part for at, part in enumerate(place) if isinstance(part, int) or place[at - 1 : at] != (part,)]
    return ".".join(map(str, parts))
