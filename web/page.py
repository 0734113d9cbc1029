"""The search page: rendered here, whole, for every address; its scripts only save a reload."""

import base64
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self
from urllib.parse import urlencode

import numpy as np
from flask import Blueprint, render_template, request, url_for
from pydantic import BaseModel, Field

from retrieval.errors import BadQuery, NotFound
from retrieval.images import read_pixels
from retrieval.index import Payload
from retrieval.index.base import Vector
from retrieval.search import MOST_RESULTS, Answer, Options
from web.links import photo_url
from web.photo_files import make_thumbnail
from web.schemas import Label
from web.services import services
from web.validation import check_fields

blueprint = Blueprint("page", __name__)

PAGE_SIZE = 24
STARTERS = 18
LABELS_SHOWN = 20
MORE_LABELS = 500


class PageQuery(BaseModel):
    """What the page's address says: a search from an indexed photo or from an embedding, or none."""

    id: uuid.UUID | None = None
    vector: str = Field("", max_length=8000)
    model: str = ""
    label: list[Label] = []
    k: int = Field(PAGE_SIZE, ge=1, le=MOST_RESULTS)


@blueprint.get("/")
def show() -> str:
    """The start page, or the search that the address names."""
    query = check_fields(PageQuery, request.args)
    if query.id is not None:
        return _search_from_indexed(query.id, query)
    if query.vector:
        _check_model(query.model)
        return _search_from_vector(_decode_int8(query.vector), query)
    return render_template("start.html", **_frame(), photos=_starters())


@blueprint.post("/")
def upload() -> str:
    """A search by an uploaded photo; its address from then on holds the photo's embedding, not the photo."""
    data = request.files["image"].read() if "image" in request.files else b""
    if not data:
        raise BadQuery("No photo was sent.", "Choose one, then press Search.")
    served = services()
    with served.computing:
        photo = read_pixels(data, served.searcher.embedder.bundle.resize, served.settings.max_pixels)
        (vector,) = served.searcher.embedder.embed(photo.pixels[None])
        preview = make_thumbnail(data, served.settings.max_pixels)
    model = served.searcher.embedder.bundle.model_id
    source = f"data:image/jpeg;base64,{base64.b64encode(preview).decode()}"
    query = PageQuery(vector=_encode_int8(vector), model=model)
    return _search_from_vector(vector, query, Picture(source, photo.width, photo.height))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the page: its address, and the width and height that say its proportions."""

    source: str
    width: int
    height: int

    @property
    def is_tiny(self) -> bool:
        """Whether it has so few pixels that they are shown as squares; blurred, nobody would recognize them."""
        return self.width < 64


@dataclass(frozen=True, slots=True)
class Card:
    """An indexed photo in a grid; its score is None where nothing was compared."""

    id: uuid.UUID
    label: str | None
    picture: Picture
    score: float | None = None

    @classmethod
    def of(cls, photo: uuid.UUID, payload: Payload, score: float | None = None) -> Self:
        """The card of an indexed photo."""
        return cls(photo, payload.label, _picture(photo, payload), score)

    @property
    def link(self) -> str:
        """The search from this photo."""
        return _address({"id": self.id})


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A label to filter by, whether it is chosen, and the address with it chosen or no more."""

    label: str
    count: int
    chosen: bool
    link: str


def _search_from_indexed(photo: uuid.UUID, query: PageQuery) -> str:
    found = services().searcher.index.get([photo])
    if photo not in found:
        raise NotFound(f"There is no indexed photo {photo}.", "It may have been removed; start again from another one.")
    options = _options(query)
    answer = services().searcher.by_id(photo, options)
    picture = _picture(photo, found[photo])
    return _results(
        answer, options, {"id": photo}, picture, label=found[photo].label, original=photo_url(photo, "file")
    )


def _search_from_vector(vector: Vector, query: PageQuery, picture: Picture | None = None) -> str:
    options = _options(query)
    answer = services().searcher.by_vector(vector, options)
    return _results(answer, options, {"vector": query.vector, "model": query.model}, picture)


def _results(
    answer: Answer, options: Options, search: Mapping[str, object], picture: Picture | None, **more: str | None
) -> str:
    index = services().searcher.index
    payloads = index.get([result.id for result in answer.results])
    cards = [
        Card.of(result.id, payloads[result.id], result.score) for result in answer.results if result.id in payloads
    ]
    choices = _choices(index.labels(), options, search)
    is_full = len(answer.results) == options.k < MOST_RESULTS
    return render_template(
        "results.html",
        **_frame(),
        photos=cards,
        picture=picture,
        predicted=answer.predicted_label,
        choices=choices[:LABELS_SHOWN],
        more_choices=choices[LABELS_SHOWN:],
        all_labels=_address(search),
        search=search,
        address=_address(search, options.labels, options.k),
        more_link=_address(search, options.labels, min(2 * options.k, MOST_RESULTS)) if is_full else None,
        chosen=options.labels,
        **{"label": None, "original": None, **more},
    )


def _frame() -> dict[str, Any]:
    """What every state of the page shows."""
    served = services()
    return {"count": served.searcher.index.count(), "max_upload_mb": served.settings.max_upload_mb}


def _starters() -> list[Card]:
    """The first photos of the index; their ids are digests, so that the choice is as good as drawn."""
    points = islice(services().searcher.index.scroll(STARTERS), STARTERS)
    return [Card.of(point.id, point.payload) for point in points]


def _choices(counts: Mapping[str, int], options: Options, search: Mapping[str, object]) -> list[LabelChoice]:
    """The labels to filter by, the frequent ones first; where not all are shown, the chosen ones come before them."""
    names = sorted(counts, key=lambda label: len(counts) > LABELS_SHOWN and label not in options.labels)
    return [_choice(label, counts[label], options.labels, search) for label in names[: LABELS_SHOWN + MORE_LABELS]]


def _choice(label: str, count: int, chosen: tuple[str, ...], search: Mapping[str, object]) -> LabelChoice:
    toggled = [other for other in chosen if other != label] if label in chosen else [*chosen, label]
    return LabelChoice(label, count, label in chosen, _address(search, toggled))


def _picture(photo: uuid.UUID, payload: Payload) -> Picture:
    return Picture(photo_url(photo, "thumbnail"), payload.width, payload.height)


def _options(query: PageQuery) -> Options:
    return Options(k=query.k, labels=tuple(dict.fromkeys(query.label)))


def _address(search: Mapping[str, object], labels: Iterable[str] = (), k: int = PAGE_SIZE) -> str:
    fields = [*search.items(), *(("label", label) for label in labels), *([("k", k)] if k != PAGE_SIZE else [])]
    return f"{url_for('page.show')}?{urlencode(fields)}"


def _encode_int8(vector: Vector) -> str:
    """An embedding, short enough for an address: one signed byte a number, its cosine to the original above 0.9999."""
    scaled = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
    return base64.urlsafe_b64encode(scaled.tobytes()).decode().rstrip("=")


def _decode_int8(text: str) -> Vector:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadQuery("This link is incomplete.", "Copy it again, whole, or search with the photo itself.") from None
    return np.frombuffer(data, np.int8).astype(np.float32)


def _check_model(model: str) -> None:
    serves = services().searcher.embedder.bundle.model_id
    if model != serves:
        raise BadQuery(
            f"This link was made with the model {model}, and {serves} serves now.",
            "Search with the photo itself again.",
        )
