"""`lookalike migrate`: from the embedded index to a server and back, over HTTP, and what interrupts it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waiting import free_port, until_it_listens

from indexer.migrate import migrate
from indexer.removed_photos import remove_photos
from indexer.source_record import SourceRecord, read_records, save_records
from retrieval.bundle import Bundle, install_bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError, NotFound
from retrieval.index import IndexStore, Payload, Point, embedded_store, open_store
from retrieval.index.base import IndexedPhoto
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

SERVER = Path(__file__).resolve().parents[1] / "qdrant_http.py"
POINTS = 300


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An index server of its own, named by the settings."""
    port = free_port()
    with subprocess.Popen([sys.executable, SERVER, str(port)]) as process:
        until_it_listens(process, port)
        monkeypatch.setenv("LOOKALIKE_QDRANT_URL", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
        process.kill()


def points(dimension: int, count: int = POINTS) -> list[Point]:
    vectors = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [Point(photo_id(f"file:///{number}.jpg"), vector, payload(number)) for number, vector in enumerate(vectors)]


def payload(number: int) -> Payload:
    label = ("rose", "tulip", None)[number % 3]
    return Payload(f"file:///{number}.jpg", label, f"{number:064x}", 640, 480, number, "t", "t", None, {"n": number})


def embedded(settings: Settings) -> IndexStore:
    return embedded_store(settings)


def contents(store: IndexStore, bundle: Bundle) -> list[Point]:
    with store.open(bundle.model_id, bundle.dimension) as index:
        return list(index.scroll())


def assert_equal(some: list[Point], others: list[Point]) -> None:
    assert [(point.id, point.payload) for point in some] == [(point.id, point.payload) for point in others]
    np.testing.assert_allclose([point.vector for point in some], [point.vector for point in others], atol=1e-6)


@pytest.fixture
def filled(settings: Settings, bundle: Bundle) -> Settings:
    """An embedded index that serves."""
    install_bundle(bundle, settings.models_folder)
    with embedded(settings).open(bundle.model_id, bundle.dimension) as index:
        index.upsert(points(bundle.dimension))
    embedded(settings).activate(bundle.model_id)
    return settings


@pytest.mark.slow
def test_an_index_goes_to_a_server_and_back(command, filled: Settings, bundle: Bundle, server: str) -> None:
    before = contents(embedded(filled), bundle)
    there = command("migrate", "--to", "server", "--json")
    assert there.status == 0, there.err
    assert (there.json["points"], there.json["copied"], there.json["removed"]) == (POINTS, POINTS, 0)
    assert there.json["complete"]
    assert there.json["cross_check"]["recall_at_k"] == 1
    on_server = open_store(Settings())
    assert on_server.current() == bundle.model_id
    assert_equal(contents(on_server, bundle), before)

    embedded(filled).open(f"{bundle.model_id}-next", 4).close()
    embedded(filled).activate(f"{bundle.model_id}-next")
    embedded(filled).remove(bundle.model_id)
    back = command("migrate", "--to", "embedded", "--json")
    assert back.status == 0, back.err
    assert back.json["copied"] == POINTS
    assert_equal(contents(embedded(filled), bundle), before)
    assert embedded(filled).current() == f"{bundle.model_id}-next"


@pytest.mark.slow
def test_what_is_there_is_not_written_again_and_what_is_gone_is_removed(
    command, filled: Settings, bundle: Bundle, server: str
) -> None:
    assert command("migrate", "--to", "server").status == 0
    stored = points(bundle.dimension)
    with embedded(filled).open(bundle.model_id, bundle.dimension) as index:
        index.delete([stored[0].id])
        index.upsert([Point(stored[1].id, -stored[1].vector, stored[1].payload)])
        index.upsert([Point(stored[2].id, stored[2].vector, payload(99))])
    again = command("migrate", "--to", "server", "--json").json
    assert (again["points"], again["copied"], again["removed"]) == (POINTS - 1, 2, 1)
    assert_equal(contents(open_store(Settings()), bundle), contents(embedded(filled), bundle))


@pytest.mark.slow
def test_an_interrupted_migration_goes_on(filled: Settings, bundle: Bundle, server: str) -> None:
    settings = Settings()
    cancellation = CancellationToken()
    seen: list[tuple[int, int]] = []

    def stop_early(*progress: int) -> None:
        seen.append(progress)
        cancellation.cancel()

    first = migrate(settings, embedded(settings), open_store(settings), cancellation, stop_early)
    assert seen == [(256, POINTS)]
    assert not first.complete
    assert first.cross_check is None
    assert open_store(settings).current() is None
    stores = embedded(settings), open_store(settings)
    second = migrate(settings, *stores, CancellationToken(), lambda *_: None)
    assert second.complete
    assert first.copied + second.copied == POINTS
    assert_equal(contents(open_store(settings), bundle), contents(embedded(settings), bundle))


def test_without_a_server_there_is_a_sentence(command, filled: Settings) -> None:
    called = command("migrate", "--to", "server")
    assert called.status == 1
    assert "No Qdrant server is named. Set LOOKALIKE_QDRANT_URL" in called.err


def test_a_model_without_index_is_told(filled: Settings, bundle: Bundle, server: str) -> None:
    settings = Settings()
    here, there = embedded(settings), open_store(settings)
    with pytest.raises(NotFound, match="no index of the model"):
        migrate(settings, there, here, CancellationToken(), lambda *_: None, model=bundle.model_id)
    with pytest.raises(LookalikeError):
        migrate(settings, here, there, CancellationToken(), lambda *_: None, model="no-such-model")


def test_an_index_is_copied_between_any_two_stores(filled: Settings, bundle: Bundle, tmp_path: Path) -> None:
    source, target = embedded(filled), EmbeddedStore(tmp_path / "copy")
    done = migrate(filled, source, target, CancellationToken(), lambda *_: None)
    assert (done.model, done.copied, done.complete) == (bundle.model_id, POINTS, True)
    assert target.current() == bundle.model_id
    assert_equal(contents(target, bundle), contents(source, bundle))


def test_removed_photos_and_sources_go_along(filled: Settings, bundle: Bundle, tmp_path: Path) -> None:
    record = SourceRecord(photos=POINTS, indexed_at="t", mounts=("file:///share/",))
    first = points(bundle.dimension)[0]
    with embedded(filled).open(bundle.model_id, bundle.dimension) as index:
        remove_photos(index, [IndexedPhoto(first.id, first.payload)], "person")
        save_records(index, {"file:///": record})
    target = embedded(filled.model_copy(update={"home": tmp_path / "other"}))
    moved = migrate(filled, embedded(filled), target, CancellationToken(), lambda _seen, _of: None)
    assert (moved.points, moved.complete) == (POINTS - 1, True)
    with target.open(bundle.model_id, bundle.dimension) as index:
        (removed,) = index.removed().scroll()
        assert (removed.id, removed.payload.removed_by) == (first.id, "person")
        np.testing.assert_allclose(removed.vector, first.vector, atol=1e-6)
        assert read_records(index) == {"file:///": record}
