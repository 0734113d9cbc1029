"""Commands connect only to this machine and to configured servers, and leave no files in the user's cache."""

import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.request import urlopen

import make
import networks
import pytest
from machines import Machines
from waiting import free_port, until

from lookalike.cli import COMMANDS
from retrieval.bundle import Bundle

ROOT = Path(__file__).resolve().parents[1]
STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-e", "signal=none"]
CONNECT = re.compile(r"sin6?_port=htons\((\d+)\).*?inet_(?:addr\(|pton\(AF_INET6, )\"([^\"]+)\"")
# Matplotlib's list of the installed fonts, and the configuration of Keras.
OF_TRAINING = {".cache/matplotlib", ".config/matplotlib", ".keras/keras.json"}

Environment = dict[str, str]
Traced = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment with a new home of Lookalike, a new one of the user, and the telemetry of libraries as it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "LOOKALIKE_"))}
    (tmp_path / "user").mkdir()
    home = {"HOME": str(tmp_path / "user"), "LOOKALIKE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    return kept | home | {"LOOKALIKE_EMBEDDING_THREADS": "1"}


def files_of_the_user(environment: Environment) -> set[str]:
    """The files below the user's home, a folder of training's files as one."""
    home = Path(environment["HOME"])
    names = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    return {next((known for known in OF_TRAINING if name.startswith(known)), name) for name in names}


def servers(trace: Path) -> set[tuple[str, int]]:
    """The addresses and ports to which a traced command connected, except on this machine; 53 are look-ups of names."""
    found = {(address, int(port)) for port, address in CONNECT.findall(trace.read_text())}
    return {each for each in found if each[1] == 53 or not ipaddress.ip_address(each[0]).is_loopback}


def test_a_network_is_loaded_without_telemetry(environment: Environment, bundle: Bundle) -> None:
    code = "import pathlib, sys; from retrieval.session import Session; Session(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, bundle.network], env=environment, check=True)
    assert files_of_the_user(environment) == set()


@pytest.fixture
def traced(environment: Environment, tmp_path: Path) -> Iterator[Traced]:
    """Start a command whose connections are recorded in `connects`; the command is in the test's list of commands."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    started = set()
    running = ExitStack()

    def start(*words: object, **settings: str) -> subprocess.Popen[bytes]:
        name = str(words[0])
        started.add(name)
        with (tmp_path / f"{name}.log").open("ab") as log:
            command = [*STRACE, "-A", "-o", tmp_path / "connects", sys.executable, "-m", "lookalike", *map(str, words)]
            process = subprocess.Popen(
                command, env=environment | settings, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
            )
        running.callback(stop, process, signal.SIGKILL)
        return process

    with running:
        yield start
    assert started == COMMANDS.keys() - {"train"}  # which `demo` runs


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_commands_connect_only_to_configured_servers(
    traced: Traced, environment: Environment, bundle: Bundle, tmp_path: Path
) -> None:
    def run(*words: object, **settings: str) -> None:
        process = traced(*words, **settings)
        assert process.wait() == 0, (words, (tmp_path / f"{words[0]}.log").read_text()[-2000:])

    photos = make.library(tmp_path / "photos", 12)
    run("index", photos, "--bundle", bundle.folder)
    run("search", photos / "red" / "0.jpg")
    run("check", photos)
    for words in (
        "crosscheck",
        "duplicates",
        "doubtful",
        "queues",
        "corrections list",
        "models list",
        "jobs list",
        "sources list",
        "doctor",
        "recipes",
        "backbones",
    ):
        run(*words.split())
    run("export", "--to", "photos.jsonl")
    run("import-vectors", "photos.jsonl", "--model", bundle.model_id)
    run("import", networks.saved(networks.convolutional(), tmp_path / "network.onnx"), "--out", "imported")
    port = free_port()
    server = traced("serve", "--port", str(port))
    until(lambda: f":{port}" in (tmp_path / "serve.log").read_text())
    time.sleep(3)
    assert urlopen(f"http://127.0.0.1:{port}/healthz").status == 200
    stop(server)

    machines = Machines(tmp_path, bundle, workers=0)
    remote = {"LOOKALIKE_QDRANT_URL": machines.qdrant_url, "LOOKALIKE_REDIS_URL": machines.redis_url}
    try:
        run("migrate", "--to", "server", **{"LOOKALIKE_QDRANT_URL": machines.qdrant_url})
        worker = traced("worker", **remote)
        run("index", photos, "--bundle", bundle.folder, **remote)
        stop(worker)
    finally:
        machines.close()
    assert files_of_the_user(environment) == set()

    run("evaluate", "--data", photos, "--bundle", bundle.folder)
    run("demo", "--data", photos, "--label-from", "none", "--no-serve")
    run("compare", trained := tmp_path / "home" / "demo" / "photos", trained, "--split", "val")
    assert servers(tmp_path / "connects") == set()
    assert files_of_the_user(environment) <= OF_TRAINING


def stop(process: "subprocess.Popen[bytes]", signal_: signal.Signals = signal.SIGTERM) -> None:
    """End a traced command and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal_)
    process.wait(60)
