"""The text network of a bundle: made, and verified against the unchanged graph."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx

from retrieval.bundle_format import TEXT_NETWORK, TOKENIZER
from retrieval.errors import BadSource, os_errors_as
from retrieval.importing.graph import INTEGERS, choose_output, inputs_of, outputs_of, prune
from retrieval.importing.onnx_file import read_graph, write_graph
from retrieval.importing.reference import Reference
from retrieval.importing.running import running
from retrieval.importing.sources import TextSource
from retrieval.importing.tokenizer import check_vocabulary, prepared_tokenizer
from retrieval.importing.verification import verify_texts
from retrieval.importing.wrapping import TextNetwork, wrap_texts
from retrieval.text_embedder import TextEmbedder

MASKS: Final = ("attention_mask", "mask")
ZEROS: Final = ("token_type_ids", "segment_ids")
SAMPLES: Final = (
    "a red tulip",
    "Two dogs, running on the beach!",
    "Ein altes Haus im Schnee",
    "Ночной город",
    "海辺の夕焼け",
    "قطة سوداء",
    "a photo of " + "very " * 200 + "many words",
)


@dataclass(frozen=True, slots=True)
class ImportedText:
    """A text network."""

    output: str
    longest: int | None  # number of tokens above which a text is truncated; None if it is not
    min_cosine: float  # of the bundle's embeddings and those of the unchanged graph
    files: tuple[Path, ...] = ()  # that were read


def import_text(source: TextSource, dimension: int, work: Path) -> ImportedText:
    """Write `text.onnx` and `tokenizer.json` to a folder.

    Args:
        dimension: of the embeddings of photos, which those of texts must have, too.

    Raises:
        BadSource: the text network or its tokenizer can't be used.
        EmbedsOtherwise: the bundle embeds texts differently than the network.
    """
    model, files = read_graph(source.graph, work)
    needed, declared = len(inputs_of(model)), {tensor.name for tensor in outputs_of(model)}
    output = choose_output(source.graph, model, None, text=True)
    prune(model, output)
    network = _network(source, model, output)
    tokenizer = prepared_tokenizer(source, network.ids)
    check_vocabulary(source, model, network.ids, tokenizer)
    reference = source.graph
    with os_errors_as(BadSource, f"{work} can't be written", "Free disk space and try again."):
        if len(inputs_of(model)) < needed or output not in declared:
            reference = work / "text-reference.onnx"
            write_graph(model, reference)
        tokens = [(encoded.ids, encoded.attention_mask) for encoded in tokenizer.encode_batch(list(SAMPLES))]
        with running(source.graph):
            original = Reference(reference)
            network = replace(network, rank=original.text_rank(network, *tokens[0]))
            expected = original.texts(network, tokens)
        if expected.shape[1] != dimension:
            raise BadSource(
                f"{source.graph} embeds texts as {expected.shape[1]} numbers, and photos are embedded as {dimension}.",
                "Export both with their projections, so that photos and texts can be compared.",
            )
        wrap_texts(model, network)
        write_graph(model, work / TEXT_NETWORK)
        tokenizer.save(str(work / TOKENIZER), pretty=False)
    with running(source.graph):
        actual = TextEmbedder(work / TOKENIZER, work / TEXT_NETWORK, threads=0).embed(SAMPLES)
    longest = (tokenizer.truncation or {}).get("max_length")
    return ImportedText(output, longest, verify_texts(expected, actual).min_cosine, (*files, source.tokenizer))


def _network(source: TextSource, model: onnx.ModelProto, output: str) -> TextNetwork:
    """Find the inputs of token ids and of their mask, and those that are zeros; raises `BadSource` if others exist."""
    inputs = inputs_of(model)
    usable = [tensor for tensor in inputs if tensor.type in INTEGERS and len(tensor.shape) == 2]
    masks = [tensor for tensor in usable if tensor.name in MASKS]
    zeros = tuple(tensor for tensor in usable if tensor.name in ZEROS)
    ids = [tensor for tensor in usable if tensor not in (*masks, *zeros)]
    if len(usable) < len(inputs) or len(ids) != 1:
        raise BadSource(
            f"{source.graph} is not a text network: its inputs are {', '.join(tensor.name for tensor in inputs)}.",
            "Export it with input_ids and attention_mask, integers of shape [batch, tokens].",
        )
    return TextNetwork(ids[0], masks[0] if masks else None, zeros, output, 2, 0)
