"""The device that training runs on."""

from dataclasses import dataclass

import tensorflow as tf

from retrieval.cores import usable_cores

# The compute capability of NVIDIA Ampere: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
FIRST_WITH_BFLOAT16 = (8, 0)


@dataclass(frozen=True)
class Device:
    """The device that training runs on, by its name for people."""

    name: str
    mixed_precision: bool  # whether bfloat16 is faster, as on GPUs with tensor cores for it


def training_device() -> Device:
    """Return the first GPU that TensorFlow finds, or the CPU if there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        cores = usable_cores()
        return Device(f"{cores} CPU core{'s' if cores > 1 else ''}", mixed_precision=False)
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability", (0, 0))
    return Device(details.get("device_name", gpus[0].name), mixed_precision=capability >= FIRST_WITH_BFLOAT16)
