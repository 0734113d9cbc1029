"""Photos that are added, changed and removed."""

import json
import uuid
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from indexer.corrections import PhotoChange
from retrieval import formats
from retrieval.labels import composed
from retrieval.photo_ref import Extra, display
from web.schemas.fields import MAX_BATCH, Height, Label, RequestModel, ShownPath, Uri, Width
from web.schemas.problems import Problem


def _new_label(label: str) -> str:
    """A label as it is stored; raises `ValueError` if it is blank."""
    name = composed(label)
    if not name:
        raise ValueError("must not be blank")
    return name


def _parsed(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("is not JSON") from None


def _value(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Return the value of a column; the error says what it may be, and not why it is none of the types."""
    try:
        return check(given)
    except ValidationError:
        raise ValueError(
            "give text of at most 10,000 characters, a number from -2^53 to 2^53, true, false or null, or a list of at "
            "most 1,000 texts, numbers and flags"
        ) from None


NewLabel = Annotated[Label, AfterValidator(_new_label)]
ColumnName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(display)]
ColumnText = Annotated[str, Field(max_length=10_000), AfterValidator(display)]
ColumnNumber = Annotated[float, Field(ge=-(2**53), le=2**53, allow_inf_nan=False)]
ColumnInteger = Annotated[int, Field(ge=-(2**53), le=2**53)]
OneColumnValue = bool | ColumnInteger | ColumnNumber | ColumnText
ColumnValue = OneColumnValue | Annotated[list[OneColumnValue], Field(max_length=1000)]
ColumnValues = Annotated[dict[ColumnName, Annotated[ColumnValue | None, WrapValidator(_value)]], Field(max_length=200)]
ColumnsText = Annotated[
    ColumnValues | list[ColumnValues],
    BeforeValidator(_parsed),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]


class PhotoToStore(RequestModel):
    """Store a photo."""

    image: bytes = Field(description=f"a {formats.LISTED} file")
    label: NewLabel | SkipJsonSchema[None] = Field(None, description="its label; by default it has none")


class StoredPhoto(BaseModel):
    """A photo that is stored on the server, and not indexed by that."""

    folder: str = Field(
        description="on the server, a source for a job: of stored photos with labels, or of those without"
    )
    sha256: str = Field(description="of its file, in hexadecimal")


class NewPhoto(RequestModel):
    """Photos to add."""

    image: list[bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description=f"a {formats.LISTED} file; repeat the field for several"
    )
    label: NewLabel | SkipJsonSchema[None] = Field(None, description="the label of all; by default they have none")
    columns: ColumnsText = Field(
        {}, description="values of columns: a JSON object for all photos, or an array with one object for each"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.columns, list) and len(self.columns) != len(self.image):
            raise ValueError(f"columns has {len(self.columns)} objects for {len(self.image)} photos")
        return self

    def columns_of_each(self) -> list[ColumnValues]:
        """The columns of each photo."""
        return self.columns if isinstance(self.columns, list) else [self.columns] * len(self.image)


class PhotoChanges(RequestModel):
    """What to change in a photo; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    label: NewLabel | None = Field(None, description="its label; null: unlabelled")
    columns: ColumnValues = Field(
        {}, description="values of columns, by name; null removes a value, and other columns stay"
    )
    confirmed: bool | SkipJsonSchema[None] = Field(
        None, description="whether a person has confirmed the label; by default true if `label` is given"
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give label, columns or confirmed")
        return self

    def change(self) -> PhotoChange:
        """Convert them for the index."""
        return PhotoChange(self.label if "label" in self.model_fields_set else ..., self.columns, self.confirmed)


class RemovalOptions(RequestModel):
    """How to remove a photo."""

    forget: bool = Field(False, description="do not remember the removal, so that the next job adds the photo again")


class Photo(BaseModel):
    """An indexed photo."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    sha256: str = Field(description="of the file")
    width: Width
    height: Height
    bytes: int = Field(description="size of the file")
    modified_at: str = Field(description="modification time of the file, ISO 8601 in UTC")
    indexed_at: str = Field(description="ISO 8601 in UTC")
    extra: Extra = Field({}, description="further columns of its manifest")
    confirmed: bool = Field(False, description="whether a person has confirmed the label")
    version: str = Field(description="changes with its content, label, columns and confirmation; also in `ETag`")
    image_url: str
    thumbnail_url: str


class AddedPhoto(Photo):
    """A photo that was added."""

    replaced_label: str | None = Field(
        None, description="the label that it had, if the same content was added before with another label"
    )


class FailedUpload(BaseModel):
    """A photo of several that can't be added."""

    error: Problem


class AddedPhotos(BaseModel):
    """Photos that were added in one request, in their order."""

    photos: list[AddedPhoto | FailedUpload]


class AddedPhotoOrPhotos(RootModel[AddedPhoto | AddedPhotos]):
    """The photo that was added, or several."""


class RemovedPhoto(BaseModel):
    """A photo that a person removed from the index, and that can be restored."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    removed_at: str | None = Field(description="ISO 8601 in UTC")


class RemovedPhotos(BaseModel):
    """Photos that persons removed, the last one first."""

    photos: list[RemovedPhoto]
    total: int
