"""Jobs to start, the list of jobs, and their failures."""

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, RootModel, Tag

from indexer.jobs import Job
from indexer.removal import REMOVABLE
from indexer.scheduled_sync import LastSync
from retrieval.columns.kinds import KINDS
from retrieval.listing import LabelFrom
from web.schemas.fields import RequestModel, ShownPath, Uri

Name = Annotated[str, Field(pattern=r"^[\w.:-]{1,200}$")]


class IndexJob(RequestModel):
    """Index photos that are on the server."""

    kind: Literal["index"] = "index"
    sources: list[Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]] = Field(
        min_length=1, max_length=100, description="folders and manifests within LOOKALIKE_LIBRARY_ROOTS"
    )
    label_from: LabelFrom | None = Field(None, description="source of the labels; null: by the type of source")
    sync: bool = Field(False, description="also remove photos of these sources that no longer exist")
    include_hidden: bool = Field(False, description="also index files and folders with names that start with a dot")
    exclude: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        [], max_length=100, description="gitignore patterns of files and folders to skip"
    )
    relabel: bool = Field(False, description="replace labels in the index by the names of folders")
    allow_removing: str | None = Field(
        None,
        pattern=f"^({REMOVABLE})$",
        description="how many photos of each source `sync` may remove, even if that seems too many: N or N%",
    )
    columns: list[Annotated[str, Field(pattern=f"^.+:({'|'.join(KINDS)})$", max_length=1000)]] = Field(
        [], max_length=200, description="the kinds of columns of manifests, each as NAME:KIND; by default inferred"
    )
    model: str | None = Field(None, description="the id of an installed model; null: the current one")
    pretrained: bool = Field(
        False,
        description="if there is no model yet, make one of the installed network, which needs TensorFlow and a key of "
        "the scope admin",
    )


class MapJob(RequestModel):
    """Compute the map of all photos for `GET /map`."""

    kind: Literal["map"]


class ReviewJob(RequestModel):
    """Compute the queues of photos to review for `GET /queues`."""

    kind: Literal["review"]


class TrainJob(RequestModel):
    """Train a model on the photos of the index with their labels, index them with it, and compare it with the current.

    It needs TensorFlow and a key of the scope admin. The model is not activated.
    """

    kind: Literal["train"]
    recipe: Name = Field("default", description="as `lookalike recipes` lists them")
    backbone: Name | None = Field(None, description="as `lookalike backbones` lists them; null: the default one")
    seed: int = Field(0, ge=0, le=2**31)
    epochs: int | None = Field(None, ge=1, le=10_000, description="the maximum number; null: that of the recipe")
    changes: list[Annotated[str, Field(pattern=r"^[\w.]+=[^\x00]+$", max_length=1000)]] = Field(
        [], max_length=100, description="changed settings of the recipe, each as SETTING=VALUE"
    )


class NewJob(
    RootModel[
        Annotated[
            Annotated[IndexJob, Tag("index")]
            | Annotated[MapJob, Tag("map")]
            | Annotated[ReviewJob, Tag("review")]
            | Annotated[TrainJob, Tag("train")],
            Discriminator(
                lambda fields: fields.get("kind", "index") if isinstance(fields, dict) else None,
                custom_error_type="kind",
                custom_error_message="A job is an object with the `kind` index, map, review or train",
            ),
        ]
    ]
):
    """A job to start."""


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    total: int
    last_sync: LastSync | None = Field(None, description="result of the last scheduled sync; null if there was none")


class FailedPhoto(BaseModel):
    """A photo, folder or line of a manifest that could not be read, listed or indexed, and why."""

    uri: Uri
    path: ShownPath
    reason: str


class Failures(BaseModel):
    """Failures of a job, oldest first."""

    failures: list[FailedPhoto]
    total: int
