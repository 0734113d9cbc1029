"""Whether the server is alive and ready."""

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process is alive."""

    status: str = "ok"


class Recalls(BaseModel):
    """The shares of exact neighbours that the index found with one weight of look."""

    recall_at_k: float
    recall_at_100: float


class CrossCheck(BaseModel):
    """The result of the last comparison of the index with exact nearest neighbours."""

    checked_at: str
    passed: bool
    queries: int
    recall_at_k: float
    recall_at_100: float | None = Field(description="recall of searches for 100 photos; null: not measured")
    by_look: dict[str, Recalls] | None = Field(
        description="weight of look in the query, 0 or 1 → recall; null for embeddings of one part"
    )
    max_score_error: float
    disagreements: list[object] = Field(description="queries with a difference that is not a tie")


class Readiness(BaseModel):
    """Whether the server can answer searches, and with which model and index."""

    ready: bool
    model: str | None = Field(description="null if there is none yet")
    dimension: int | None
    photos: int = Field(description="number of indexed photos; 0 if the index does not respond")
    crosscheck: CrossCheck | None = Field(description="the last cross-check of this index; null: none yet")
    problems: list[str] = Field(description="why it is not ready, in sentences")
