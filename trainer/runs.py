"""Training with one seed or several: what each run came to, and how far chance moves the figures."""

import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from retrieval.analysis.evaluation import METRICS, Evaluation, evaluate_embeddings
from retrieval.bundle import Parity, Precision
from retrieval.files import write_atomically
from retrieval.top_k import Embeddings
from trainer.backbones.base import Backbone
from trainer.checkpoints import Checkpoints
from trainer.data import LabelledImages, Say
from trainer.export import check_parity, export_onnx, run_onnx, save_weights
from trainer.network import EmbeddingNetwork, build_for, is_pretrained, prepared
from trainer.progress import TrainingProgress
from trainer.recipes import Recipe
from trainer.schedules import planned_learning_rates, timetable
from trainer.tensorboard import TensorBoardLog
from trainer.training import Epoch, TrainingCallback, kept_epoch, train_network

ONNX = "embedder.onnx"
WEIGHTS = "embedder.weights.h5"
RECORD = "run.json"

Photos = Mapping[str, LabelledImages]


@dataclass(frozen=True)
class Plan:
    """What to train, before chance has its part.

    Attributes:
        backbone: what to build on.
        recipe: how to train, with what the user changed of it.
        weights: `auto`, `none` or a file.
        changed: what the user changed of the recipe, each `setting=value`.
        mixed_precision: whether to compute in bfloat16 where that is precise enough; weights stay float32.
        tensorboard: where to write logs for TensorBoard, a folder a seed; None: nowhere.
        precision: of the network that the bundle shall hold.
    """

    backbone: Backbone
    recipe: Recipe
    weights: str
    changed: tuple[str, ...] = ()
    mixed_precision: bool = False
    tensorboard: Path | None = None
    precision: Precision = "float32"

    @property
    def fed(self) -> Backbone:
        """The backbone as the recipe feeds it."""
        return prepared(self.backbone, self.recipe.preparation)

    @property
    def pretrained(self) -> bool:
        """Whether the backbone starts with trained weights."""
        return is_pretrained(self.backbone, self.weights)

    def build(self, seed: int, mixed_precision: bool = False) -> EmbeddingNetwork:
        """The network as training begins; seeds all that TensorFlow draws from here on."""
        tf.keras.backend.clear_session()
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed_precision else "float32")
        tf.keras.utils.set_random_seed(seed)
        return build_for(self.recipe, self.backbone, self.weights)


@dataclass(frozen=True)
class Run:
    """One training, exported and measured.

    Attributes:
        seed: of its batches and random weights.
        folder: holds the ONNX network and the Keras weights.
        epochs: how it went.
        kept: the epoch whose weights it ended with.
        interrupted: whether the user ended it early.
        parameters: of the network, trained or not.
        parity: how far ONNX Runtime is from TensorFlow, both in float32.
        embeddings: by held-out split, float32 [photos, d], of ONNX Runtime.
        evaluations: by held-out split.
        precision: of the network that was measured.
    """

    seed: int
    folder: Path
    epochs: list[Epoch]
    kept: Epoch
    interrupted: bool
    parameters: int
    parity: Parity
    embeddings: dict[str, Embeddings]
    evaluations: dict[str, Evaluation]
    precision: Precision = "float32"

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.folder / (ONNX if self.precision == "float32" else f"{self.precision}.onnx")


def train_runs(train_one: Callable[[int], Run], first: int, count: int, say: Say) -> list[Run]:
    """Train with the seeds first, first + 1, …; an interruption ends them all and keeps what there is.

    Args:
        train_one: trains with a seed.
        first: the first seed.
        count: how many.
        say: takes what the user should know.
    """
    runs: list[Run] = []
    for seed in range(first, first + count):
        if count > 1:
            say(f"Seed {seed}, {seed - first + 1} of {count}.")
        try:
            runs.append(train_one(seed))
        except KeyboardInterrupt:
            if not runs:
                raise
            break
        if runs[-1].interrupted:
            break
    return runs


def train_run(plan: Plan, photos: Photos, seed: int, folder: Path, say: Say) -> Run:
    """Train a network, export it and measure it; what was done of it before is not done again.

    Args:
        plan: what to train.
        photos: by split; `train` is learnt from, `val` chosen on, and all but `train` measured.
        seed: of all that is drawn.
        folder: what to write to, and where an unfinished training of the same plan left what it had.
        say: takes what the user should know.

    Raises:
        LookalikeError: weights that can't be had, or an export that is not faithful.
    """
    if not (folder / RECORD).exists():
        record = _train(plan, photos, seed, folder, say)
        write_atomically(folder / RECORD, json.dumps(record))
    record = json.loads((folder / RECORD).read_bytes())
    epochs = [Epoch(**fields) for fields in record["epochs"]]
    held_out = {split: of_split for split, of_split in photos.items() if split != "train"}
    embeddings = {split: run_onnx(folder / ONNX, of_split.images) for split, of_split in held_out.items()}
    return Run(
        seed,
        folder,
        epochs,
        kept_epoch(epochs, plan.recipe.stopping),
        record["interrupted"],
        record["parameters"],
        Parity(**record["parity"]),
        embeddings,
        {split: evaluate_embeddings(embeddings[split], held_out[split].labels) for split in held_out},
    )


def best_run(runs: Sequence[Run]) -> Run:
    """The run that retrieves the validation photos best, by MAP@R; the test photos have no say."""
    return max(runs, key=lambda run: run.evaluations["val"].overall["map_at_r"])


def over_seeds(runs: Sequence[Run], kept: Run) -> dict[str, Any]:
    """Each run's figures by split, and their mean and spread (standard deviation, n − 1)."""
    figures = [
        {"seed": run.seed, "seconds": run.epochs[-1].seconds}
        | {split: evaluation.overall for split, evaluation in run.evaluations.items()}
        for run in runs
    ]

    def summary(of: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
        return {
            split: {metric: of([run.evaluations[split].overall[metric] for run in runs]) for metric in METRICS}
            for split in kept.evaluations
        }

    return {"runs": figures, "kept": kept.seed, "mean": summary(statistics.fmean), "spread": summary(statistics.stdev)}


def _train(plan: Plan, photos: Photos, seed: int, folder: Path, say: Say) -> dict[str, Any]:
    """Train and export; what is known of it besides the files."""
    network, recipe = plan.build(seed, plan.mixed_precision), plan.recipe
    table = timetable(recipe, len(photos["train"].labels), network.pretrained)
    checkpoints = Checkpoints(folder / "checkpoints", say)
    with ExitStack() as open_callbacks:
        progress = open_callbacks.enter_context(TrainingProgress(table, say))
        callbacks: list[TrainingCallback] = [progress]
        if plan.tensorboard is not None:
            rates = planned_learning_rates(recipe, table, network.pretrained, seed)
            log = TensorBoardLog(plan.tensorboard / f"seed-{seed}", rates, table)
            callbacks.append(open_callbacks.enter_context(log))
        epochs = train_network(
            network,
            recipe,
            train=photos["train"],
            val=photos["val"],
            seed=seed,
            callbacks=callbacks,
            checkpoints=checkpoints,
        )
    say("Exporting the network and measuring it …")
    embedder = network.whole()
    if plan.mixed_precision:
        weights, network = embedder.get_weights(), plan.build(seed)
        embedder = network.whole()
        embedder.set_weights(weights)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(embedder, folder / WEIGHTS)
    export_onnx(network, folder / ONNX)
    parity = check_parity(embedder, folder / ONNX, photos["val"].images)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return {
        "epochs": [asdict(epoch) for epoch in epochs],
        "interrupted": progress.interrupted,
        "parameters": embedder.count_params(),
        "parity": parity.model_dump(),
    }
