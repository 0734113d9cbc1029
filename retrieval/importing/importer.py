"""From an existing network to a model bundle."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import onnx

from retrieval.bundle import Bundle, check_target, write_bundle
from retrieval.bundle_format import TEXT_NETWORK, TOKENIZER, FileName, Origin, Parity, Part
from retrieval.errors import BadSource, LookalikeError, os_errors_as
from retrieval.images import Interpolation
from retrieval.importing.graph import (
    Tensor,
    check_takes_photos,
    choose_output,
    image_input,
    inputs_of,
    outputs_of,
    prune,
)
from retrieval.importing.guesses import guess_interpolation, guess_layout, guess_size, guess_values
from retrieval.importing.onnx_file import copy_of, read_graph, write_graph
from retrieval.importing.preprocessing import Colours, Layout, Pool, Preprocessing, Resize
from retrieval.importing.reference import Reference, reference_values
from retrieval.importing.running import running
from retrieval.importing.sources import Source, open_source
from retrieval.importing.text import ImportedText, import_text
from retrieval.importing.verification import EmbedsOtherwise, Expected, expected_of, verify
from retrieval.importing.wrapping import ImageNetwork, wrap_images
from retrieval.session import runtime_version

By = Literal["option", "file", "graph", "guess"]
LARGEST_SIZE = 2048
DEFAULT_RESIZE: Resize = "shortest"
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about a network; None for what the source or the graph says, or has to be guessed."""

    size: int | None = None
    shorter_side: int | None = None
    resize: Resize | None = None
    interpolation: Interpolation | None = None
    mean: Colours | None = None
    std: Colours | None = None
    layout: Layout | None = None
    output: str | None = None
    pool: Pool | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A property of a network, and who says so: the user, a file of the source, its graph, or a guess."""

    name: str
    value: str
    by: By


@dataclass(frozen=True)
class Imported:
    """A bundle, what was chosen for it, and how well it agrees with its network."""

    bundle: Bundle
    choices: list[Choice]
    parity: Parity
    reduced_jpeg: float  # cosine of the embeddings of a large JPEG that is decoded at full and at reduced size
    one_by_one: bool  # whether the network takes one photo at a time
    text: ImportedText | None = None


@dataclass
class _Choices:
    """Collects choices."""

    options: Options
    source: Source
    made: list[Choice] = field(default_factory=list)

    def choose(self, name: str, of_file: T | None, guess: Callable[[], T], by: By = "guess") -> T:
        """Choose what the user says, or else the file, or else a guess."""
        option: T | None = getattr(self.options, name)
        value = option if option is not None else of_file
        source: By = "option" if option is not None else "file"
        if value is None:
            value, source = guess(), by
        self.made.append(Choice(name, _text(value), source))
        return value


def import_network(name: str, out: Path, options: Options, say: Say) -> Imported:
    """Write the bundle of a network, with the part look alone.

    Args:
        name: an ONNX file, a folder, or `hf:OWNER/NAME[@REVISION]`; see `open_source`.
        out: the folder of the bundle.
        say: is called with messages of progress.

    Raises:
        BadSource: there is no network, or it can't embed photos.
        EmbedsOtherwise: the bundle embeds photos differently than the network. Then no bundle is written.
        BadBundle: the bundle can't be written.
    """
    check_target(out)
    source = open_source(name)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-import-") as folder:
        work = Path(folder)
        say("Reading the network …")
        network, model, choices, reference, digests = _inspected(source, options, work)
        say("Comparing its embeddings with those of the bundle …")
        with running(source.graph):
            expected = expected_of(Reference(reference), network)
        parity, one_by_one = _wrapped(source, model, network, expected, work / "embedder.onnx")
        text = None
        if source.text is not None:
            text = import_text(source.text, network.dimension, work)
            digests |= _digests(source, text.files)
        bundle = _written(out, source, network, parity, digests, work)
    return Imported(bundle, choices, parity, expected.reduced_jpeg, one_by_one, text)


def _inspected(
    source: Source, options: Options, work: Path
) -> tuple[ImageNetwork, onnx.ModelProto, list[Choice], Path, dict[str, str]]:
    """Find out how a network embeds photos.

    Returns:
        The network, the graph that computes its output, the choices made, the file of its unchanged graph, and the
        sha256 of the input files.
    """
    model, files = read_graph(source.graph, work)
    choices = _Choices(options, source)
    check_takes_photos(source.graph, inputs_of(model))
    output = choose_output(source.graph, model, options.output)
    choices.choose("output", None, lambda: output, "graph")
    needed, declared = len(inputs_of(model)), {tensor.name for tensor in outputs_of(model)}
    prune(model, output)
    tensor = image_input(source.graph, inputs_of(model))
    layout = choices.choose("layout", None, lambda: guess_layout(tensor), "graph")
    preprocessing = _preprocessing(model, tensor, layout, choices)
    reference = source.graph
    if needed > 1 or output not in declared:  # ONNX Runtime computes only declared outputs, from all inputs
        reference = work / "reference.onnx"
        _save(model, reference)
    network = ImageNetwork(tensor, output, layout, None, 2, 0, preprocessing)
    network = _with_output(source.graph, reference, network, choices)
    return network, model, choices.made, reference, _digests(source, [*files, *source.files])


def _preprocessing(model: onnx.ModelProto, tensor: Tensor, layout: Layout, choices: _Choices) -> Preprocessing:
    told, options = choices.source.preprocessing, choices.options
    size = choices.choose("size", told.size, lambda: guess_size(tensor, layout), "graph")
    if not 1 <= size <= LARGEST_SIZE:
        raise BadSource(f"The size of the input is {size}; it must be from 1 to {LARGEST_SIZE} pixels.", "Name --size.")
    shorter_side = None if options.size and not options.shorter_side else told.shorter_side
    shorter_side = choices.choose("shorter_side", shorter_side, lambda: size)
    resize: Resize = choices.choose("resize", told.resize, lambda: DEFAULT_RESIZE)
    if resize == "shortest" and shorter_side < size:
        raise BadSource(
            f"A shorter side of {shorter_side} pixels can't be cropped to {size}.", "Correct --shorter-side."
        )
    interpolation: Interpolation = choices.choose(
        "interpolation", told.interpolation, lambda: guess_interpolation(model)
    )
    guess = guess_values(model, tensor, layout)
    mean = choices.choose("mean", told.mean, lambda: guess.mean)
    std = choices.choose("std", told.std, lambda: guess.std)
    if 0 in std:
        raise BadSource("The standard deviation must not be 0.", "Correct --std.")
    is_guess = options.mean is None and options.std is None and told.mean is None
    rescale = guess.rescale if is_guess else told.rescale
    return Preprocessing(size, shorter_side, resize, interpolation, mean, std, rescale, told.fill)


def _with_output(path: Path, reference: Path, network: ImageNetwork, choices: _Choices) -> ImageNetwork:
    """Run a network on one photo, to see what its output is."""
    size = network.preprocessing.size or 1
    with running(path):
        values = reference_values(np.full((size, size, 3), 127, np.uint8), network)
        shape = Reference(reference).output(network, values).shape
    rank = len(shape)
    if rank not in (2, 3, 4) or shape[0] != 1:
        raise BadSource(
            f"{path}: {network.output} has the shape {shape}, and is not an embedding.", "Name another one."
        )
    pool: Pool | None = None
    if rank > 2:
        pool = choices.choose("pool", None, lambda: "cls" if rank == 3 else "mean")
        if pool == "cls" and rank == 4:
            raise BadSource(
                f"{path}: {network.output} is a feature map {shape}, without a first token.", "Use --pool mean."
            )
    dimension = int(shape[1] if rank == 4 and network.layout == "nchw" else shape[-1])
    if dimension < 2:
        raise BadSource(
            f"{path}: {network.output} has the shape {shape}, and is not an embedding.", "Name another one."
        )
    return replace(network, rank=rank, pool=pool, dimension=dimension)


def _wrapped(
    source: Source, model: onnx.ModelProto, network: ImageNetwork, expected: Expected, path: Path
) -> tuple[Parity, bool]:
    """Write the graph of the bundle, and verify it; a network that fails with a batch takes one photo at a time."""
    first: Exception | None = None
    for one_by_one in (False, True):
        wrapped = copy_of(model)
        wrap_images(wrapped, network, one_by_one=one_by_one)
        _save(wrapped, path)
        try:
            with running(source.graph):
                return verify(path, network, expected), one_by_one
        except EmbedsOtherwise as error:
            if error.step != "the network":
                raise
            first = first or error
        except BadSource as error:
            first = first or error
    assert first is not None
    raise first


def _written(  # noqa: PLR0917 - a bundle is all of them
    out: Path,
    source: Source,
    network: ImageNetwork,
    parity: Parity,
    digests: dict[str, str],
    work: Path,
) -> Bundle:
    """Write the bundle of the files in the folder `work`."""
    of_text: tuple[FileName, FileName] = (TEXT_NETWORK, TOKENIZER)
    return write_bundle(
        out,
        work / "embedder.onnx",
        files={name: work / name for name in of_text if (work / name).exists()},
        backbone=source.name,
        recipe="imported",
        dimension=network.dimension,
        parts=[Part(name="look", length=network.dimension, weight=1)],
        resize=network.preprocessing.rule,
        classes=[],
        parity=parity,
        origin=Origin(source=source.origin, revision=source.revision, licence=source.licence, files=digests),
        versions={"onnx": version("onnx"), "onnxruntime": runtime_version(), "pillow": version("pillow")},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _save(model: onnx.ModelProto, path: Path) -> None:
    with os_errors_as(LookalikeError, f"{path} can't be written", "Free disk space and try again."):
        write_graph(model, path)


def _digests(source: Source, files: Sequence[Path]) -> dict[str, str]:
    digests = {}
    for path in dict.fromkeys(files):
        with path.open("rb") as file:
            digests[path.relative_to(source.folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _text(value: object) -> str:
    return ", ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else str(value)


def as_json_object(imported: Imported) -> dict[str, Any]:
    """Return the result as an object of JSON."""
    manifest = imported.bundle.manifest
    return {
        "bundle": str(imported.bundle.folder),
        "model": manifest.model_id,
        "dimension": manifest.dimension,
        "choices": [asdict(choice) for choice in imported.choices],
        "min_cosine": imported.parity.min_cosine,
        "reduced_jpeg_cosine": imported.reduced_jpeg,
        "one_by_one": imported.one_by_one,
        "text": imported.text
        and {
            "output": imported.text.output,
            "longest": imported.text.longest,
            "min_cosine": imported.text.min_cosine,
        },
        "licence": manifest.origin and manifest.origin.licence,
        "revision": manifest.origin and manifest.origin.revision,
    }
