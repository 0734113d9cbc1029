"""Networks are fetched from a hub; a local server stands in for Hugging Face's."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import networks
import pytest
from huggingface_hub import constants

from retrieval.errors import BadSource
from retrieval.importing.importer import Imported, Options, import_network

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Answers like Hugging Face for the repositories in a folder, `OWNER/NAME`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fetched: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif parts[2:3] != ["resolve"]:
            self._answer(404, b"{}")
        else:
            self._file("/".join(parts[:2]), "/".join(parts[4:]))

    def _describe(self, name: str, revision: str) -> None:
        folder = self.server.folder / name
        if name == "owner/gated":
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif not folder.is_dir():
            self._answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
            siblings = [{"rfilename": name} for name in names]
            card = {"license": "mit"}
            described = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "cardData": card}
            self._answer(200, json.dumps({**described, "tags": [], "downloads": 0}).encode())

    def _file(self, name: str, path: str) -> None:
        content = (self.server.folder / name / path).read_bytes()
        if self.command == "GET":
            self.server.fetched.append(path)
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._answer(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for header, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(tmp_path / "hub")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"  # constants follow HF_ENDPOINT when they are imported
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    files = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def imported(source: str, tmp_path: Path) -> Imported:
    return import_network(source, tmp_path / "bundle", Options(), lambda _: None)


def test_a_repository_is_fetched_once_and_pinned_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    folder = networks.hugging_face(hub.folder / "owner/dino")
    (folder / "onnx/model_fp16.onnx").write_bytes(b"not needed")
    (folder / "model.safetensors").write_bytes(b"not needed")
    origin = imported("hf:owner/dino", tmp_path).bundle.manifest.origin
    assert origin is not None
    assert (origin.source, origin.revision, origin.licence) == ("hf:owner/dino", COMMIT, "mit")
    assert set(origin.files) == {"onnx/model.onnx", "preprocessor_config.json"}
    assert sorted(hub.fetched) == ["README.md", "onnx/model.onnx", "preprocessor_config.json"]
    hub.fetched.clear()
    again = imported(f"hf:owner/dino@{COMMIT}", tmp_path)
    assert again.bundle.model_id.startswith("dino-")
    assert not hub.fetched


def test_without_a_network_the_cache_is_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.hugging_face(hub.folder / "owner/dino")
    imported("hf:owner/dino", tmp_path)
    shutil.rmtree(tmp_path / "bundle")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert imported("hf:owner/dino", tmp_path).bundle.manifest.origin.revision == COMMIT


def test_without_a_network_a_sentence_names_the_files_to_bring(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BadSource, match=r"hf:owner/dino can't be fetched.*hf download owner/dino.*onnx/model\.onnx"):
        imported("hf:owner/dino", tmp_path)


def test_repositories_that_can_not_be_used_are_refused(hub: Hub, tmp_path: Path) -> None:
    networks.hugging_face(hub.folder / "owner/dino")
    torch = hub.folder / "owner/torch"
    torch.mkdir()
    (torch / "model.safetensors").touch()
    with pytest.raises(BadSource, match=r"no ONNX file in a known place, only model\.safetensors"):
        imported("hf:owner/torch", tmp_path)
    with pytest.raises(BadSource, match="does not exist, or needs permission"):
        imported("hf:owner/nothing", tmp_path)
    with pytest.raises(BadSource, match="only for users who accepted its terms"):
        imported("hf:owner/gated", tmp_path)
    with pytest.raises(BadSource, match="owner/dino has no revision v9"):
        imported("hf:owner/dino@v9", tmp_path)
    for name in ("dino", "../dino", "owner/..", "owner/dino--small"):
        with pytest.raises(BadSource, match="not a repository"):
            imported(f"hf:{name}", tmp_path)
    assert huggingface_hub.__version__
