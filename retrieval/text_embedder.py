"""Texts to embeddings, with the text network of a bundle."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.errors import BadBundle, LookalikeError, first_line
from retrieval.session import Session

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
EMBEDDINGS: Final = "embeddings"


class TextEmbedder:
    """Runs a text network on the CPU.

    Args:
        tokenizer: `tokenizer.json` of a bundle, which also truncates and pads.
        network: `text.onnx` of a bundle: `input_ids` and `attention_mask` int64 [batch, tokens] → `embeddings`.
        threads: how many threads compute; 0 for one per core.

    Raises:
        LookalikeError: the package `tokenizers` is not installed.
        BadBundle: the tokenizer or the network can't be loaded.
    """

    def __init__(self, tokenizer: Path, network: Path, threads: int) -> None:
        self._tokenizer = open_tokenizer(tokenizer)
        try:
            self._session = Session(network, threads=threads)
        except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
            raise BadBundle(
                f"ONNX Runtime can't load {network} ({first_line(error)}).", "Import the network again."
            ) from None

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the embeddings of texts, float32 [texts, d], of unit length.

        A text with more tokens than the network takes is truncated, as its tokenizer says.
        """
        return np.concatenate([self._one(text) for text in texts])

    def _one(self, text: str) -> npt.NDArray[np.float32]:
        encoded = self._tokenizer.encode(text)
        inputs = {
            INPUT_IDS: np.array([encoded.ids], np.int64),
            ATTENTION_MASK: np.array([encoded.attention_mask], np.int64),
        }
        return self._session.run(EMBEDDINGS, inputs)


def has_tokenizers() -> bool:
    """Whether the package `tokenizers` is installed."""
    return find_spec("tokenizers") is not None


def open_tokenizer(path: Path) -> "Tokenizer":
    """Open a `tokenizer.json`; raises as `TextEmbedder`."""
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - an extra
    except ImportError:
        raise LookalikeError("Searching by words needs tokenizers.", "Install lookalike[text].") from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # of the library in Rust, which raises Exception itself
        raise BadBundle(f"{path} can't be read ({first_line(error)}).", "Copy it again from its source.") from None
