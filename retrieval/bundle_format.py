"""The format of `bundle.json`: version 2, and version 1, which lacks some fields and has one part."""

from math import isclose
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrieval.images import ResizeRule
from retrieval.metrics import METRICS_VERSION, Metrics

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)

TEXT_NETWORK: Final = "text.onnx"
TOKENIZER: Final = "tokenizer.json"
PHOTOS: Final = "photos.csv"

Precision = Literal["float32", "int8"]
PartName = Literal["kind", "look"]
PARTS = (["kind"], ["look"], ["kind", "look"])
FileName = Literal["text.onnx", "tokenizer.json", "photos.csv"]


class Part(BaseModel):
    """A part of the embedding.

    The embedding consists of its parts side by side, each of unit length times the square root of its weight.
    """

    model_config = ConfigDict(frozen=True)

    name: PartName  # `kind` is trained on labels, `look` is not
    length: int = Field(gt=0)  # number of dimensions
    weight: float = Field(gt=0, le=1)  # of its cosine similarity in the score; the weights of all parts add up to 1


class TrainingData(BaseModel):
    """The training data: the name of the data set, the digest of its photos, labels and splits, photos per split."""

    name: str
    digest: str
    counts: dict[str, int]


class Parity(BaseModel):
    """How far the embeddings of ONNX Runtime are from those of the network's own framework, on validation photos."""

    photos: int
    min_cosine: float
    max_difference: float


class Calibration(BaseModel):
    """The meaning of a score, measured on the validation photos: each is a query, all others are the gallery.

    For each query two scores (cosine similarities) are taken: the highest of a photo with its label, and the highest
    of a photo with another label. `close_match` is the score above which the best photo is more likely of the query's
    own kind, by logistic regression on both; None if scores do not separate them.
    """

    queries: int  # number of photos that have both
    same_label: list[float]  # the 0, 5, …, 100 % quantiles of the highest score with the same label, 21 values
    other_label: list[float]  # the same of the highest score with another label
    close_match: float | None


class Pairs(BaseModel):
    """Cosine similarities of pairs of photos, as columns of one length."""

    kind: list[float] | None = None  # of this part; None if the embedding lacks it
    look: list[float] | None = None  # as `kind`
    query: list[int] | None = None  # number of the pair's first photo; None if each photo is in one pair
    same_label: list[bool] | None = None  # whether both photos have the same label; None if photos have no labels

    @model_validator(mode="after")
    def _of_one_length(self) -> "Pairs":
        columns = [column for column in (self.kind, self.look, self.query, self.same_label) if column is not None]
        if len({len(column) for column in columns}) > 1:
            raise ValueError("the columns of the pairs have different lengths")
        return self


class VoteCalibration(BaseModel):
    """The probability that a label is right: logistic regression on the log odds of a vote, or on a margin.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """

    slope: float
    intercept: float


class WordCalibration(BaseModel):
    """Pairs of texts and photos of an index; see `retrieval.analysis.word_calibration`."""

    gallery: int  # number of photos among which the nearest of each text were found
    labelled: int  # number of photos with labels that were compared with the names of labels
    pairs: Pairs  # `same_label` is whether the text is the name of the photo's label; None for texts of no label
    label: VoteCalibration | None = None  # of the label with the nearest name, by its margin; None: names are no words


class CalibrationData(BaseModel):
    """Pairs of photos, from which the meaning of a score follows for any weights and any number of indexed photos."""

    calibrated_on: Literal["validation", "index"]  # validation photos of the training, or a sample of an index
    gallery: int  # number of photos among which the nearest of each photo were found
    photos: Pairs  # of photos with their nearest photos, with and without the same label
    copies: Pairs | None = None  # photos with near-identical copies of them
    vote: VoteCalibration | None = None  # None if photos have no labels, or few have a close match
    words: WordCalibration | None = None  # None without a text network


class Origin(BaseModel):
    """Where an imported network comes from."""

    source: str  # as it was named, such as a folder or `hf:OWNER/NAME`
    revision: str | None = None  # commit of the source, if it has one
    licence: str | None = None  # as the source states it
    files: dict[str, str]  # input file → its sha256


class Versioned(BaseModel):
    """The content of `bundle.json` in every format version; nothing else may be read before that is known."""

    format_version: int = FORMAT_VERSION


class Manifest(Versioned):
    """The content of `bundle.json`."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    backbone: str
    recipe: str
    changed: tuple[str, ...] = Field((), description="settings of the recipe that the user changed, as setting=value")
    dimension: int = Field(gt=0)
    parts: tuple[Part, ...] = Field(description="of the embedding, in order; by default one part, kind")
    resize: ResizeRule
    classes: list[str]
    training_data: TrainingData | None = Field(None, description="None for an imported network")
    seed: int | None = Field(None, description="None for an imported network")
    metrics_version: int = METRICS_VERSION
    metrics: Metrics = Metrics()
    precision: Precision = Field("float32", description="number format of most of the network's computations")
    parity: Parity = Field(description="of the float32 network")
    calibration: Calibration | None = None
    calibration_data: CalibrationData | None = None
    origin: Origin | None = None
    files: dict[FileName, str] = Field({}, description="files of the bundle beside the network, with their sha256")
    versions: dict[str, str]
    created_at: str

    @model_validator(mode="before")
    @classmethod
    def _one_part_by_default(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "parts" in fields:
            return fields
        return {**fields, "parts": [{"name": "kind", "length": fields.get("dimension"), "weight": 1}]}

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        length, weight = sum(part.length for part in self.parts), sum(part.weight for part in self.parts)
        if length != self.dimension:
            raise ValueError(f"the lengths of the parts add up to {length}, and the embedding has {self.dimension}")
        if not isclose(weight, 1, abs_tol=1e-6):
            raise ValueError(f"the weights of the parts add up to {weight:g} instead of 1")
        if [part.name for part in self.parts] not in PARTS:
            raise ValueError("the parts are neither kind nor look nor both, kind first")
        if (TEXT_NETWORK in self.files) != (TOKENIZER in self.files):
            raise ValueError(f"{TEXT_NETWORK} and {TOKENIZER} are needed together")
        return self
