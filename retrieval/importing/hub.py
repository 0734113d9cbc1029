"""Fetching a network from Hugging Face's hub, or from the server that `HF_ENDPOINT` names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from retrieval.errors import BadSource, first_line

SCHEME: Final = "hf:"
REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
FILES: Final = (
    "README.md",
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "visual/preprocess_cfg.json",
    "textual/tokenizer.json",
    "textual/tokenizer_config.json",
)
# The first of each group that a repository has is fetched, with the files of its weights.
NETWORKS: Final = (
    ("visual/model.onnx", "onnx/vision_model.onnx", "onnx/model.onnx", "vision_model.onnx", "model.onnx"),
    ("textual/model.onnx", "onnx/text_model.onnx", "text_model.onnx"),
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A repository in the cache of `huggingface_hub`."""

    folder: Path
    revision: str  # the commit
    licence: str | None


def fetch(source: str) -> Fetched:
    """Fetch the files of `hf:OWNER/NAME[@REVISION]` that an import needs, unless they are in the cache.

    Raises `BadSource` if that is not possible; without a network, its message says which files to bring and where to.
    """
    not_one = BadSource(f"{source} is not a repository.", "Name it as hf:OWNER/NAME or hf:OWNER/NAME@REVISION.")
    if not REPOSITORY.fullmatch(source.removeprefix(SCHEME)):
        raise not_one
    try:
        import huggingface_hub  # noqa: PLC0415 - an extra
        from huggingface_hub import errors  # noqa: PLC0415
    except ImportError:
        raise BadSource("Fetching a network needs huggingface_hub.", "Install lookalike[import].") from None
    repository, _, revision = source.removeprefix(SCHEME).partition("@")
    api = huggingface_hub.HfApi()
    try:
        info = api.model_info(repository, revision=revision or None)
        names = _needed(repository, [file.rfilename for file in info.siblings or ()])
        api.hf_hub_download(repository, names[0], revision=revision or None)  # its cache then knows the branch
        for name in names:
            path = Path(api.hf_hub_download(repository, name, revision=info.sha))
        return Fetched(path.parents[name.count("/")], str(info.sha), _licence(info))
    except BadSource:
        raise
    except errors.HFValidationError:  # such as `hf:../name`
        raise not_one from None
    except errors.GatedRepoError:
        raise BadSource(
            f"{source} is only for users who accepted its terms.",
            "Accept them on its page, and log in with `hf auth login` or set HF_TOKEN.",
        ) from None
    except errors.RevisionNotFoundError:
        raise BadSource(f"{repository} has no revision {revision}.", "Name a branch, tag or commit.") from None
    except errors.RepositoryNotFoundError:
        raise BadSource(
            f"{source} does not exist, or needs permission.",
            "Check the name; for a private repository, log in with `hf auth login` or set HF_TOKEN.",
        ) from None
    except Exception as error:  # of the HTTP client, of the proxy, of the disk
        cached = _cached(api, repository, revision)
        if cached is not None:
            return cached
        raise BadSource(
            f"{source} can't be fetched ({first_line(error)}).",
            f"On a machine with access, run `hf download {repository} --local-dir {PurePosixPath(repository).name}`, "
            "or save onnx/model.onnx (or onnx/vision_model.onnx and onnx/text_model.onnx), preprocessor_config.json, "
            "config.json and, if there are any, tokenizer.json and tokenizer_config.json; copy them into a folder here "
            "with these names, and name that folder instead.",
        ) from None


def _cached(api: Any, repository: str, revision: str) -> Fetched | None:
    """Return a repository that is in the cache; None if it is not."""
    try:
        folder = Path(api.snapshot_download(repository, revision=revision or None, local_files_only=True))
    except Exception:  # as in `fetch`
        return None
    has_network = any((folder / network).is_file() for network in NETWORKS[0])
    return Fetched(folder, folder.name, None) if has_network else None


def _needed(repository: str, names: Sequence[str]) -> list[str]:
    """Return the files that an import needs; raises `BadSource` if there is no network."""
    found = [next((network for network in group if network in names), None) for group in NETWORKS]
    if found[0] is None:
        others = sorted(name for name in names if name.endswith((".onnx", ".safetensors", ".bin", ".pt")))
        listed = f", only {', '.join(others[:5])}" if others else ""
        raise BadSource(
            f"{SCHEME}{repository} has no ONNX file in a known place{listed}.",
            "Choose a repository with onnx/model.onnx, or export the network: docs/models.md says how.",
        )
    return [name for name in names if name in FILES or _belongs(name, (network for network in found if network))]


def _belongs(name: str, networks: Iterable[str]) -> bool:
    """Whether a file is a network or holds its weights, such as model.onnx_data."""
    return any(name.startswith(network) or name == f"{network.removesuffix('.onnx')}.data" for network in networks)


def _licence(info: Any) -> str | None:
    licence = info.card_data.get("license") if info.card_data else None
    return str(licence) if licence else None
