"""Small networks with the odd features of real ones, as ONNX files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
PATCH = 8
WIDTH = 24
TOKENS = (SIZE // PATCH) ** 2 + 1
DTYPES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}


class Graph:
    """Collects the nodes and weights of a graph."""

    def __init__(self, seed: int = 0, type: int = TensorProto.FLOAT) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.type = type
        self._random = np.random.default_rng(seed)

    def add(self, op: str, *inputs: str, named: str | None = None, **attributes: object) -> str:
        output = named or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def weight(self, *shape: int, scale: float = 0.2) -> str:
        values = self._random.normal(0, scale, shape)
        return self.constant(values.astype(DTYPES[self.type]))

    def constant(self, value: object) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def model(self, inputs: dict[str, tuple[int, list]], outputs: dict[str, list], opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
            [helper.make_tensor_value_info(name, self.type, shape) for name, shape in outputs.items()],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def transformer(graph: Graph, tokens: str, count: int) -> str:
    """One layer of attention over tokens, [n, count, WIDTH]."""
    query, key, value = (graph.add("MatMul", tokens, graph.weight(WIDTH, WIDTH)) for _ in range(3))
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1]))
    attended = graph.add("MatMul", graph.add("Softmax", scores, axis=2), value)
    return graph.add("Add", tokens, attended)


def vision(
    *,
    layout: str = "nchw",
    batch: object = "batch",
    type: int = TensorProto.FLOAT,
    pooled: bool = True,
    opset: int = 17,
    fixed_inside: bool = False,
    name: str = "pixel_values",
    output: str = "image_embeds",
    dimension: int = 16,
    seed: int = 0,
) -> onnx.ModelProto:
    """A patch embedding with attention, [batch, 3, SIZE, SIZE] → [batch, dimension] or [batch, TOKENS, WIDTH]."""
    graph = Graph(seed, type)
    planes = name if layout == "nchw" else graph.add("Transpose", name, perm=[0, 3, 1, 2])
    cells = graph.add(
        "Conv", planes, graph.weight(WIDTH, 3, PATCH, PATCH), kernel_shape=[PATCH] * 2, strides=[PATCH] * 2
    )
    shape = [1 if fixed_inside else 0, WIDTH, -1]
    patches = graph.add("Transpose", graph.add("Reshape", cells, graph.constant(shape)), perm=[0, 2, 1])
    first = graph.add("Slice", patches, *(graph.constant([value]) for value in (0, 1, 1)))
    tokens = graph.add("Concat", first, patches, axis=1)
    tokens = graph.add("Add", tokens, graph.weight(1, TOKENS, WIDTH))
    tokens = transformer(graph, tokens, TOKENS)
    if pooled:
        cls = graph.add("Gather", tokens, graph.constant(0), axis=1)
        graph.add("MatMul", cls, graph.weight(WIDTH, dimension), named=output)
    else:
        graph.add("Identity", tokens, named=output)
    size = [batch, 3, SIZE, SIZE] if layout == "nchw" else [batch, SIZE, SIZE, 3]
    return graph.model({name: (type, size)}, {output: [batch, dimension] if pooled else [batch, TOKENS, WIDTH]}, opset)


def convolutional(*, classes: int = 0, opset: int = 13, seed: int = 0) -> onnx.ModelProto:
    """A convolution and global pooling, to a feature map or to the scores of classes."""
    graph = Graph(seed)
    cells = graph.add("Conv", "input", graph.weight(WIDTH, 3, 4, 4), kernel_shape=[4, 4], strides=[4, 4])
    cells = graph.add("Relu", cells, named="feature_map")
    shape = ["n", WIDTH, SIZE // 4, SIZE // 4]
    if classes:
        flat = graph.add("Flatten", graph.add("GlobalAveragePool", cells), named="flat")
        graph.add("Gemm", flat, graph.weight(WIDTH, classes), graph.weight(classes), named="scores_of_classes")
        return graph.model({"input": (graph.type, ["n", 3, SIZE, SIZE])}, {"scores_of_classes": ["n", classes]}, opset)
    return graph.model({"input": (graph.type, ["n", 3, SIZE, SIZE])}, {"feature_map": shape}, opset)


def saved(model: onnx.ModelProto, path: Path, change: Callable[[onnx.ModelProto], None] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if change:
        change(model)
    onnx.save(model, path)
    return path


def text(
    vocabulary: int,
    *,
    ids: str = "input_ids",
    mask: bool = True,
    type: int = TensorProto.INT64,
    length: object = "tokens",
    pooled: bool = True,
    output: str = "text_embeds",
    dimension: int = 16,
    longest: int = 24,
    zeros: bool = False,
    seed: int = 1,
) -> onnx.ModelProto:
    """Token and position vectors with a layer of attention, [batch, tokens] → [batch, dimension] or per token."""
    graph = Graph(seed)
    tokens = graph.add("Gather", graph.weight(vocabulary, WIDTH, scale=1), ids, axis=0)
    count = graph.add("Slice", graph.add("Shape", ids), *(graph.constant([value]) for value in (1, 2, 0)))
    positions = graph.add(
        "Slice", graph.weight(longest, WIDTH, scale=1), graph.constant([0]), count, graph.constant([0])
    )
    tokens = graph.add("Add", tokens, positions)
    inputs = {ids: (type, ["batch", length])}
    if zeros:
        inputs["token_type_ids"] = (type, ["batch", length])
        tokens = graph.add("Add", tokens, graph.add("Gather", graph.weight(2, WIDTH), "token_type_ids", axis=0))
    tokens = graph.add("MatMul", transformer(graph, tokens, longest), graph.weight(WIDTH, dimension))
    if mask:
        inputs["attention_mask"] = (type, ["batch", length])
    if not pooled:
        if mask:  # an unpooled network uses its mask in the attention only; here, it leaves masked tokens as they are
            column = graph.add("Unsqueeze", graph.add("Cast", "attention_mask", to=graph.type), graph.constant([2]))
            tokens = graph.add("Mul", tokens, graph.add("Add", column, graph.constant(np.float32(1))))
        graph.add("Identity", tokens, named=output)
        return graph.model(inputs, {output: ["batch", length, dimension]})
    if mask:
        row = graph.add("Unsqueeze", graph.add("Cast", "attention_mask", to=graph.type), graph.constant([1]))
        graph.add("Squeeze", graph.add("MatMul", row, tokens), graph.constant([1]), named=output)
    else:
        graph.add("ReduceMean", tokens, axes=[1], keepdims=0, named=output)
    return graph.model(inputs, {output: ["batch", dimension]})


LINES = (
    "a photo of a red tulip", "a photo of a yellow daisy", "two dogs on the beach", "an old house in the snow",
    "Ночной город и море", "海辺の夕焼け", "a blue car and a green bicycle", "fruit on a table", "sunflowers and roses",
)  # fmt: skip


def tokenizer(path: Path, *, longest: int | None = 24, vocabulary: int = 300) -> int:
    """Train a byte-pair tokenizer on a few lines, write it, and return the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: PLC0415 - slow

    trained = Tokenizer(models.BPE(unk_token=None))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<start>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(LINES, trainer)
    trained.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    if longest:
        trained.enable_truncation(longest)
    path.parent.mkdir(parents=True, exist_ok=True)
    trained.save(str(path))
    return trained.get_vocab_size()


def hugging_face(folder: Path, *, vision_model: onnx.ModelProto | None = None, **preprocessor: object) -> Path:
    """Write a folder laid out like Hugging Face's exports of a network of photos."""
    config = {
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.25, 0.3],
    }
    saved(vision_model or vision(), folder / "onnx/model.onnx")
    written = {name: value for name, value in {**config, **preprocessor}.items() if value is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(written))
    (folder / "README.md").write_text("---\ntags:\n- images\nlicense: apache-2.0\n---\n# A network\nlicense: none\n")
    return folder


def two_towers(folder: Path, **of_text: object) -> Path:
    """Write a folder laid out like Hugging Face's exports of a network of photos and texts."""
    hugging_face(folder)
    (folder / "onnx/model.onnx").rename(folder / "onnx/vision_model.onnx")
    size = tokenizer(folder / "tokenizer.json")
    saved(text(size, **of_text), folder / "onnx/text_model.onnx")
    return folder


def immich(folder: Path, *, clean: bool = False, **preprocess: object) -> Path:
    """Write a folder laid out like Immich's networks of photos and texts."""
    config = {"size": [SIZE, SIZE], "mode": "RGB", "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    config |= {"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0, **preprocess}
    saved(vision(name="image", output="embedding", batch=1), folder / "visual/model.onnx")
    (folder / "visual/preprocess_cfg.json").write_text(json.dumps(config))
    size = tokenizer(folder / "textual/tokenizer.json", longest=None)
    length = 20
    model = text(
        size, ids="text", mask=False, type=TensorProto.INT32, length=length, output="embedding", longest=length
    )
    saved(model, folder / "textual/model.onnx")
    (folder / "textual/tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    kwargs = {"tokenizer_kwargs": {"clean": "canonicalize"}} if clean else {}
    (folder / "config.json").write_text(json.dumps({"embed_dim": 16, "text_cfg": {"context_length": length, **kwargs}}))
    return folder
