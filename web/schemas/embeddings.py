"""The request and response of `POST /embeddings`."""

from pydantic import Base64Bytes, BaseModel, Field

from retrieval import formats
from retrieval.bundle_format import Part
from web.schemas.fields import MAX_BATCH, RequestModel


class UploadedPhotos(RequestModel):
    """Photos to embed."""

    image: list[bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description=f"a {formats.LISTED} file; repeat the field for several"
    )


class EncodedPhotos(RequestModel):
    """Photos to embed, in a JSON document."""

    image_base64: list[Base64Bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description="the files of the photos, base64-encoded"
    )


class Embeddings(BaseModel):
    """The embeddings of photos."""

    model: str = Field(description="id of the model")
    parts: list[Part] = Field(description="of an embedding, in this order; a score is the sum of theirs")
    embeddings: list[list[float]] = Field(description="unit vectors in the order of the photos")
