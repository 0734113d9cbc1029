"""The checks of `lookalike doctor`."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from indexer.crosscheck import load_cross_check
from retrieval.cores import find_cores
from retrieval.current_model import bundle_in_use
from retrieval.errors import READ_ONLY, IndexBusy, LookalikeError, NotFound
from retrieval.index import IndexStore, open_store
from retrieval.session import Session, installed_devices, require_installed, runtime_version
from retrieval.settings import Settings, load_settings, unknown_settings
from retrieval.wording import count_of

Status = Literal["ok", "warning", "problem"]
LOW_DISK_BYTES = 1_000_000_000
LIBRARIES = ("numpy", "pillow", "qdrant-edge-py", "qdrant-client", "scikit-learn", "celery", "flask")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: what was found, and what to do about it."""

    name: str
    status: Status
    message: str
    remedy: str = ""


def examine() -> list[Check]:
    """Check versions, settings, cores, disk, device, bundle, index, last cross-check, Redis and the training extra."""
    try:
        settings = load_settings()
    except LookalikeError as error:
        return [_versions(), Check("settings", "problem", error.message, error.remedy)]
    store = open_store(settings)
    checks: Mapping[str, Callable[[], Check]] = {
        "cores": lambda: _cores(settings),
        "disk": lambda: _disk(settings),
        "device": lambda: _device(settings, store),
        "bundle": lambda: _bundle(settings, store),
        "index": lambda: _index(settings, store),
        "crosscheck": lambda: _cross_check(settings, store),
        "redis": lambda: _redis(settings),
    }
    with store:
        return [_versions(), _settings(settings), *(_run(name, check) for name, check in checks.items()), _training()]


def _run(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except NotFound as error:
        return Check(name, "warning", error.message, error.remedy)
    except LookalikeError as error:
        return Check(name, "problem", error.message, error.remedy)
    except Exception as error:  # the other checks must still run
        return Check(name, "problem", f"It can't be checked ({type(error).__name__}: {error}).")


def _versions() -> Check:
    libraries = ", ".join([f"onnxruntime {runtime_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)])
    python = ".".join(map(str, sys.version_info[:3]))
    return Check("versions", "ok", f"lookalike {version('lookalike')}, Python {python}, {libraries}")


def _settings(settings: Settings) -> Check:
    message = f"Models, index and job records are in {settings.home.absolute()}."
    if ignored := unknown_settings():
        unset = "Correct them in the environment or in .env, or remove them."
        return Check("settings", "warning", f"{message} There is no setting {', '.join(ignored)}.", unset)
    return Check("settings", "ok", message)


def _cores(settings: Settings) -> Check:
    cores = find_cores()
    usable = f"{cores.usable} of {cores.machine} cores are usable"
    if cores.limit:
        usable += f", limited by {cores.limit}"
    message = f"{usable}. Photos are embedded on {settings.embedding_threads} threads."
    if settings.embedding_threads > cores.usable:
        return Check("cores", "warning", message, "Lower LOOKALIKE_EMBEDDING_THREADS, or unset it.")
    return Check("cores", "ok", message)


def _disk(settings: Settings) -> Check:
    home = settings.home.absolute()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
        remedy = READ_ONLY if is_read_only else "Correct its permissions or LOOKALIKE_HOME."
        return Check("disk", "problem", f"{existing} can't be written.", remedy)
    free = shutil.disk_usage(existing).free
    message = f"{free / 1e9:.1f} GB are free in {existing}."
    if free < LOW_DISK_BYTES:
        return Check("disk", "warning", message, "Free disk space, or point LOOKALIKE_HOME to a larger disk.")
    return Check("disk", "ok", message)


def _device(settings: Settings, store: IndexStore) -> Check:
    """Where networks run, found out with the bundle in use if there is one."""
    require_installed(settings.device)
    devices = ", ".join(installed_devices())
    try:
        network = bundle_in_use(settings, store).network
    except LookalikeError:  # reported by the check of the bundle
        return Check("device", "ok", f"{settings.device}, not tried without a model; ONNX Runtime supports {devices}")
    session = Session(network, settings.device)
    is_fallback = session.device == "cpu" and settings.device == "auto" and devices != "cpu"
    return Check("device", "warning" if is_fallback else "ok", f"{session.device}, as {session.reason}")


def _bundle(settings: Settings, store: IndexStore) -> Check:
    bundle = bundle_in_use(settings, store)
    precision = bundle.manifest.precision
    return Check("bundle", "ok", f"{bundle.model_id}, {bundle.dimension} dimensions, {precision}, in {bundle.folder}")


def _index(settings: Settings, store: IndexStore) -> Check:
    """Check the index of the model in use."""
    bundle = bundle_in_use(settings, store)
    if bundle.model_id not in store.models():
        return Check(
            "index",
            "warning",
            f"No photos have been indexed with {bundle.model_id} ({store.location}).",
            "Run `lookalike index`.",
        )
    try:
        with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
            if not index.count():
                return Check("index", "warning", f"The index is empty ({store.location}).", "Run `lookalike index`.")
            message, advice = f"{count_of(index.count())}, {store.location}", index.advice() or store.advice()
            return Check("index", "warning" if advice else "ok", message, advice or "")
    except IndexBusy as error:  # a server or a job is running, which is not an error
        return Check("index", "warning", error.message, error.remedy)


def _cross_check(settings: Settings, store: IndexStore) -> Check:
    model = bundle_in_use(settings, store).model_id
    last = load_cross_check(settings, model)
    if last is None:
        return Check("crosscheck", "warning", f"{model} was never cross-checked.", "Run `lookalike crosscheck`.")
    message = f"recall@{last.k} {last.recall_at_k:.4f} over {last.queries} queries on {last.checked_at}"
    if not last.passed:
        return Check("crosscheck", "problem", f"The last one failed: {message}.", "Run `lookalike crosscheck`.")
    if last.warning:
        return Check("crosscheck", "warning", f"{message}. {last.warning}")
    return Check("crosscheck", "ok", message)


def _redis(settings: Settings) -> Check:
    if settings.redis_url is None:
        return Check("redis", "ok", "not used: jobs run in their own process")
    from indexer.celery_app import count_workers, make_app  # noqa: PLC0415 - Celery takes a while to import
    from indexer.redis_client import eviction_policy, require_redis  # noqa: PLC0415

    require_redis(settings)
    policy = eviction_policy(settings)
    with make_app(lambda: settings) as app:
        workers = count_workers(app)
    if policy != "noeviction":
        return Check(
            "redis",
            "warning",
            f"Redis drops entries when its memory is full (maxmemory-policy {policy}), so that jobs lose batches.",
            "Set maxmemory-policy noeviction in its configuration.",
        )
    if not workers:
        return Check("redis", "warning", "Redis is running, but no worker.", "Start one with `lookalike worker`.")
    return Check("redis", "ok", f"Redis is running, with {workers} workers.")


def _training() -> Check:
    missing = [name for name in ("tensorflow", "tensorflow_addons") if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "To train, install the extra `lookalike[train]` on Python 3.11."
        return Check("training", "warning", f"This installation can't train: {', '.join(missing)} not found.", remedy)
    return Check("training", "ok", f"tensorflow {version('tensorflow')} with TensorFlow Addons")
