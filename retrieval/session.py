"""ONNX Runtime sessions on the device that the settings name.

ONNX Runtime comes in several packages, one per kind of device. They install the same module and overwrite one another;
docs/operations.md says how to exchange them. Only this module imports ONNX Runtime when it is imported, since it turns
its telemetry off; other modules import it in a function.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.errors import LookalikeError, first_line
from retrieval.settings import Device

# Before the import: the packages of ONNX Runtime send usage data to their vendor, and keep a device id for it in the
# user's cache folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

log = logging.getLogger("lookalike")


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime."""

    name: str  # its name in ONNX Runtime
    package: str  # the package on PyPI that contains it
    options: Mapping[str, str] = field(default_factory=dict)  # for equal embeddings on all devices rather than speed
    batch: int = 4  # photos that one call should embed; on a CPU, more are no faster and take more memory


# In the order in which `auto` tries them.
PROVIDERS = {
    "cuda": Provider(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},  # an exhaustive search would repeat per batch size
        batch=32,
    ),
    # With the device type AUTO, this provider accepts no operator, and the CPU provider computes everything.
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime-openvino", {"device_type": "CPU"}),
    "cpu": Provider("CPUExecutionProvider", "onnxruntime"),
}


class Session:
    """A network that ONNX Runtime has loaded on a device.

    Args:
        network: an ONNX file, or its content.
        device: where to run it; `auto` for the first device whose provider is installed and loads the network.
        threads: how many threads of the `cpu` provider compute one batch; 0 for one per core.
        lean: use less memory on the `cpu`, which takes longer.

    Attributes:
        device: where it runs: `cpu`, `cuda` or `openvino`.
        reason: why there.

    Raises:
        LookalikeError: the named device can't be used.
        Exception: ONNX Runtime can't load the network; its own classes share no other base.
    """

    def __init__(self, network: Path | bytes, device: Device = "cpu", threads: int = 0, *, lean: bool = False) -> None:
        self.device: str = device
        self.reason = f"LOOKALIKE_DEVICE is {device}"
        if device == "auto":
            self._open_first(network, threads)
        elif device == "cpu":
            self._session = _open(network, PROVIDERS["cpu"], threads, lean=lean)
        else:
            self._session = _open_named(network, device, threads)

    @property
    def provider(self) -> Provider:
        """The execution provider in use."""
        return PROVIDERS[self.device]

    @property
    def inputs(self) -> dict[str, list[Any]]:
        """The shapes of the required inputs, by name; text or None for an axis of any length."""
        return {entry.name: entry.shape for entry in self._session.get_inputs()}

    @property
    def optional_inputs(self) -> set[str]:
        """The names of the inputs that have a default."""
        return {entry.name for entry in self._session.get_overridable_initializers()}

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """The shapes of the outputs, by name, as for `inputs`."""
        return {entry.name: entry.shape for entry in self._session.get_outputs()}

    def run(self, output: str, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Compute one output."""
        (computed,) = self._session.run([output], inputs)
        return np.asarray(computed, np.float32)

    def _open_first(self, network: Path | bytes, threads: int) -> None:
        """Open the network on the first device that is available, and log why it is not an accelerator."""
        failed = []
        for device in installed_devices():
            try:
                self._session = _open(network, PROVIDERS[device], threads)
            except Exception as error:
                if device == "cpu":
                    raise
                failed.append(f"{PROVIDERS[device].name} can't be used ({first_line(error)})")
                continue
            self.device, self.reason = device, "LOOKALIKE_DEVICE is auto"
            break
        if failed:
            self.reason += f", and {' and '.join(failed)}"
            log.warning("Photos are embedded on the %s: %s.", self.device, self.reason)
        elif self.device == "cpu":
            self.reason += ", and the installed onnxruntime supports no other device"
            log.info("Photos are embedded on the cpu: %s.", self.reason)


def runtime_version() -> str:
    """The version of ONNX Runtime, from whichever of its packages is installed."""
    return str(onnxruntime.__version__)


def installed_devices() -> list[str]:
    """The devices that the installed package of ONNX Runtime supports, in the order in which `auto` tries them."""
    available = onnxruntime.get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider.name in available]


def require_installed(device: Device) -> None:
    """Raise LookalikeError if the installed package of ONNX Runtime does not support a device."""
    if device not in ("auto", *installed_devices()):
        raise LookalikeError(
            f"LOOKALIKE_DEVICE is {device}, and the installed ONNX Runtime supports only "
            f"{', '.join(installed_devices())}.",
            f"Install {PROVIDERS[device].package} in place of onnxruntime, or set LOOKALIKE_DEVICE=auto.",
        )


def _open_named(network: Path | bytes, device: Device, threads: int) -> onnxruntime.InferenceSession:
    """Open a network on an accelerator; raise LookalikeError if the accelerator can't be used."""
    require_installed(device)
    provider = PROVIDERS[device]
    _open(network, PROVIDERS["cpu"], threads)  # a damaged network is not the device's fault
    try:
        return _open(network, provider, threads)
    except Exception as error:
        raise LookalikeError(
            f"LOOKALIKE_DEVICE is {device}, and {provider.name} can't be used ({first_line(error)}).",
            "Install its driver and libraries, or set LOOKALIKE_DEVICE=auto.",
        ) from None


def _open(
    network: Path | bytes, provider: Provider, threads: int, *, lean: bool = False
) -> onnxruntime.InferenceSession:
    """Open a network with a provider, whose unsupported operators run on the CPU; raise if it is not in use."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if lean:
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 3  # it warns of every optional input
    if not _has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    providers = {each.name: dict(each.options) for each in (provider, PROVIDERS["cpu"])}
    session = onnxruntime.InferenceSession(network, options, providers=list(providers.items()), enable_fallback=0)
    if session.get_providers()[0] != provider.name:
        raise RuntimeError("its libraries or its device are missing")
    return session


def _has_vnni() -> bool:
    """Whether the processor adds products of 8-bit integers without saturating.

    Other x86 processors saturate at 16 bits, so a quantized network would retrieve worse there than where it was
    accepted. ONNX Runtime can compute exactly on them, which is slower (1.6 times on MobileNetV2).
    """
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return False
