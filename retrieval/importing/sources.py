"""What can be imported: an ONNX file, and folders laid out like those of Hugging Face and Immich."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from retrieval.errors import BadSource
from retrieval.importing.hub import SCHEME, fetch
from retrieval.importing.preprocessing import (
    Preprocessing,
    read_immich,
    read_json,
    read_timm,
    read_transformers,
)

LAYOUTS = (
    "onnx/model.onnx, or onnx/vision_model.onnx with onnx/text_model.onnx, beside preprocessor_config.json, as Hugging "
    "Face has them; or visual/model.onnx and visual/preprocess_cfg.json, as Immich has them"
)
NETWORKS = ("onnx/vision_model.onnx", "onnx/model.onnx", "vision_model.onnx", "model.onnx")
LICENCE = re.compile(r"^license:\s*[\"']?([^\"'\s#]+)", re.MULTILINE)
OTHER_FORMATS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".keras", ".tflite", ".pb")


@dataclass(frozen=True, slots=True)
class TextSource:
    """A text network and its tokenizer."""

    graph: Path
    tokenizer: Path
    longest: int | None = None  # number of tokens above which a text is truncated
    pads: bool = False  # whether shorter texts are padded to that length
    pad_token: str | None = None
    cleans: bool = False  # whether punctuation is removed and letters are made lower case first


@dataclass(frozen=True, slots=True)
class Source:
    """What is imported.

    `files` are those that were read, besides the networks.
    """

    name: str
    graph: Path
    origin: str
    folder: Path
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    text: TextSource | None = None
    revision: str | None = None
    licence: str | None = None
    files: tuple[Path, ...] = ()


def open_source(source: str) -> Source:
    """Find the network, its preprocessing and its text network.

    Args:
        source: an ONNX file, a folder, or `hf:OWNER/NAME[@REVISION]`.

    Raises:
        BadSource: there is no network, or its description can't be used.
    """
    if source.startswith(SCHEME):
        fetched = fetch(source)
        found = _of_folder(fetched.folder, source)
        name = _name(source.removeprefix(SCHEME).partition("@")[0].rpartition("/")[2])
        licence = fetched.licence or found.licence
        return replace(found, name=name, origin=source.partition("@")[0], revision=fetched.revision, licence=licence)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, source)
    if not path.exists():
        raise BadSource(f"{path} does not exist.", "Name an ONNX file, a folder, or hf:OWNER/NAME.")
    stem = path.resolve().parent.name if path.stem == "model" else path.stem
    return Source(_name(stem), path, source, path.parent)


def _of_folder(folder: Path, origin: str) -> Source:
    name = _name(folder.resolve().name)
    if (folder / "visual/model.onnx").is_file():
        return _of_immich(folder, Source(name, folder / "visual/model.onnx", origin, folder))
    graph = next((folder / network for network in NETWORKS if (folder / network).is_file()), None)
    if graph is None:
        raise _no_network(folder)
    return _of_hugging_face(folder, Source(name, graph, origin, folder, licence=_licence(folder)))


def _of_hugging_face(folder: Path, source: Source) -> Source:
    files: list[Path] = []
    described, config = folder / "preprocessor_config.json", folder / "config.json"
    if described.is_file():
        source = replace(source, preprocessing=read_transformers(described))
        files.append(described)
    elif config.is_file() and (timm := read_timm(config)):
        source = replace(source, preprocessing=timm)
        files.append(config)
    text = _text_of_hugging_face(folder, source.graph)
    return replace(source, text=text, files=tuple(files))


def _text_of_hugging_face(folder: Path, graph: Path) -> TextSource | None:
    """The text network beside a network, or in the same graph; None without a tokenizer."""
    tokenizer, separate = folder / "tokenizer.json", graph.with_name("text_model.onnx")
    is_separate = separate.is_file()
    if not tokenizer.is_file():
        if is_separate:
            raise BadSource(f"{folder} has a text network without a tokenizer.", "Put tokenizer.json beside it.")
        return None
    if not is_separate and graph.name != "model.onnx":
        return None
    settings = _json_or_empty(folder / "tokenizer_config.json")
    model_type = str(_json_or_empty(folder / "config.json").get("model_type", ""))
    longest = settings.get("model_max_length")
    return TextSource(
        separate if is_separate else graph,
        tokenizer,
        longest if isinstance(longest, int) and longest < 100_000 else None,  # 10³⁰ means that it is not known
        pads=model_type.startswith("siglip"),
        pad_token=_token(settings.get("pad_token")),
    )


def _of_immich(folder: Path, source: Source) -> Source:
    described, config = folder / "visual/preprocess_cfg.json", folder / "config.json"
    files: list[Path] = []
    if described.is_file():
        source = replace(source, preprocessing=read_immich(described))
        files.append(described)
    text, graph = None, folder / "textual/model.onnx"
    if graph.is_file():
        tokenizer = folder / "textual/tokenizer.json"
        if not tokenizer.is_file():
            raise BadSource(
                f"{folder} has a text network without a tokenizer.", f"Put tokenizer.json into {graph.parent}."
            )
        of_model = _json_or_empty(config)
        of_text = of_model.get("text_cfg") or of_model.get("model_cfg", {}).get("text_cfg") or {}
        options = of_text.get("tokenizer_kwargs") or {}
        text = TextSource(
            graph,
            tokenizer,
            of_text.get("context_length", 77),
            pads=True,
            pad_token=_token(_json_or_empty(folder / "textual/tokenizer_config.json").get("pad_token")),
            cleans=options.get("clean") == "canonicalize",
        )
    return replace(source, text=text, licence=_licence(folder), files=tuple(files))


def _json_or_empty(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _token(value: object) -> str | None:
    """A special token as a tokenizer's settings state it: its text, or an object with its text."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _licence(folder: Path) -> str | None:
    """The licence that the model card states in its header."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    _, _, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    found = LICENCE.search(rest.partition("\n---")[0])
    return found[1] if found else None


def _no_network(folder: Path) -> BadSource:
    others = sorted(path.name for path in folder.rglob("*") if path.suffix in OTHER_FORMATS)
    if others:
        return BadSource(
            f"{folder} has no ONNX file, but {others[0]}, which can't be imported.",
            "Export the network as ONNX: docs/models.md says how.",
        )
    return BadSource(f"{folder} has no ONNX file in a known place.", f"It should have {LAYOUTS}; or name the file.")


def _name(text: str) -> str:
    """The name of a network in the id of its model."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "network"
