"""Why two photos are alike: the score, split among the regions of each."""

from pathlib import Path

import make
import numpy as np
import pytest
from PIL import Image

from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import NotFound, UnreadablePhoto
from retrieval.explain import explain
from retrieval.images import Crop

DECODER = PhotoDecoder()


@pytest.fixture
def embedder(bundle: Bundle) -> Embedder:
    return Embedder(bundle, threads=1)


def test_contributions_add_up_to_the_score(embedder: Embedder) -> None:
    first, second = (make.encoded(make.photo("red", seed)) for seed in (1, 2))
    pixels = np.stack([PhotoDecoder().read_pixels(photo, embedder.bundle.resize).pixels for photo in (first, second)])
    explained = explain(embedder, DECODER, first, second)
    score = float(np.prod(embedder.embed(pixels), axis=0).sum())
    assert explained.score == pytest.approx(score, abs=1e-5)
    for regions in (explained.query, explained.result):
        assert regions.contributions.shape == (4, 4)
        assert regions.contributions.sum() == pytest.approx(score, abs=1e-5)


def test_what_both_photos_show_in_a_place_contributes_most(embedder: Embedder) -> None:
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    first, second = grey.copy(), grey.copy()
    first.paste((255, 0, 0), (16, 32, 32, 48))  # the third row's second cell of four
    second.paste((255, 0, 0), (16, 32, 32, 48))
    second.paste((0, 0, 60), (48, 0, 64, 16))
    explained = explain(embedder, DECODER, make.encoded(first, "PNG"), make.encoded(second, "PNG"))
    for regions in (explained.query, explained.result):
        assert np.unravel_index(regions.contributions.argmax(), (4, 4)) == (2, 1)


def test_the_part_that_was_seen_is_the_centre_of_what_was_searched(embedder: Embedder) -> None:
    wide = make.encoded(make.photo("red", 1, size=(120, 90)))
    explained = explain(embedder, DECODER, wide, wide, crop=Crop(0.5, 0.5, 0.5, 0.5))
    assert edges(explained.result.seen) == pytest.approx((0.125, 0, 0.75, 1))
    assert edges(explained.query.seen) == pytest.approx((0.5625, 0.5, 0.375, 0.5))
    assert explained.score < 0.999


def edges(part: Crop) -> tuple[float, float, float, float]:
    return part.x, part.y, part.width, part.height


def test_what_can_not_be_explained_is_told(embedder: Embedder, tmp_path: Path) -> None:
    photo = make.encoded(make.photo())
    with pytest.raises(UnreadablePhoto):
        explain(embedder, DECODER, photo, b"no photo")
    with pytest.raises(NotFound, match="can't explain which regions"):
        explain(Embedder(make.bundle(tmp_path / "old", regions=False), threads=1), DECODER, photo, photo)
