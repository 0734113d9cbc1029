"""Installed models."""

from typing import Annotated

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema
from werkzeug.datastructures import FileStorage

from indexer.model_registry import MAX_LOSS, Model
from web.schemas.fields import RequestModel


class ActivationOptions(RequestModel):
    """How much worse a model may be that is made the current one."""

    max_loss: float = Field(
        MAX_LOSS, ge=0, le=1, description="maximum decrease of MAP@R on the labelled photos; 1: without a comparison"
    )


def _stored_file(value: object) -> FileStorage:
    if isinstance(value, FileStorage):
        return value
    raise ValueError("must be a file with a name")


StoredFile = Annotated[
    FileStorage, PlainValidator(_stored_file), WithJsonSchema({"type": "string", "format": "binary"})
]


class NewModel(RequestModel):
    """A model to install."""

    bundle: StoredFile = Field(description="a ZIP archive of the folder of a bundle")


class Models(BaseModel):
    """The installed models, sorted by id."""

    models: list[Model]
    serves: str | None = Field(
        description="the model with which this server searches: the current one, unless LOOKALIKE_BUNDLE names "
        "another; null if there is none yet"
    )
