"""TensorFlow's own way of indexing photos, for `indexing_speed.py` to compare with; nothing here is Lookalike's path.

    python benchmarks/tensorflow_indexing.py bundle FOLDER WEIGHTS    write the network as a bundle
    python benchmarks/tensorflow_indexing.py index PHOTOS WEIGHTS     index photos with Keras and scikit-learn; JSON

The network is MobileNetV2 with the given weights and an untrained head of 128 dimensions.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from retrieval.bundle import Parity, TrainingData, write_bundle
from trainer.backbones import backbone_named
from trainer.export import export_onnx
from trainer.network import EmbeddingNetwork, build_network
from trainer.recipes import recipe_named

BATCH = 32
DIMENSION = 128


def index(photos: Path, weights: str) -> dict[str, float]:
    """tf.data reads, decodes and resizes, Keras predicts, scikit-learn fits; one batch before the clock starts."""
    model = network(weights).whole()
    size = model.input_shape[1]

    def load(path: tf.Tensor) -> tf.Tensor:
        image = tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(path), channels=3), (size, size))
        return tf.cast(image, tf.uint8)

    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    images = tf.data.Dataset.from_tensor_slices(paths).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    batches = images.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    model.predict(batches.take(1), verbose=0)
    start = time.perf_counter()
    embeddings = model.predict(batches, verbose=0)
    NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(embeddings)
    return {"photos": len(paths), "images_per_second": len(paths) / (time.perf_counter() - start)}


def bundle(folder: Path, weights: str) -> None:
    """Write the same network as a bundle."""
    made = network(weights)
    with tempfile.TemporaryDirectory() as temporary:
        onnx = Path(temporary, "embedder.onnx")
        export_onnx(made, onnx)
        write_bundle(
            folder,
            onnx,
            backbone=made.backbone.name,
            recipe="untrained",
            dimension=DIMENSION,
            resize=made.backbone.resize,
            classes=[],
            training_data=TrainingData(name="none", digest="", counts={}),
            seed=0,
            metrics={},
            parity=Parity(photos=0, min_cosine=1.0, max_difference=0.0),
            versions={"tensorflow": tf.__version__},
            created_at="",
        )


def network(weights: str) -> EmbeddingNetwork:
    """The network, the same in every process."""
    tf.keras.utils.set_random_seed(0)
    return build_network(backbone_named("mobilenet_v2"), weights, DIMENSION, recipe_named("default").head)


if __name__ == "__main__":
    task, place, weights_file = sys.argv[1:]
    if task == "bundle":
        bundle(Path(place), weights_file)
    else:
        print(json.dumps(index(Path(place), weights_file)))
