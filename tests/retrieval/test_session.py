"""Where networks run: the device of the settings, or the CPU if `auto` finds nothing else."""

import json
import logging
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from retrieval.bundle import Bundle
from retrieval.embedder import Embedder
from retrieval.errors import BadBundle, LookalikeError
from retrieval.session import Session, installed_devices
from retrieval.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
EMBED = """
import sys
from pathlib import Path
import numpy as np
from retrieval.bundle import load_bundle
from retrieval.embedder import Embedder
from retrieval.decoder import PhotoDecoder
bundle = load_bundle(Path(sys.argv[1]))
photos = sorted(Path(sys.argv[2]).rglob("*.jpg"))
images = np.stack([PhotoDecoder().read_pixels(photo.read_bytes(), bundle.resize).pixels for photo in photos])
embedder = Embedder(bundle, threads=2, device=sys.argv[3])
assert embedder.session.device == sys.argv[4], embedder.session.reason
np.save(sys.argv[5], np.stack([embedder.embed(images), embedder.embed(images, parallel=False)]))
"""

pytestmark = pytest.mark.skipif(
    installed_devices() != ["cpu"], reason="these tests expect the package onnxruntime, which supports only the CPU"
)


@pytest.fixture
def pixels(bundle: Bundle) -> np.ndarray:
    size = bundle.resize.size
    return np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.uint8)


def test_a_network_runs_on_the_cpu(bundle: Bundle, pixels: np.ndarray) -> None:
    session = Session(bundle.network, "cpu")
    assert (session.device, session.provider.name) == ("cpu", "CPUExecutionProvider")
    assert session.run("embeddings", {"images": pixels}).shape == (3, bundle.dimension)
    assert session.inputs["images"][1:] == [32, 32, 3] and session.optional_inputs == {"explain"}
    assert set(session.outputs) == {"embeddings", "regions"}


def test_auto_uses_the_cpu_and_logs_it_once(
    bundle: Bundle, pixels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lookalike"):
        embedder = Embedder(bundle, threads=2, device="auto")
        for parallel in (True, False):
            embedder.embed(pixels, parallel=parallel)
    (message,) = caplog.messages
    assert message == (
        "Photos are embedded on the cpu: LOOKALIKE_DEVICE is auto, and the installed onnxruntime supports no other "
        "device."
    )


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_auto_uses_the_cpu_if_an_accelerator_does_not_load(
    bundle: Bundle, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    embedder = Embedder(bundle, threads=1, device="auto")
    assert embedder.session.device == "cpu"
    assert embedder.embed(pixels).shape == (3, bundle.dimension)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "CUDAExecutionProvider can't be used (its libraries or its device are missing)" in record.getMessage()
    with pytest.raises(LookalikeError, match=r"LOOKALIKE_DEVICE is cuda, and CUDAExecutionProvider can't be used"):
        Embedder(bundle, threads=1, device="cuda")


@pytest.mark.parametrize(("device", "package"), [("cuda", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino")])
def test_a_named_device_that_is_not_installed_is_an_error(device: str, package: str, bundle: Bundle) -> None:
    with pytest.raises(LookalikeError, match=rf"is {device}, .* supports only cpu\. Install {package} in place"):
        Embedder(bundle, threads=1, device=device)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_damaged_network_is_not_the_fault_of_the_device(device: str, bundle: Bundle, tmp_path: Path) -> None:
    broken = Bundle(tmp_path, bundle.manifest)
    broken.network.write_bytes(b"this is no ONNX file")
    with pytest.raises(BadBundle, match="can't load"):
        Embedder(broken, threads=1, device=device)


def test_doctor_says_what_is_used_and_why(
    command, bundle: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def device() -> dict[str, str]:
        return next(check for check in command("doctor", "--json").json["checks"] if check["name"] == "device")

    assert "auto, not tried without a model" in device()["message"]
    monkeypatch.setenv("LOOKALIKE_BUNDLE", str(bundle.folder))
    assert device()["status"] == "ok"
    assert device()["message"].startswith("cpu, as LOOKALIKE_DEVICE is auto, and ")
    monkeypatch.setenv("LOOKALIKE_DEVICE", "cuda")
    assert device()["status"] == "problem"
    assert "onnxruntime-gpu" in device()["remedy"]
    monkeypatch.setenv("LOOKALIKE_DEVICE", "tpu")
    assert "LOOKALIKE_DEVICE is 'tpu'" in command("doctor").out


@pytest.fixture(scope="module")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ONNX Runtime comes from the package onnxruntime-openvino."""
    folder = tmp_path_factory.mktemp("openvino")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*install, "onnxruntime-openvino"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"onnxruntime-openvino can't be installed: {done.stderr.strip().splitlines()[-1]}")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_openvino_computes_the_same_embeddings(
    kind: str, openvino: dict[str, str], bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    folder = bundle.folder
    if kind == "int8":
        with tarfile.open(ROOT / "tests" / "upgrades" / "0.1.0.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        folder = tmp_path / "bundle"
    computed = {}
    for device, used in (("cpu", "cpu"), ("openvino", "openvino"), ("auto", "openvino")):
        saved = tmp_path / f"{device}.npy"
        words = [folder, library, device, used, saved]
        subprocess.run([sys.executable, "-c", EMBED, *map(str, words)], env=openvino, check=True)
        computed[device] = np.load(saved)
    assert (computed["cpu"] * computed["openvino"]).sum(axis=-1).min() >= 0.999
    assert (computed["cpu"] * computed["auto"]).sum(axis=-1).min() >= 0.999


@pytest.mark.slow
def test_photos_are_indexed_and_found_with_openvino(
    openvino: dict[str, str], bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    environment = openvino | {"LOOKALIKE_HOME": str(tmp_path), "LOOKALIKE_DEVICE": "openvino"}

    def run(*words: str) -> dict[str, object]:
        command = [sys.executable, "-m", "lookalike", *words, "--json"]
        printed: dict[str, object] = json.loads(subprocess.check_output(command, env=environment))
        return printed

    assert run("index", str(library), "--bundle", str(bundle.folder))["indexed"] == 24
    first = run("search", str(library / "red" / "0.jpg"))["results"][0]
    assert first["score"] == pytest.approx(1, abs=1e-3) and first["uri"].endswith("red/0.jpg")
    (device,) = (check for check in run("doctor")["checks"] if check["name"] == "device")
    assert (device["status"], device["message"]) == ("ok", "openvino, as LOOKALIKE_DEVICE is openvino")
