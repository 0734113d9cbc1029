"""The embedder runs a bundle's network."""

from pathlib import Path

import make
import numpy as np
import pytest

from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadBundle, NotFound


def batch(bundle: Bundle) -> np.ndarray:
    photos = [make.encoded(make.photo("red", seed)) for seed in range(6)]
    return np.stack([PhotoDecoder().read_pixels(photo, bundle.resize).pixels for photo in photos])


def test_embeddings_have_unit_length(bundle: Bundle) -> None:
    embeddings = Embedder(bundle, threads=1).embed(batch(bundle))
    assert embeddings.shape == (6, bundle.dimension)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_a_photo_has_one_embedding_whatever_its_batch(bundle: Bundle) -> None:
    embedder, images = Embedder(bundle, threads=2), batch(bundle)
    one_by_one = np.concatenate([embedder.embed(image[None]) for image in images])
    np.testing.assert_allclose(embedder.embed(images), one_by_one, atol=1e-6)


def test_a_photo_has_one_embedding_beside_others_and_alone(bundle: Bundle) -> None:
    embedder, images = Embedder(bundle, threads=2), batch(bundle)
    np.testing.assert_allclose(embedder.embed(images, parallel=False), embedder.embed(images), atol=1e-6)


def test_the_regions_of_a_photo_add_up_to_its_embedding(bundle: Bundle) -> None:
    embedder, images = Embedder(bundle, threads=1), batch(bundle)
    regions = embedder.regions(images)
    assert regions.shape == (6, 4, 4, bundle.dimension) and regions.dtype == np.float32
    np.testing.assert_allclose(regions.sum(axis=(1, 2)), embedder.embed(images), atol=1e-5)


def test_an_older_bundle_says_that_it_has_no_regions(tmp_path: Path) -> None:
    embedder = Embedder(make.bundle(tmp_path / "old", regions=False), threads=1)
    images = batch(embedder.bundle)
    assert not embedder.has_regions and embedder.embed(images).shape == (6, 16)
    with pytest.raises(NotFound, match=r"can't explain which regions.*Train it again"):
        embedder.regions(images)


def test_an_empty_batch_has_no_embeddings(bundle: Bundle) -> None:
    assert Embedder(bundle, threads=1).embed(batch(bundle)[:0]).shape == (0, bundle.dimension)


def test_a_network_that_is_none_is_told(bundle: Bundle, tmp_path) -> None:
    broken = Bundle(tmp_path, bundle.manifest)
    broken.network.write_bytes(b"this is no ONNX file")
    with pytest.raises(BadBundle, match="can't load"):
        Embedder(broken, threads=1)


def test_a_network_of_other_shapes_is_told(bundle: Bundle) -> None:
    manifest = bundle.manifest.model_copy(update={"dimension": bundle.dimension + 1})
    with pytest.raises(BadBundle, match="not the network that its bundle describes"):
        Embedder(Bundle(bundle.folder, manifest), threads=1)
