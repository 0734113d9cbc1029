"""The models that have an installed bundle or an index, and which of them is the current one."""

import shutil
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from indexer.crosscheck import CrossCheck, cross_check, save_cross_check
from indexer.index_evaluation import IndexEvaluation, evaluate
from retrieval.bundle import MANIFEST, Bundle, load_bundle
from retrieval.bundle_archive import install_archive
from retrieval.bundle_format import Manifest, Precision, TrainingData
from retrieval.cancellation import CancellationToken, raise_if_cancelled
from retrieval.errors import BadBundle, IndexBusy, IndexMismatch, LookalikeError, NotComparable, NotFound, WorseModel
from retrieval.files import write_atomically
from retrieval.index import IndexStore, VectorIndex
from retrieval.index.base import no_index
from retrieval.metrics import Metrics
from retrieval.settings import Settings
from retrieval.wording import count_of

MAX_LOSS = 0.05
MOST_CACHED = 100  # manifests, for listing
# What a bundle says of its model.
DESCRIBED = ("backbone", "recipe", "dimension", "precision", "metrics", "training_data", "created_at")


class Model(BaseModel):
    """An installed model; what its bundle describes is null if the bundle is missing."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    id: str
    backbone: str | None = None
    recipe: str | None = None
    dimension: int | None = Field(None, description="length of its embeddings")
    precision: Precision | None = Field(None, description="data type of most of its computations")
    metrics: Metrics = Field(Metrics(), description="metrics of its evaluation after training")
    training_data: TrainingData | None = Field(
        None, description="on which it was trained and measured; null for an imported network"
    )
    created_at: str | None = Field(None, description="when it was trained; ISO 8601 in UTC")
    points: int | None = Field(
        None, description="number of photos in its index, at the end of its last job; null if that is not known"
    )
    current: bool = Field(False, description="whether it is the current model")
    previous: bool = Field(False, description="whether it was the current model before")
    problem: str | None = Field(None, description="what is wrong with its bundle, if anything")


@dataclass(frozen=True, slots=True)
class Activation:
    """An activated model, and the checks that it passed."""

    current: str
    cross_check: CrossCheck  # of its index
    evaluation: IndexEvaluation | None  # of its index, on labelled photos; None if there are none
    before: IndexEvaluation | None  # of the model before, on the same photos; None if they were not compared


ACTIVATION = TypeAdapter(Activation)


def list_models(settings: Settings, store: IndexStore) -> list[Model]:
    """Return the models with an installed bundle or an index, sorted by name; no index is opened."""
    indexed, bundles, current, previous = store.models(), installed(settings), store.current(), store.previous()
    return [
        Model(
            id=name,
            points=store.count(name) if name in indexed else None,
            current=name == current,
            previous=name == previous,
            **_description(bundles.get(name)),
        )
        for name in sorted({*indexed, *bundles})
    ]


def save_unknown_counts(settings: Settings, store: IndexStore) -> None:
    """Save the number of points of each index that has none, since an older version wrote it."""
    for model in store.models():
        if store.count(model) is None:
            with suppress(LookalikeError), open_index(store, load_bundle(settings.models_folder / model)) as index:
                index.save_count()


def installed(settings: Settings) -> dict[str, Path]:
    """Return the folders of the installed bundles, by model."""
    return {path.parent.name: path.parent for path in settings.models_folder.glob(f"*/{MANIFEST}")}


def install(settings: Settings, store: IndexStore, archive: IO[bytes]) -> str:
    """Install the bundle of a ZIP archive, and return its model.

    If no model is current and no setting names one, it becomes the current one, with an empty index. Raises `BadBundle`
    as `install_archive`.
    """
    bundle = install_archive(archive, settings.models_folder)
    if settings.bundle is None and store.current() is None:
        with store.open(bundle.model_id, bundle.dimension, bundle.look):
            store.activate_first(bundle.model_id)
    return bundle.model_id


def metrics_of(settings: Settings, model: str) -> Metrics:
    """Return what was measured after the training of a model; nothing if its bundle is not installed, or damaged."""
    try:
        return load_bundle(settings.models_folder / model).manifest.metrics
    except BadBundle:
        return Metrics()


def activate(
    settings: Settings,
    store: IndexStore,
    model: str,
    *,
    max_loss: float = MAX_LOSS,
    cancellation: CancellationToken | None = None,
) -> Activation:
    """Make a model the current one, if its index passes the cross-check and its metrics are not worse.

    Args:
        max_loss: by how much its MAP@R on the labelled photos may be below that of the current model; 1: any, and the
            current model need not be available for the comparison.
        cancellation: ends the checks early; the current model stays.

    Raises:
        Cancelled: the checks were cancelled.
        NotFound: it has no index, or an empty one.
        IndexMismatch: the cross-check failed.
        WorseModel: its MAP@R is too low.
        BadBundle: its bundle is not installed, or damaged.
        NotComparable: the bundle of the current model is damaged.
        IndexBusy: another process holds its index, or that of the current model.
    """
    if model not in store.models():
        raise no_index(model)
    with open_index(store, load_bundle(settings.models_folder / model)) as index:
        check = _cross_check(settings, index, cancellation)
        with _open_current(settings, store, model, max_loss) or nullcontext() as current:
            evaluation, before = (*evaluate(index, current), None, None)[:2]
    if evaluation and before:
        _require_no_loss(evaluation, before, max_loss)
    raise_if_cancelled(cancellation)
    store.activate(model)
    activation = Activation(model, check, evaluation, before)
    with suppress(OSError):  # the model is the current one, whether or not its checks can be shown later
        write_atomically(_activation_file(settings, model), ACTIVATION.dump_json(activation))
    return activation


def last_activation(settings: Settings, model: str) -> Activation:
    """Return the last activation of a model in this home; raises `NotFound` if there was none."""
    try:
        return ACTIVATION.validate_json(_activation_file(settings, model).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise NotFound(f"{model} has not been activated.", "`lookalike models list` shows all models.") from None


def rollback(settings: Settings, store: IndexStore) -> str:
    """Make the previous model the current one again, and return its id.

    Raises:
        NotFound: there is none.
        BadBundle: its bundle is not installed, or damaged.
    """
    model = store.previous()
    if model is None:
        raise NotFound("There is no previous model.", "`lookalike models list` shows all models.")
    load_bundle(settings.models_folder / model)
    store.activate(model)
    return model


def remove(settings: Settings, store: IndexStore, model: str) -> None:
    """Delete a model's index and its installed bundle.

    Raises:
        NotFound: there is neither.
        IndexMismatch: it is the current model.
        IndexBusy: another process holds its index.
    """
    if model in store.models():
        store.remove(model)
    elif model not in installed(settings):
        raise no_index(model)
    shutil.rmtree(settings.models_folder / model, ignore_errors=True)


def open_index(store: IndexStore, bundle: Bundle) -> VectorIndex:
    """Return the index of a bundle's model; raises `NotFound` if there is none."""
    if bundle.model_id not in store.models():
        raise no_index(bundle.model_id)
    return store.open(bundle.model_id, bundle.dimension, bundle.look)


def _cross_check(settings: Settings, index: VectorIndex, cancellation: CancellationToken | None) -> CrossCheck:
    """Cross-check an index and save the result; raises `IndexMismatch` if it fails."""
    check = cross_check(index, cancellation=cancellation)
    save_cross_check(settings, check)
    if not check.passed:
        raise IndexMismatch(
            f"{index.model} was not activated: its index failed the cross-check. {check.summary()}",
            "Remove it with `lookalike models remove`, and index the photos again.",
        )
    return check


def _activation_file(settings: Settings, model: str) -> Path:
    return settings.home / "activations" / f"{model}.json"


def _open_current(settings: Settings, store: IndexStore, model: str, max_loss: float) -> VectorIndex | None:
    """The index of the current model; None if that is this model, or if it can't be opened and any loss is allowed."""
    current = store.current()
    if current is None or current == model or current not in store.models():
        return None
    try:
        return open_index(store, load_bundle(settings.models_folder / current))
    except (BadBundle, IndexBusy) as error:
        if max_loss >= 1:
            return None
        message = f"{model} was not activated, since it can't be compared with {current}. {error.message}"
        remedy = f"{error.remedy} To activate it without a comparison: --max-loss 1."
        if isinstance(error, BadBundle):
            raise NotComparable(message, remedy) from error
        error.message, error.remedy, error.args = message, remedy, (f"{message} {remedy}",)
        raise


def _require_no_loss(evaluation: IndexEvaluation, before: IndexEvaluation, max_loss: float) -> None:
    """Raise `WorseModel` if a model's MAP@R is too far below that of the current one."""
    if evaluation.map_at_r < before.map_at_r - max_loss:
        raise WorseModel(
            f"{evaluation.model} was not activated: its MAP@R on {count_of(evaluation.photos)} is "
            f"{evaluation.map_at_r:.4f}, and that of {before.model} {before.map_at_r:.4f}.",
            "Keep the current model, or allow the loss with --max-loss.",
        )


def _description(folder: Path | None) -> dict[str, Any]:
    """Return the fields of a model that its bundle describes, or what is wrong with its bundle."""
    if folder is None:
        return {"problem": "Its bundle is not installed."}
    try:
        state = frozenset((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir())
        manifest = _manifest(folder, state)
    except LookalikeError as error:
        return {"problem": error.message}
    except OSError:  # removed meanwhile
        return {"problem": "Its bundle is not installed."}
    return {name: getattr(manifest, name) for name in DESCRIBED}


@lru_cache(maxsize=MOST_CACHED)
def _manifest(folder: Path, _state: frozenset[tuple[str, int, int]]) -> Manifest:
    """Read and check a bundle, once as long as its files do not change: their hashes take a second per gigabyte."""
    return load_bundle(folder).manifest
