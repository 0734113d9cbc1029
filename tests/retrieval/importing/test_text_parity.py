"""Embeddings of texts by a bundle, compared with the unchanged graph on the tokens of the unchanged tokenizer."""

from itertools import cycle, islice
from pathlib import Path

import networks
import numpy as np
import onnxruntime
import pytest
from marks import slow
from onnx import TensorProto
from tokenizers import Tokenizer

from retrieval.bundle import load_bundle
from retrieval.importing.importer import Options, import_network
from retrieval.text_embedder import TextEmbedder

LONGEST = {"hugging_face": 24, "immich": 20}
SCRIPTS = (
    "a photo of a red tulip", "Zwei Hunde, müde am Strand!", "Ночной город и море", "Κόκκινο λουλούδι", "قطة سوداء",
    "בית ישן בשלג", "लाल गुलाब", "海辺の夕焼け", "一辆蓝色的汽车", "눈 속의 집", "ดอกไม้สีแดง", "🌷 tulip, 3×",
    "naïve café — “déjà vu”",
)  # fmt: skip
SENTENCES = [
    f"{number} {text} " * (1 if number % 10 else 30) for number, text in enumerate(islice(cycle(SCRIPTS), 200))
]


@pytest.mark.parametrize(
    ("layout", "of_text"),
    [
        ("hugging_face", {}),
        slow("hugging_face", {"pooled": False}),
        slow("hugging_face", {"type": TensorProto.INT32, "zeros": True}),
        slow("hugging_face", {"length": 24, "mask": False}),
        slow("immich", {}),
    ],
)
def test_texts_are_embedded_as_the_graph_does(tmp_path: Path, layout: str, of_text: dict[str, object]) -> None:
    if layout == "immich":
        folder, graph, tokenizer = networks.immich(tmp_path / "clip"), "textual/model.onnx", "textual/tokenizer.json"
    else:
        folder = networks.two_towers(tmp_path / "clip", **of_text)
        graph, tokenizer = "onnx/text_model.onnx", "tokenizer.json"
    bundle = load_bundle(import_network(str(folder), tmp_path / "bundle", Options(), lambda _: None).bundle.folder)
    actual = TextEmbedder(bundle.tokenizer, bundle.text_network, threads=1).embed(SENTENCES)
    expected = reference(folder / graph, folder / tokenizer, LONGEST[layout])
    assert np.einsum("nd,nd->n", actual, expected).min() >= 0.9999
    assert len(np.unique(expected.round(4), axis=0)) > 150, "they differ from each other"


def reference(graph: Path, file: Path, longest: int) -> np.ndarray:
    """Run a text network on texts, one at a time: float32 [texts, d], unit length."""
    tokenizer, session = Tokenizer.from_file(str(file)), onnxruntime.InferenceSession(str(graph))
    fixed = next(each.shape[1] for each in session.get_inputs())
    rows = []
    for text in SENTENCES:
        ids = tokenizer.encode(text).ids
        if len(ids) > longest:
            ids = [*ids[: longest - 1], tokenizer.token_to_id("<end>")]
        mask = [1] * len(ids)
        if isinstance(fixed, int):
            mask += [0] * (fixed - len(ids))
            ids = ids + [tokenizer.token_to_id("<pad>")] * (fixed - len(ids))
        given = {"attention_mask": mask, "token_type_ids": [0] * len(ids)}
        feed = {
            each.name: np.array([given.get(each.name, ids)], np.int32 if "int32" in each.type else np.int64)
            for each in session.get_inputs()
        }
        output = session.run(None, feed)[0][0]
        rows.append(output if output.ndim == 1 else output[np.array(mask, bool)].mean(axis=0))
    stacked = np.stack(rows)
    return np.asarray(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))
