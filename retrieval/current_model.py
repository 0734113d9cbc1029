"""The model in use: the bundle that the user names, or the current model, with its index."""

from pathlib import Path

from retrieval.bundle import MANIFEST, Bundle, load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadBundle, NoModel
from retrieval.index import IndexStore
from retrieval.search import Searcher
from retrieval.settings import Settings


def bundle_in_use(settings: Settings, store: IndexStore, chosen: Path | None = None) -> Bundle:
    """Return the bundle to use: the chosen one, else `LOOKALIKE_BUNDLE`, else the current model's.

    Raises `NoModel` if there is none of them, `BadBundle` if it is damaged.
    """
    folder = chosen or settings.bundle
    if folder is not None:
        return load_bundle(folder)
    current = store.current()
    if current is None:
        installed = sorted(path.parent.name for path in settings.models_folder.glob(f"*/{MANIFEST}"))
        if installed and not store.models():
            raise NoModel(
                f"There is no index any more ({store.location}), although models are installed "
                f"({', '.join(installed)}).",
                "Restore it from a backup or snapshot, copy it with `lookalike migrate`, or index the photos again: "
                f"`lookalike index FOLDER --bundle {settings.models_folder / installed[0]}`. If it is elsewhere, "
                "correct LOOKALIKE_HOME, LOOKALIKE_QDRANT_URL or LOOKALIKE_QDRANT_PREFIX.",
            )
        raise NoModel(
            "No photos have been indexed yet, and no model is named.",
            "Train one with `lookalike train`, then `lookalike index FOLDER --bundle BUNDLE`; or try `lookalike demo`.",
        )
    return load_bundle(settings.models_folder / current)


def overriding_model(settings: Settings, current: str | None) -> str | None:
    """Return the model of `LOOKALIKE_BUNDLE`, which is used in place of the current one; None if it is the same.

    If that bundle can't be read, return its folder.
    """
    if settings.bundle is None:
        return None
    try:
        model = load_bundle(settings.bundle).model_id
    except BadBundle:
        return str(settings.bundle)
    return None if model == current else model


def open_searcher(settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> Searcher:
    """A searcher on the model in use and its index, with the decoder of this process or a new one.

    Raises:
        NoModel: no model is named and none is current, or its index does not exist.
        BadBundle: the bundle is damaged.
        IndexBusy: another process holds the embedded index.
    """
    bundle = bundle_in_use(settings, store)
    if bundle.model_id not in store.models():
        raise NoModel(
            f"No photos have been indexed with the model {bundle.model_id}.",
            f"Run `lookalike index FOLDER --bundle {bundle.folder}`.",
        )
    # Before the index, which would stay open if the embedder failed.
    embedder = Embedder(bundle, settings.embedding_threads, settings.device)
    decoder = decoder or PhotoDecoder(settings.source_policy())
    return Searcher(embedder, store.open(bundle.model_id, bundle.dimension, bundle.look), decoder)
