"""`/healthz` and `/readyz`: whether the process is alive, and whether it can answer searches."""

from contextlib import suppress
from dataclasses import asdict, replace

from apiflask import APIBlueprint

from indexer.crosscheck import Disagreement, load_cross_check
from retrieval.errors import LookalikeError, NoModel
from web.keys import sees_uris
from web.schemas.health import CrossCheck, Health, Readiness
from web.services import Services, services

blueprint = APIBlueprint("health", __name__, tag="Health")


@blueprint.get("/healthz")
@blueprint.output(Health)
@blueprint.doc(operation_id="getHealth")
def healthz() -> Health:
    """Report that the process is alive."""
    return Health()


@blueprint.get("/readyz")
@blueprint.output(Readiness)
@blueprint.doc(
    operation_id="getReadiness", responses={503: "Not ready: the same document with the reasons in `problems`"}
)
def readyz() -> tuple[Readiness, int]:
    """Report whether searches can be answered: the bundle exists, the index responds, and both are of one model."""
    readiness = _readiness(services())
    return readiness, 200 if readiness.ready else 503


def _readiness(served: Services) -> Readiness:
    try:
        served.searcher  # noqa: B018 - opens it
    except NoModel as error:
        return Readiness(ready=False, model=None, dimension=None, photos=0, crosscheck=None, problems=[error.message])
    bundle, index = served.searcher.embedder.bundle, served.searcher.index
    problems = []
    if not bundle.network.is_file():
        problems.append(f"The bundle {bundle.folder} no longer exists.")
    if (index.model, index.dimension) != (bundle.model_id, bundle.dimension):
        problems.append(f"The index is of the model {index.model}, the bundle of the model {bundle.model_id}.")
    try:
        photos = index.count(exact=False)
    except LookalikeError as error:
        photos = 0
        problems.append(error.message)
    return Readiness(
        ready=not problems,
        model=bundle.model_id,
        dimension=bundle.dimension,
        photos=photos,
        crosscheck=_last_crosscheck(served, bundle.model_id),
        problems=problems if sees_uris() else [served.shown_paths.without_folders(problem) for problem in problems],
    )


def _last_crosscheck(served: Services, model: str) -> CrossCheck | None:
    with suppress(LookalikeError):  # a damaged record does not affect searches
        if result := load_cross_check(served.settings, model):
            disagreements = [_shown(served, found) for found in result.disagreements]
            return CrossCheck(**asdict(replace(result, disagreements=disagreements)))
    return None


def _shown(served: Services, found: Disagreement) -> Disagreement:
    """A disagreement as the current request may see it: with the URIs of its photos, or with their paths."""
    if sees_uris():
        return found
    path = served.shown_paths.of
    return replace(
        found,
        query=path(found.query),
        missing=[path(uri) for uri in found.missing],
        unexpected=[path(uri) for uri in found.unexpected],
    )
