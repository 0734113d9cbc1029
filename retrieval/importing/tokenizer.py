"""The tokenizer of a bundle's text network."""

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import onnx

from retrieval.errors import BadSource
from retrieval.importing.graph import Tensor
from retrieval.importing.sources import TextSource
from retrieval.text_embedder import open_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Networks round the size of their vocabulary up; a tokenizer that lacks more tokens is that of another network.
UNUSED_TOKENS: Final = 1024


def prepared_tokenizer(source: TextSource, ids: Tensor) -> "Tokenizer":
    """Open the tokenizer, and let it truncate, pad and clean texts as the text network needs it."""
    from tokenizers import Regex, normalizers  # noqa: PLC0415 - an extra

    tokenizer = open_tokenizer(source.tokenizer)
    fixed = ids.shape[1]
    truncation, padding = tokenizer.truncation, tokenizer.padding
    longest = fixed or (truncation or {}).get("max_length") or source.longest
    if longest:
        tokenizer.enable_truncation(**{**(truncation or {}), "max_length": longest})
    if longest and (fixed or source.pads or (padding or {}).get("length")):
        token, number = _padding(tokenizer, source, padding)
        tokenizer.enable_padding(length=longest, pad_id=number, pad_token=token)
    elif padding:
        tokenizer.no_padding()  # one text at a time
    if source.cleans:
        clean: list[Any] = [
            normalizers.Replace(Regex(f"[{_escaped(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Lowercase(),
        ]
        existing = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([*clean, *existing])
    return tokenizer


def check_vocabulary(source: TextSource, model: onnx.ModelProto, ids: Tensor, tokenizer: "Tokenizer") -> None:
    """Raise `BadSource` if the tokenizer has another vocabulary than the text network."""
    rows = _embedded_tokens(model, ids)
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    if rows is not None and not rows - UNUSED_TOKENS <= known <= rows:
        raise BadSource(
            f"{source.tokenizer} is the tokenizer of another network: it has {known:,} tokens, and {source.graph} "
            f"has {rows:,}.",
            "Copy both from the same source.",
        )


def _embedded_tokens(model: onnx.ModelProto, ids: Tensor) -> int | None:
    """The number of tokens that a network has vectors of; None if that can't be found."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    same = {ids.name}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Identity", "Reshape", "Flatten") and node.input[0] in same:
            same.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in same and len(weights.get(node.input[0], ())) == 2:
            return int(weights[node.input[0]][0])
    return None


def _padding(tokenizer: "Tokenizer", source: TextSource, padding: dict[str, Any] | None) -> tuple[str, int]:
    """The token with which texts are padded, and its id."""
    if padding:
        return padding["pad_token"], padding["pad_id"]
    known: Sequence[str] = [token for token in (source.pad_token, "<pad>", "[PAD]", "<|endoftext|>") if token]
    for token in known:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return token, number
    return known[0], 0


def _escaped(characters: str) -> str:
    return "".join(f"\\{character}" for character in characters)
