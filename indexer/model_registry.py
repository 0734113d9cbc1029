"""The models of this place: those with an installed bundle or an index, and which of them serves."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indexer.crosscheck import CrossCheck, cross_check, save_cross_check
from indexer.index_evaluation import Evaluation, evaluate
from retrieval.bundle import MANIFEST, Bundle, Precision, load_bundle
from retrieval.errors import BadBundle, IndexBusy, IndexMismatch, LookalikeError, NotFound, WorseModel
from retrieval.index import IndexStore, VectorIndex
from retrieval.index.base import no_index
from retrieval.settings import Settings

MAX_LOSS = 0.05


@dataclass(frozen=True, slots=True)
class Model:
    """A model as `lookalike models list` shows it.

    Args:
        id: its name.
        backbone: what its bundle was trained from; None, like the fields below, where the bundle is not here.
        recipe: how it was trained.
        dimension: the length of its embeddings.
        precision: what most of its network computes in.
        metrics: what its training measured.
        points: how many photos its index holds; None where it has none or another process holds it.
        current: whether it serves.
        previous: whether it served before the current one.
        problem: what is wrong with its bundle or index.
    """

    id: str
    backbone: str | None = None
    recipe: str | None = None
    dimension: int | None = None
    precision: Precision | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    points: int | None = None
    current: bool = False
    previous: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """A model that serves now, and what that was decided by.

    Args:
        current: the model.
        cross_check: of its index.
        evaluation: of its index, on labelled photos; None where there are none.
        before: of the model that served until now, on the same photos; None where there was none, or where another
            process holds its index.
    """

    current: str
    cross_check: CrossCheck
    evaluation: Evaluation | None
    before: Evaluation | None


def list_models(settings: Settings, store: IndexStore) -> list[Model]:
    """The models with an installed bundle or an index, in the order of their names."""
    indexed, bundles, current, previous = store.models(), installed(settings), store.current(), store.previous()
    names = sorted({*indexed, *bundles})
    models = [Model(name, current=name == current, previous=name == previous) for name in names]
    return [_describe(model, bundles.get(model.id), store if model.id in indexed else None) for model in models]


def installed(settings: Settings) -> dict[str, Path]:
    """The folders of the installed bundles, by model."""
    return {path.parent.name: path.parent for path in settings.models_folder.glob(f"*/{MANIFEST}")}


def activate(settings: Settings, store: IndexStore, model: str, *, max_loss: float = MAX_LOSS) -> Activation:
    """Make a model the one that serves, after its index passed the cross-check and the evaluation.

    Args:
        settings: the settings.
        store: holds the indexes.
        model: the model.
        max_loss: how much less MAP@R it may have on the labelled photos than the model that serves; 1: any.

    Raises:
        NotFound: it has no index, or an empty one.
        IndexMismatch: the cross-check failed.
        WorseModel: the evaluation did.
        BadBundle: its bundle is not installed, or damaged.
    """
    if model not in store.models():
        raise no_index(model)
    with open_index(store, load_bundle(settings.models_folder / model)) as index:
        check = cross_check(index)
        save_cross_check(settings, check)
        if not check.passed:
            raise IndexMismatch(
                f"{model} was not activated: its index failed the cross-check. {check.summary()}",
                "Remove it with `lookalike models remove`, and index the photos again.",
            )
        with _serving(settings, store, model) as serving:
            measured = evaluate(index, serving)
    evaluation, before = (*measured, None, None)[:2]
    if evaluation and before and evaluation.map_at_r < before.map_at_r - max_loss:
        raise WorseModel(
            f"{model} was not activated: its MAP@R on {evaluation.photos} photos is {evaluation.map_at_r:.4f}, "
            f"and that of {before.model} {before.map_at_r:.4f}.",
            "Keep the other, or allow the loss with --max-loss.",
        )
    store.activate(model)
    return Activation(model, check, evaluation, before)


def rollback(settings: Settings, store: IndexStore) -> str:
    """Make the model that served before the current one serve again; returns its id.

    Raises:
        NotFound: there is none.
        BadBundle: its bundle is not installed, or damaged.
    """
    model = store.previous()
    if model is None:
        raise NotFound("No model served before the current one.", "`lookalike models list` shows those there are.")
    load_bundle(settings.models_folder / model)
    store.activate(model)
    return model


def remove(settings: Settings, store: IndexStore, model: str) -> None:
    """Delete a model's index and its installed bundle.

    Raises:
        NotFound: there is neither.
        IndexMismatch: it is the one that serves.
        IndexBusy: another process holds its index.
    """
    if model in store.models():
        store.remove(model)
    elif model not in installed(settings):
        raise no_index(model)
    shutil.rmtree(settings.models_folder / model, ignore_errors=True)


def open_index(store: IndexStore, bundle: Bundle) -> VectorIndex:
    """The index of a bundle's model; raises `NotFound` instead of making an empty one."""
    if bundle.model_id not in store.models():
        raise no_index(bundle.model_id)
    return store.open(bundle.model_id, bundle.dimension)


@contextmanager
def _serving(settings: Settings, store: IndexStore, model: str) -> Iterator[VectorIndex | None]:
    """The index of the model that serves, if that is another one and nobody else holds it."""
    current = store.current()
    if current is None or current == model or current not in store.models():
        yield None
    else:
        try:
            index = open_index(store, load_bundle(settings.models_folder / current))
        except (BadBundle, IndexBusy):
            yield None
            return
        with index:
            yield index


def _describe(model: Model, folder: Path | None, store: IndexStore | None) -> Model:
    """A model with what its bundle and its index, where there are any, say of it."""
    if folder is None:
        return replace(model, problem="Its bundle is not installed.")
    try:
        bundle = load_bundle(folder)
        manifest = bundle.manifest
        model = replace(
            model,
            backbone=manifest.backbone,
            recipe=manifest.recipe,
            dimension=manifest.dimension,
            precision=manifest.precision,
            metrics=manifest.metrics,
        )
        if store is not None:
            with open_index(store, bundle) as index:
                model = replace(model, points=index.count())
    except LookalikeError as error:
        return replace(model, problem=error.message)
    return model
