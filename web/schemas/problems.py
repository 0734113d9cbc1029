"""The responses to requests that fail (RFC 9457)."""

from pydantic import BaseModel, Field


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="name of the field; empty for the request as a whole")
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="address of the type of problem, which /api/docs explains")
    title: str = Field(description="name of the status")
    status: int
    detail: str = Field(description="what is wrong")
    remedy: str = Field("", description="what to do about it")
    errors: list[FieldError] = Field([], description="the wrong fields, if any")
    request_id: str = Field("", description="identifies the request in the server's log")
