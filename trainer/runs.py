"""Training runs with one seed or several, and how far metrics depend on the seed."""

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from retrieval.analysis.evaluation import Evaluation, evaluate_embeddings
from retrieval.bundle_format import Parity, Part, Precision
from retrieval.files import write_atomically
from retrieval.metrics import BySplit, Means, SeedMetrics, Seeds
from retrieval.parts import Parts
from retrieval.top_k import Embeddings
from trainer.backbones.base import Backbone
from trainer.backbones.imported import ImportedNetwork
from trainer.checkpoints import Checkpoints
from trainer.data import LabelledImages, Say
from trainer.export import check_parity, export_onnx, run_onnx, save_weights
from trainer.network import EmbeddingNetwork, build_for, is_pretrained, prepared
from trainer.progress import ProgressFile, TrainingProgress
from trainer.recipes import Recipe
from trainer.schedules import planned_learning_rates, timetable
from trainer.tensorboard import TensorBoardLog
from trainer.training import Epoch, TrainingCallback, kept_epoch, train_network

ONNX = "embedder.onnx"
WEIGHTS = "embedder.weights.h5"
RECORD = "run.json"
CHECKPOINTS = "checkpoints"

Photos = Mapping[str, LabelledImages]


@dataclass(frozen=True)
class Plan:
    """What to train; a seed determines the rest."""

    backbone: Backbone
    recipe: Recipe  # with the settings that the user changed
    weights: str  # `auto`, `none` or a file
    changed: tuple[str, ...] = ()  # settings of the recipe that the user changed, each `setting=value`
    mixed_precision: bool = False  # whether to compute in bfloat16 where that is precise enough; weights stay float32
    tensorboard: Path | None = None  # folder for logs of TensorBoard, with a folder per seed; None for no logs
    precision: Precision = "float32"  # of the network in the bundle
    progress: Path | None = None  # a JSON file that shows how far the training is; None for none

    @property
    def fed(self) -> Backbone:
        """The backbone with the recipe's preparation of photos."""
        return prepared(self.backbone, self.recipe.preparation)

    @property
    def pretrained(self) -> bool:
        """Whether the backbone starts with trained weights."""
        return is_pretrained(self.backbone, self.weights)

    def build(self, seed: int, mixed_precision: bool = False) -> EmbeddingNetwork:
        """Return the network before training; also set TensorFlow's precision and seed."""
        tf.keras.backend.clear_session()
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed_precision else "float32")
        tf.keras.utils.set_random_seed(seed)
        return build_for(self.recipe, self.backbone, self.weights)


class TrainingRecord(BaseModel):
    """The outcome of a training, which is stored beside its files."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a loss may be NaN

    epochs: list[Epoch]
    interrupted: bool
    parameters: int  # number of the network's parameters, trainable or not
    parity: Parity  # of ONNX Runtime and TensorFlow, both in float32
    parts: list[Part] = []  # of the embeddings; records of version 0.1.0 lack them


@dataclass(frozen=True)
class Run:
    """A network trained with one seed, exported and measured."""

    seed: int  # of batches and random weights
    folder: Path  # with the ONNX network and the Keras weights
    record: TrainingRecord
    kept: Epoch  # the epoch whose weights were kept
    embeddings: dict[str, Embeddings]  # by held-out split, float32 [photos, d], of ONNX Runtime
    evaluations: dict[str, Evaluation]
    copies: dict[str, Embeddings] = field(default_factory=dict)  # of edited copies, as `embeddings`
    precision: Precision = "float32"  # of the network that was measured

    @property
    def parts(self) -> Parts:
        """The parts of the embeddings."""
        return Parts(self.record.parts)

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.folder / (ONNX if self.precision == "float32" else f"{self.precision}.onnx")

    @property
    def epochs(self) -> list[Epoch]:
        """All epochs, in order."""
        return self.record.epochs

    @property
    def seconds(self) -> float:
        """The duration of the training."""
        return self.epochs[-1].seconds

    @property
    def means(self) -> BySplit[Means]:
        """The metrics by split, without intervals and classes."""
        return BySplit[Means].model_validate({split: found.overall for split, found in self.evaluations.items()})


def train_runs(train_one: Callable[[int], Run], first: int, count: int, say: Say) -> list[Run]:
    """Train with the seeds first, first + 1, …; after an interruption, return the completed runs.

    Raises `KeyboardInterrupt` if no run was completed.
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
        if runs[-1].record.interrupted:
            break
    return runs


def train_run(plan: Plan, photos: Photos, seed: int, folder: Path, say: Say) -> Run:
    """Train a network, export it and measure it; resume or reuse the training of the same plan that the folder has.

    The split `train` is trained on, `val` chooses the best epoch, and all but `train` are measured.

    Raises:
        LookalikeError: the weights are not available, or the exported network differs from the trained one.
    """
    if not (folder / RECORD).exists():
        write_atomically(folder / RECORD, _train(plan, photos, seed, folder, say).model_dump_json())
    record = TrainingRecord.model_validate_json((folder / RECORD).read_bytes())
    held_out = {split: of_split for split, of_split in photos.items() if split != "train"}
    run = Run(seed, folder, record, kept_epoch(record.epochs, plan.recipe.stopping), {}, {})
    return measured(run, held_out)


def measured(run: Run, photos: Photos) -> Run:
    """Return the run with the embeddings and evaluations of its network on these photos, by split."""
    embeddings = {split: run_onnx(run.network, of_split.images) for split, of_split in photos.items()}
    copies = {
        split: run_onnx(run.network, of_split.copies)
        for split, of_split in photos.items()
        if of_split.copies is not None
    }
    evaluations = {
        split: evaluate_embeddings(of_split, photos[split].labels, roles=photos[split].roles, copies=copies.get(split))
        for split, of_split in embeddings.items()
    }
    return replace(run, embeddings=embeddings, copies=copies, evaluations=evaluations)


def best_run(runs: Sequence[Run]) -> Run:
    """Return the run with the highest MAP@R on the validation photos; test photos are not considered."""
    return max(runs, key=lambda run: run.evaluations["val"].overall["map_at_r"])


def over_seeds(runs: Sequence[Run], kept: Run) -> Seeds:
    """Return the metrics of each run, and their mean and spread."""

    def summary(of: Callable[[list[float]], float]) -> BySplit[Means]:
        return BySplit[Means].model_validate(
            {
                split: {name: of([run.evaluations[split].overall[name] for run in runs]) for name in evaluation.overall}
                for split, evaluation in kept.evaluations.items()
            }
        )

    return Seeds(
        runs=[SeedMetrics(seed=run.seed, seconds=run.seconds, **run.means.splits) for run in runs],
        kept=kept.seed,
        mean=summary(statistics.fmean),
        spread=summary(statistics.stdev),
    )


def _train(plan: Plan, photos: Photos, seed: int, folder: Path, say: Say) -> TrainingRecord:
    """Train a network, and export it to the folder."""
    network = plan.build(seed, plan.mixed_precision)
    checkpoints = Checkpoints(folder / CHECKPOINTS, say)
    epochs, interrupted = _fit(plan, network, photos, seed=seed, checkpoints=checkpoints, say=say)
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
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    fixed = plan.backbone.parameters if isinstance(plan.backbone, ImportedNetwork) else 0
    return TrainingRecord(
        epochs=epochs,
        interrupted=interrupted,
        parameters=embedder.count_params() + fixed,
        parity=parity,
        parts=network.parts,
    )


def _fit(
    plan: Plan, network: EmbeddingNetwork, photos: Photos, *, seed: int, checkpoints: Checkpoints, say: Say
) -> tuple[list[Epoch], bool]:
    """Train a network with progress and logs; return its epochs, and whether the user interrupted it."""
    table = timetable(plan.recipe, len(photos["train"].labels), network.pretrained)
    with ExitStack() as open_callbacks:
        progress = open_callbacks.enter_context(TrainingProgress(table, say))
        callbacks: list[TrainingCallback] = [progress]
        if plan.progress is not None:
            callbacks.append(ProgressFile(plan.progress, table))
        if plan.tensorboard is not None:
            rates = planned_learning_rates(plan.recipe, table, network.pretrained, seed)
            log = TensorBoardLog(plan.tensorboard / f"seed-{seed}", rates, table)
            callbacks.append(open_callbacks.enter_context(log))
        epochs = train_network(
            network,
            plan.recipe,
            train=photos["train"],
            val=photos["val"],
            seed=seed,
            callbacks=callbacks,
            checkpoints=checkpoints,
        )
    return epochs, progress.interrupted
