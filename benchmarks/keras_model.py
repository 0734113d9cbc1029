"""Write the network of a bundle as a Keras model, after checking that both give the same embeddings.

    python benchmarks/keras_model.py FOLDER PHOTOS BUNDLE [BUNDLE…]

Writes FOLDER/model.keras with the weights of the first bundle, which is in float32. The model and the bundles embed the
same pixels, and the embeddings must agree. An int8 bundle may differ by its quantization error, which `bundles.py`
measures.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.bundle import Bundle, load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.listing import list_photos

COMPARED = 32
LOWEST_COSINE = {"float32": 0.9999, "int8": 0.95}  # of the mean over photos


def write_keras_model(folder: Path, photos: Path, bundles: Iterable[Path]) -> dict[str, float]:
    """Write the model in a separate process that imports TensorFlow; return the mean cosine with each bundle."""
    command = [sys.executable, __file__, folder, photos, *bundles]
    done = subprocess.run(command, env=quiet_environment(), stdout=subprocess.PIPE, check=True)
    cosines: dict[str, float] = json.loads(done.stdout)
    return cosines


def quiet_environment() -> dict[str, str]:
    """The environment of a process that imports TensorFlow and the project."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parents[1])}


def main() -> None:
    folder, photos, *bundles = map(Path, sys.argv[1:])
    model = _keras_model(load_bundle(bundles[0]))
    listed = list(list_photos(photos))
    contents = [photo.path.read_bytes() for photo in listed[:: -(-len(listed) // COMPARED)]]  # of all classes
    cosines = {}
    for bundle in map(load_bundle, bundles):
        pixels = np.stack([PhotoDecoder().read_pixels(content, bundle.resize).pixels for content in contents])
        ours = Embedder(bundle, threads=1).embed(pixels)
        cosine = float((model.predict(pixels, verbose=0) * ours).sum(axis=1).mean())
        if not cosine >= LOWEST_COSINE[bundle.manifest.precision]:
            raise SystemExit(f"{bundle.folder} does not have the weights of {bundles[0]}: the cosine is {cosine:.4f}.")
        cosines[bundle.manifest.precision] = round(cosine, 6)
    model.save(folder / "model.keras")
    print(json.dumps(cosines))


def _keras_model(bundle: Bundle) -> Any:
    """A Keras model, uint8 [batch, size, size, 3] → float32 [batch, d]."""
    from trainer.backbones import backbone_named  # noqa: PLC0415 - imports TensorFlow
    from trainer.network import build_for  # noqa: PLC0415 - as above
    from trainer.recipes import recipe_named  # noqa: PLC0415 - as above
    from trainer.recipes.overrides import override  # noqa: PLC0415 - as above

    recipe = override(recipe_named(bundle.manifest.recipe), bundle.manifest.changed)
    model = build_for(recipe, backbone_named(bundle.manifest.backbone), "none").whole()
    model.load_weights(bundle.folder / "training" / "embedder.weights.h5")
    return model


if __name__ == "__main__":
    main()
