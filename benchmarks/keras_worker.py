"""The Celery application of `worker_peer.py`'s peer: photos to embeddings by tf.data and Keras `predict`.

TensorFlow does not survive a fork, so it is imported only in the process that computes.
"""

import base64
import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

app = Celery("keras_worker", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(task_default_queue="keras", worker_prefetch_multiplier=1, task_serializer="json")
model: Any


@worker_process_init.connect
def load(**_: object) -> None:
    global model  # noqa: PLW0603 - one model a process
    from original import load_model  # noqa: PLC0415 - imports TensorFlow

    model = load_model(Path(os.environ["MODEL_FOLDER"]))


@app.task
def embed(paths: list[str]) -> dict[str, Any]:
    """Base64 of float32 [photos, d]."""

    from original import predict  # noqa: PLC0415 - imports TensorFlow

    embeddings = predict(model, paths)
    return {"photos": len(embeddings), "embeddings": base64.b64encode(embeddings.tobytes()).decode()}
