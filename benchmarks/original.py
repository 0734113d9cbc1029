"""The baseline of the benchmarks, as in the 2020 notebooks: tf.data, Keras `predict`, scikit-learn.

    python benchmarks/original.py index FOLDER PHOTOS    embed a folder of photos, to FOLDER/gallery.npz
    python benchmarks/original.py search FOLDER PHOTO    the nearest photos of that gallery

FOLDER contains `model.keras`, written by `keras_model.py`. This file imports nothing of Lookalike. Photos are decoded
and resized as is usual with tf.data: to a square, without antialiasing, which is less work than Lookalike's resizing.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

BATCH = 32
AHEAD = 2
NEIGHBOURS = 10
SUFFIXES = (".jpg", ".jpeg", ".png")


def index(folder: Path, photos: Path) -> dict[str, Any]:
    """tf.data reads, decodes and resizes, Keras predicts, scikit-learn fits; one batch of warm-up."""
    model = load_model(folder)
    paths = sorted(str(path) for path in photos.rglob("*") if path.suffix in SUFFIXES)
    predict(model, paths[:BATCH])
    start = time.perf_counter()
    embeddings = predict(model, paths)
    neighbours(embeddings)
    seconds = time.perf_counter() - start
    np.savez(folder / "gallery.npz", embeddings=embeddings, photos=np.array(paths))
    return {"photos": len(paths), "images_per_second": len(paths) / seconds}


def predict(model: tf.keras.Model, paths: Sequence[str]) -> np.ndarray:
    """The embeddings of photos, float32 [photos, d]: read, decoded and resized by tf.data while Keras computes.

    One thread per core, without tf.data's autotuner: in some runs, TensorFlow 2.15 finishes and then waits for the
    autotuner's thread until 20.5 seconds after the start.
    """
    side = model.input_shape[1]
    images = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: pixels(path, side), num_parallel_calls=len(os.sched_getaffinity(0))
    )
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    return model.predict(images.batch(BATCH).prefetch(AHEAD).with_options(untuned), verbose=0)


def search(folder: Path, photo: Path) -> dict[str, Any]:
    """The names of the nearest photos."""
    model = load_model(folder)
    gallery = np.load(folder / "gallery.npz")
    embedding = model.predict(pixels(str(photo), model.input_shape[1])[None], verbose=0)
    rows = neighbours(gallery["embeddings"]).kneighbors(embedding, return_distance=False)[0]
    return {"results": [str(gallery["photos"][row]) for row in rows]}


def load_model(folder: Path) -> tf.keras.Model:
    """Load a Keras model that this project wrote: uint8 [batch, size, size, 3] → float32 [batch, d]."""
    return tf.keras.models.load_model(folder / "model.keras", compile=False, safe_mode=False)


def pixels(path: str | tf.Tensor, side: int) -> tf.Tensor:
    """A photo as network input, uint8 [side, side, 3]."""
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return tf.cast(tf.image.resize(image, (side, side)), tf.uint8)


def neighbours(embeddings: np.ndarray) -> NearestNeighbors:
    return NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute", metric="cosine").fit(embeddings)


if __name__ == "__main__":
    task, where, what = sys.argv[1:]
    print(json.dumps({"index": index, "search": search}[task](Path(where), Path(what))))
