"""Make the archive of a site that a released version used, for `test_upgrades.py` to open with the current code.

It is run with the code of that version, not with the code beside it, once, from any folder:

    git worktree add /tmp/release COMMIT
    PYTHONPATH=/tmp/release:/tmp/release/tests python tests/upgrades/make_fixture.py VERSION

VERSION   COMMIT                                     what it stands for
0.1.0     6b42eb673470b653c14a9e4100b2849c88303f77   the code before the first tested upgrade

A site is one folder: `.env`, photos and their manifests, a trained bundle, the home (two installed bundles and their
embedded indexes, job records, cross-check, map, uploads, thumbnails), and `answers.json`, what commands, pages and API
returned. The manifests name photos by `/proc/self/cwd/…`, so that the indexed URIs refer to the folder in which a
command runs, and the site can be unpacked anywhere.
Uploads get such URIs as well, as they are indexed again from a manifest.
"""

# ruff: noqa: I001 - ruff sorts by the modules that this version has, and some of these are older
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import make
from indexer.jobs import JobRecord, Request, cancel_job
from indexer.runner import run_job

from retrieval.bundle import Bundle, Calibration, load_bundle
from retrieval.models import open_searcher
from retrieval.photos import photo_id
from retrieval.settings import Settings, load_settings

HERE = "/proc/self/cwd"
KEY = "first-key"
EPOCH = 1_700_000_000  # a whole second, which every archive format keeps
PHOTOS = [(label, number) for label in make.COLOURS for number in range(4)]
ENVIRONMENT = f"""\
# A site of its own, in this folder.
LOOKALIKE_HOME=home
LOOKALIKE_API_KEYS={KEY}, second-key
LOOKALIKE_LIBRARY_ROOTS=photos
LOOKALIKE_MAX_UPLOAD_MB=5
LOOKALIKE_EMBEDDING_THREADS=1
LOOKALIKE_RATE_LIMIT=6000 per minute
LOOKALIKE_CORS_ORIGINS=https://example.org
LOOKALIKE_LOG_FORMAT=json
LOOKALIKE_BUNDLE=

# What docker-compose.yml reads.
LOOKALIKE_PORT=5000
LOOKALIKE_LIBRARY=photos
"""
SERVERS = """\
LOOKALIKE_HOME=/var/lib/lookalike
LOOKALIKE_BUNDLE=/bundle
LOOKALIKE_QDRANT_URL=https://qdrant.example.org:6333
LOOKALIKE_QDRANT_API_KEY=secret
LOOKALIKE_QDRANT_CA=ca.pem
LOOKALIKE_QDRANT_TIMEOUT_SECONDS=10
LOOKALIKE_QDRANT_SHARDS=6
LOOKALIKE_QDRANT_REPLICAS=2
LOOKALIKE_QDRANT_ON_DISK=true
LOOKALIKE_REDIS_URL=redis://redis.example.org:6379/0
LOOKALIKE_REDELIVERY_SECONDS=60
LOOKALIKE_CROSSCHECK_MINUTES=360
LOOKALIKE_API_KEYS=first-key
LOOKALIKE_READ_ONLY=true
LOOKALIKE_LIBRARY_ROOTS=/library,s3://photos/2026
LOOKALIKE_MAX_UPLOAD_MB=8
LOOKALIKE_MAX_PIXELS=1000000
LOOKALIKE_EMBEDDING_THREADS=3
LOOKALIKE_RATE_LIMIT=600 per minute
LOOKALIKE_PROXIES=1
LOOKALIKE_READS_NEED_KEY=true
"""


def main(version: str) -> None:
    archive = Path(__file__).resolve().with_name(f"{version}.tar.xz")
    site, copy = (Path(tempfile.gettempdir(), name) for name in ("site", "copy"))
    site.mkdir()
    os.chdir(site)
    Path(".env").write_text(ENVIRONMENT)
    Path("servers.env").write_text(SERVERS)
    write_photos()
    trained, tiny = train(), make_tiny()
    for bundle in (trained, tiny):
        run("index", f"{HERE}/photos.jsonl", "--bundle", str(bundle.folder))
    run("models", "activate", tiny.model_id, "--max-loss", "1")
    with serving() as client:
        upload(client)
        compute_map(client)
    move_uploads()
    run("index", f"{HERE}/photos.csv")
    add_unfinished_jobs(tiny)
    wanted = requests(tiny)
    with serving() as client:
        answers = {"requests": [ask(client, **request) for request in wanted]}
    shutil.rmtree("home/datasets", ignore_errors=True)
    answers["settings"] = {name: settings(name) for name in (".env", "servers.env")}

    subprocess.run(["cp", "--archive", "--sparse=always", site, copy], check=True)
    os.chdir(copy)  # some commands change the home
    answers["commands"] = [{"command": words, "prints": json.loads(run(*words))} for words in commands(tiny)]
    os.chdir(site)
    Path("answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False))
    subprocess.run(
        ["tar", "--create", "--sparse", "--xz", "--owner=0", "--group=0", "--file", archive, "."], check=True
    )
    os.chdir("/")
    shutil.rmtree(site)
    shutil.rmtree(copy)


def write_photos() -> None:
    """Twelve photos, a file that is no photo, and manifests that also name a missing file and no file at all."""
    rows = []
    for number, (label, seed) in enumerate(PHOTOS):
        path = Path("photos", label, f"{seed}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make.encoded(make.photo(label, seed), quality=70))
        extra = {"shelf": f"A {number}", "year": 1980 + number, "price": number / 4, "sold": number % 2 == 0}
        rows.append({"path": f"{HERE}/{path}", "label": label if number else None, "split": "train", **extra})
    Path("photos", "broken.jpg").write_text("Dear photo")
    rows += [{"path": f"{HERE}/photos/{name}.jpg", "label": "red"} for name in ("broken", "missing")]
    Path("photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("photos.csv").write_text(f"path,label,shelf\n{HERE}/photos/red/0.jpg,,A 0\n,red,A 1\n")
    for path in Path().rglob("*"):
        os.utime(path, (EPOCH, EPOCH))


def train() -> Bundle:
    """A bundle as `lookalike train` writes it, of a network with few weights, so that the archive stays small."""
    from trainer.backbones import small_cnn  # noqa: PLC0415 - imports the trainer
    from trainer.cli import train as command  # noqa: PLC0415 - as above

    small_cnn.FILTERS = (4, 8, 8)
    changes = ["loss.margin=0.9", "rounds=1"]
    command(
        "digits",
        Path("bundle"),
        "small_cnn",
        seeds=2,
        dimension=8,
        epochs=2,
        changed=changes,
        quantize="int8",
        as_json=True,
    )
    return load_bundle(Path("bundle"))


def make_tiny() -> Bundle:
    """A bundle whose embeddings are the same on every processor, with everything that training can measure."""
    from retrieval import bundle as bundles  # noqa: PLC0415 - `make` calls it by this name

    known = load_bundle(Path("bundle")).manifest
    quantiles = [round(0.04 * step, 2) for step in range(21)]
    calibration = Calibration(queries=12, same_label=quantiles, other_label=quantiles, close_match=0.9)
    write = bundles.write_bundle
    make.write_bundle = lambda *args, **fields: write(*args, **fields, calibration=calibration)
    return make.bundle(Path("tiny"), metrics=known.metrics)


def upload(client: httpx.Client) -> None:
    """Two photos added over HTTP, one of them without a label."""
    for seed, label in ((20, "green"), (21, None)):
        image = make.encoded(make.photo("green", seed), quality=70)
        form = {"label": label} if label else {}
        client.post("/api/v1/images", files={"image": image}, data=form).raise_for_status()


def compute_map(client: httpx.Client) -> None:
    job = client.post("/api/v1/jobs", json={"kind": "map"}).raise_for_status().json()["id"]
    while client.get(f"/api/v1/jobs/{job}").json()["state"] == "running":
        time.sleep(0.2)


def move_uploads() -> None:
    """Index the uploads by URIs that hold wherever the site is unpacked, in place of those that name this folder."""
    added = sorted(Path("home/uploads").rglob("*.jpg"))
    with open_searcher(load_settings()).index as index:
        index.delete([photo_id(path.resolve().as_uri()) for path in added])
    rows = [{"path": f"{HERE}/{path}", "label": "green" if path.parent.name == "green" else None} for path in added]
    Path("uploads.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in added:
        os.utime(path, (EPOCH, EPOCH))
    run("index", f"{HERE}/uploads.jsonl")


def add_unfinished_jobs(tiny: Bundle) -> None:
    """A job that was cancelled, one that was interrupted, and one whose process was killed."""
    config = load_settings()
    wanted = Request([f"{HERE}/photos.jsonl"], urls=True)
    pause = 1.1  # ids begin with the second in which a job was started
    time.sleep(pause)
    run_job(config, wanted, threading.Event(), lambda job: cancel_job(config, job.id))
    time.sleep(pause)
    stop = threading.Event()
    stop.set()
    run_job(config, wanted, stop, lambda job: None)
    time.sleep(pause)
    killed = JobRecord(config.jobs_folder, wanted, tiny.model_id)  # its lock is freed with this process
    killed.job.seen = 5
    killed._save()


def commands(tiny: Bundle) -> list[list[str]]:
    jobs = json.loads(run("jobs", "list"))["jobs"]
    done = next(
        job["id"] for job in jobs if job["model"] == tiny.model_id and (job["state"], job["failed"]) == ("done", 2)
    )
    return [
        ["models", "list"],
        ["jobs", "list"],
        *(["jobs", "show", job["id"]] for job in jobs),
        *(["jobs", "failures", job["id"]] for job in jobs),
        ["jobs", "cancel", jobs[0]["id"]],
        ["search", "photos/red/1.jpg", "-k", "5"],
        ["search", "photos/blue/1.jpg", "-k", "3", "--label", "red", "--label", "green", "--exact"],
        ["evaluate", "--bundle", "bundle", "--data", "digits"],
        ["compare", "bundle", "tiny"],
        ["duplicates"],
        ["doubtful"],
        ["crosscheck"],
        ["index", f"{HERE}/photos.jsonl"],
        ["jobs", "retry", done],
    ]


def requests(tiny: Bundle) -> list[dict[str, object]]:
    photos = {f"{label}/{seed}": str(photo_id(f"file://{HERE}/photos/{label}/{seed}.jpg")) for label, seed in PHOTOS}
    red, green, blue = photos["red/0"], photos["green/1"], photos["blue/2"]
    with open_searcher(load_settings()).index as index:
        vector = next(iter(index.vectors([photo_id(f"file://{HERE}/photos/red/2.jpg")]).values()))
        known = [str(point.id) for point in index.scroll()]
    held = base64.urlsafe_b64encode((vector * 127 / abs(vector).max()).round().astype("int8").tobytes()).decode()
    address = f"vector={held.rstrip('=')}&model={tiny.model_id}"
    jobs = [path.name for path in sorted(Path("home/jobs").iterdir())]
    pages = [
        "/",
        f"/?id={red}",
        f"/?id={red}&label=green&label=blue",
        f"/?id={red}&min_score=0.5",
        f"/?id={red}&offset=5",
        f"/?id={red}&crop=0.1,0.2,0.5,0.6",
        f"/?{address}",
        f"/?{address}&crop=0.1,0.2,0.5,0.5&label=red",
        f"/?{address}&like={blue}&unlike={green}&min_score=0.1",
        f"/?like={red}&like={blue}&unlike={green}",
        f"/?id={red}&find=gr",
        f"/?vector={held[:-6]}&model={tiny.model_id}",
        f"/?vector={held}&model=another-000000000000",
        f"/?id={photo_id('file:///nowhere.jpg')}",
        f"/photo/{red}",
        "/map",
        "/jobs",
        "/models",
    ]
    api = [
        *(f"/images/{photo}" for photo in known),
        *(f"/images/{photo}/thumbnail" for photo in known),
        f"/images/{red}/file",
        f"/images/{red}/similar?k=4",
        f"/images/{red}/similar?k=3&offset=1&label=green&min_score=-0.5&exact=true",
        "/labels",
        "/labels?q=re&limit=5&offset=0",
        "/map",
        "/models",
        "/jobs",
        "/jobs?limit=2&offset=1",
        *(f"/jobs/{job}" for job in jobs),
        *(f"/jobs/{job}/failures?limit=1" for job in jobs),
    ]
    crop = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.6}
    image = base64.b64encode(Path("photos/blue/3.jpg").read_bytes()).decode()
    searches = [
        {"id": red, "k": 3},
        {"id": red, "crop": crop},
        {"vector": [float(number) for number in vector], "k": 2, "label": ["red", "blue"]},
        {"positive": [red, blue], "negative": [green], "offset": 1, "min_score": 0.1, "exact": True},
        {"image_base64": image, "crop": crop},
        {"id": red, "vector": [1.0]},
    ]
    return [
        *({"method": "GET", "path": path} for path in pages),
        *({"method": "GET", "path": f"/api/v1{path}"} for path in api),
        *({"method": "GET", "path": path} for path in ("/healthz", "/readyz")),
        *({"method": "POST", "path": "/api/v1/search", "json": body} for body in searches),
        {"method": "POST", "path": "/api/v1/search", "photo": "photos/blue/3.jpg", "form": {"k": "2"}},
        {"method": "POST", "path": "/", "photo": "photos/blue/3.jpg", "form": {"crop": "0,0,0.5,0.5"}},
        {"method": "POST", "path": "/api/v1/explain", "json": {"id": red, "result": blue}},
        {"method": "POST", "path": "/api/v1/jobs", "json": {"sources": ["/"]}},
        {"method": "POST", "path": "/api/v1/images", "photo": "photos/broken.jpg", "form": {"label": "red"}},
    ]


def ask(client: httpx.Client, method: str, path: str, **content: object) -> dict[str, object]:
    """What a request returns: JSON as it is; of a page, the photos that it shows, in their order."""
    response = send(client, method, path, **content)
    answer: dict[str, object] = {"method": method, "path": path, **content, "status": response.status_code}
    if "json" in response.headers["Content-Type"]:
        answer["body"] = response.json()
    elif "html" in response.headers["Content-Type"]:
        answer["photos"] = re.findall(r'class="card" href="/\?id=([0-9a-f-]{36})"', response.text)
    else:
        answer["bytes"] = len(response.content)
    return answer


def send(client: httpx.Client, method: str, path: str, **content: object) -> httpx.Response:
    photo, form = content.get("photo"), content.get("form")
    files = {"image": Path(str(photo)).read_bytes()} if photo else None
    return client.request(method, path, json=content.get("json"), data=form, files=files)


def settings(name: str) -> dict[str, object]:
    read = Settings(_env_file=name)
    return {
        field: getattr(read, field).get_secret_value() if field == "qdrant_api_key" and read.qdrant_api_key else value
        for field, value in read.model_dump(mode="json").items()
    } | {"api_keys": [key.get_secret_value() for key in read.api_keys]}


def run(*words: str) -> str:
    command = [sys.executable, "-m", "lookalike", *words, "--json"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def serving():
    command = [sys.executable, "-m", "lookalike", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1])
