"""Fixtures for the tests of all packages."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import fsspec
import make
import networks
import pytest
from commands import Called, Command
from flushes import Flushes
from serving import Served, fill_index, serving

from lookalike.cli import main
from retrieval.bundle import Bundle
from retrieval.decoder import configure_pillow
from retrieval.settings import Settings

BUCKET = "photos"
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def pillow() -> None:
    """Pillow as the commands set it up."""
    configure_pillow()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small real bundle."""
    return make.bundle(tmp_path_factory.mktemp("bundles") / "thumbnail")


@pytest.fixture(scope="session")
def two_towers(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle of networks of photos and texts."""
    from retrieval.importing.importer import Options, import_network  # noqa: PLC0415 - imports onnx

    folder = tmp_path_factory.mktemp("words")
    source = str(networks.two_towers(folder / "clip"))
    return import_network(source, folder / "bundle", Options(), lambda _: None).bundle


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos in three folders, one per label; tests must not change them."""
    return make.library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    """What the test flushes to the disk."""
    return Flushes(monkeypatch)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a new home, also for the processes that a test starts."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKALIKE_EMBEDDING_THREADS", "1")
    for name in ("BUNDLE", "QDRANT_URL", "REDIS_URL", "API_KEYS", "LIBRARY_ROOTS"):
        monkeypatch.delenv(f"LOOKALIKE_{name}", raising=False)
    yield Settings()


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `lookalike` as a shell does, but in this process."""

    def call(*words: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["lookalike", *map(str, words)])
        with pytest.raises(SystemExit) as exit:
            main()
            sys.exit(0)
        return Called(exit.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def served(bundle: Bundle, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server of the library; tests must not change anything there."""
    home = tmp_path_factory.mktemp("served")
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LOOKALIKE_HOME", str(home))
            photos = fill_index(Settings(), bundle, library)
            url = running.enter_context(serving())
        yield Served(url, photos, home)


@pytest.fixture(scope="session")
def flowers() -> Path:
    """The 1,500 real flower photos beside the checkout."""
    folder = SHARED / "flowers"
    if not folder.is_dir():
        pytest.skip("there are no real photos in ../shared/flowers")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow, and few tests need it

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, library: Path) -> Iterator[object]:
    """A client of an S3 server whose bucket `photos` holds the library; fsspec uses the same server."""
    import boto3  # noqa: PLC0415 - slow, and few tests need it

    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3_server})
    fsspec.filesystem("s3").clear_instance_cache()
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=BUCKET)
    for path in library.rglob("*.jpg"):
        client.upload_file(str(path), BUCKET, f"2026/{path.relative_to(library)}")
    yield client
    urlopen(Request(f"{s3_server}/moto-api/reset", method="POST")).close()
