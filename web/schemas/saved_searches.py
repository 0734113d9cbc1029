"""Searches that are saved under a name."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from retrieval.labels import composed
from web.schemas.fields import RequestModel


def _search_name(name: str) -> str:
    """The name of a saved search as it is stored; raises `ValueError` if it can't be one."""
    name = composed(name)
    if not name.strip(".") or not name.isprintable() or "/" in name:
        raise ValueError("must be a printable text without slashes")
    return name


MAX_ADDRESS = 8190
SearchName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_search_name)]


class SearchToSave(RequestModel):
    """Save a search of the page."""

    address: str = Field(
        max_length=MAX_ADDRESS, description="of the page with its results, or of a list of photos: path and query"
    )


class NewSearchName(RequestModel):
    """Rename a saved search."""

    name: SearchName


class Search(BaseModel):
    """A saved search."""

    name: str
    address: str = Field(description="of the page, as it was saved")
    page_url: str = Field(
        description="redirects to the address; a kept photo is embedded again if the current model is another one"
    )
    saved_at: str = Field(description="ISO 8601 in UTC")
    photo_kept: bool = Field(description="whether it is by an uploaded photo that is kept with it")


class SavedSearchList(BaseModel):
    """The saved searches of a key, by name."""

    searches: list[Search]
