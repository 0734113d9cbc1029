"""Recipes in real training steps, and changes of their settings."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from marks import slow

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones import BACKBONES
from trainer.backbones.small_cnn import SmallCNN
from trainer.data import LabelledImages
from trainer.network import MOMENTUM_FROM_SCRATCH, initialize_batch_norm
from trainer.recipes import RECIPES, Facts, recipe_named
from trainer.recipes.components import MeanCentred
from trainer.recipes.overrides import override, settings_of
from trainer.runs import ONNX, WEIGHTS, Plan, train_run

SMALL = ("dimension=8", "epochs=1", "steps_per_epoch=2", "preparation.size=32", "preparation.train_size=24")


def photos(side: int, seed: int) -> LabelledImages:
    """Noise around a grey of its own for each of three classes."""
    labels = np.repeat(["a", "b", "c"], 6)
    grey = np.repeat([60, 120, 180], 6)[:, None, None, None]
    noise = np.random.default_rng(seed).integers(-50, 50, (18, side, side, 3))
    return LabelledImages((grey + noise).astype(np.uint8), labels)


FAST = ("notebook-bit-frozen",)


@pytest.mark.parametrize("name", [name if name in FAST else slow(name) for name in RECIPES])
def test_every_recipe_trains_and_exports_a_faithful_network(name: str, tmp_path: Path) -> None:
    recipe = override(recipe_named(name), SMALL)
    recipe = override(recipe, ["preparation.train_photo=36"] if recipe.preparation.train_photo else [])
    plan = Plan(BACKBONES["small_cnn"], recipe, "none")
    train = photos(recipe.preparation.train_rule(plan.backbone.resize).size, seed=0)
    run = train_run(plan, {"train": train, "val": photos(32, seed=1)}, 0, tmp_path / "run", print)
    (epoch,) = run.epochs
    assert np.isfinite([epoch.loss, epoch.val_loss]).all()
    assert run.record.parity.photos == 18
    assert run.record.parity.min_cosine > 0.9999
    assert run.embeddings["val"].shape == (18, 8 + (128 if recipe.look else 0))
    lengths = np.linalg.norm(run.embeddings["val"], axis=1)
    if name == "notebook-bit-frozen":  # what the experiment showed: nothing is learnt, and the loss is the margin
        assert (epoch.loss, epoch.val_loss) == (1, 1)
        assert not lengths.any()
    else:
        assert lengths == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_batch_norm_begins_with_the_statistics_of_some_photos() -> None:
    features = BACKBONES["mobilenet_v2"].build("none")
    pixels = photos(32, seed=0).images.astype(np.float32)
    assert np.ptp(features(pixels, training=False), axis=0).max() < 1e-6
    initialize_batch_norm(features, pixels)
    assert np.ptp(features(pixels, training=False), axis=0).max() > 0.01
    assert features.get_layer("Conv_1_bn").momentum == MOMENTUM_FROM_SCRATCH


class NormalizedCNN(SmallCNN):
    """Small convolutions with batch normalization, whose features vanish at its first statistics."""

    def _network(self, pixels: tf.Tensor, normalized: tf.Tensor, weights: str) -> tf.keras.Model:
        layers, x = tf.keras.layers, normalized
        for number in range(3):
            convolution = layers.Conv2D(8, 3, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=1e-4))
            x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-9, name=f"norm{number}")(convolution(x)))
        return tf.keras.Model(pixels, layers.GlobalAveragePooling2D(name="features")(x), name=self.name)


@pytest.mark.slow
@pytest.mark.parametrize("learns", ["upper", "head"])
def test_batch_norm_has_the_statistics_of_the_photos_without_pretrained_weights(learns: str, tmp_path: Path) -> None:
    brief = ["sampling.batch_size=12", "steps_per_epoch=8", "preparation.train_size=32", f"learns={learns}"]
    backbone = NormalizedCNN(**vars(BACKBONES["small_cnn"]))
    plan = Plan(backbone, override(RECIPES["default"], [*SMALL, *brief, "look=none"]), "none")
    run = train_run(plan, {"train": photos(32, seed=0), "val": photos(32, seed=1)}, 0, tmp_path / "run", print)
    assert run.record.parity.min_cosine > 0.9999
    assert np.ptp(run.embeddings["val"], axis=0).max() > 0.01  # at its first statistics all photos are one
    network = plan.build(0)
    network.whole().load_weights(run.folder / WEIGHTS)
    assert network.features.get_layer("norm2").moving_mean.numpy().any()


@pytest.mark.slow
def test_new_classes_subtracts_the_mean_of_the_training_photos(tmp_path: Path) -> None:
    recipe = override(RECIPES["new-classes"], [*SMALL, "dimension=200"])
    plan, train = Plan(BACKBONES["small_cnn"], recipe, "none"), photos(32, seed=0)
    run = train_run(plan, {"train": train, "val": photos(32, seed=1)}, 0, tmp_path / "run", print)
    network = plan.build(0)
    network.whole().load_weights(run.folder / WEIGHTS)
    projected = network.without_unit_length().predict(train.images, verbose=0)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-6)
    features = network.features_only().predict(train.images, verbose=0)
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    centred = directions - directions.mean(axis=0)  # 128 features in 200 dimensions keep every angle
    np.testing.assert_allclose(projected @ projected.T, centred @ centred.T, atol=1e-6)


@pytest.mark.slow
def test_mixed_precision_trains_in_bfloat16_and_exports_float32(tmp_path: Path) -> None:
    recipe = override(RECIPES["notebook-classifier"], SMALL)
    plan = Plan(BACKBONES["small_cnn"], recipe, "none", mixed_precision=True)
    assert plan.build(0, mixed_precision=True).features.layers[-1].compute_dtype == "bfloat16"
    run = train_run(plan, {"train": photos(32, seed=0), "val": photos(32, seed=1)}, 0, tmp_path / "run", print)
    assert np.isfinite(run.epochs[0].loss)
    assert run.record.parity.min_cosine > 0.9999
    types = {tensor.data_type for tensor in onnx.load(run.folder / ONNX).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in types
    assert plan.build(0).features.layers[-1].compute_dtype == "float32"


def test_each_experiment_has_a_recipe_that_lists_its_faults() -> None:
    notebooks = [recipe for recipe in RECIPES.values() if recipe.name.startswith("notebook-")]
    named = " ".join(recipe.description.partition(":")[0] for recipe in notebooks)
    told = {int(word) for word in named.replace("-", " ").split() if word.isdigit()}
    assert told | {3, 4} == set(range(1, 17))
    assert all(len(recipe.faults) >= 3 for recipe in notebooks)
    assert not RECIPES["default"].faults
    assert not RECIPES["bit-hyperrule"].faults


def test_a_notebook_recipe_has_its_own_preparation() -> None:
    rule = RECIPES["notebook-facenet"].preparation.rule(ResizeRule(size=299, shorter_side=320))
    assert rule == ResizeRule(size=224, shorter_side=240, mode="squash", antialias=False)
    own = ResizeRule(size=299, shorter_side=320)
    assert RECIPES["default"].preparation.rule(own) == own


@pytest.mark.parametrize(
    ("examples", "area", "sizes", "steps", "boundaries", "mixup"),
    [
        (184, 500 * 333, (512, 480), 4_000, (1600, 2400, 3200), 0),
        (19_999, 96 * 96, (160, 128), 4_000, (1600, 2400, 3200), 0),
        (20_000, 32 * 32, (160, 128), 80_000, (24_000, 48_000, 72_000), 0.1),
        (500_000, 97 * 96, (512, 480), 160_000, (48_000, 96_000, 144_000), 0.1),
    ],
)
def test_bit_hyperrule_depends_on_the_size_and_number_of_the_photos(
    examples: int, area: float, sizes: tuple[int, int], steps: int, boundaries: tuple[int, ...], mixup: float
) -> None:
    recipe = RECIPES["bit-hyperrule"].fitted(Facts(examples, area))
    assert (recipe.preparation.train_photo, recipe.preparation.train_size) == sizes
    assert recipe.preparation.size == sizes[1]
    assert recipe.epochs * (recipe.steps_per_epoch or 0) == steps
    assert recipe.schedule.boundaries == boundaries
    assert recipe.mixup == mixup
    assert recipe.optimizer.fresh == pytest.approx(0.003 / 8)


@pytest.mark.parametrize("name", RECIPES)
def test_all_listed_settings_can_be_set(name: str) -> None:
    recipe = RECIPES[name]
    assert override(recipe, [f"{path}={value}" for path, value in settings_of(recipe).items()]) == recipe


def test_a_component_and_its_settings_can_be_changed() -> None:
    changes = ["optimizer.pretrained=1e-4", "loss.margin=0.5", "schedule=steps", "schedule.boundaries=5,9"]
    changes += ["head_first=none", "steps_per_epoch=none", "augmentation=strong", "augmentation.grey=0", "learns=all"]
    recipe = override(RECIPES["default"], changes)
    told = settings_of(recipe)
    assert {path: told[path] for path in (change.partition("=")[0] for change in changes)} == dict(
        change.split("=") for change in changes
    ) | {"optimizer.pretrained": "0.0001"}
    assert recipe.optimizer.fresh == RECIPES["default"].optimizer.fresh
    assert override(recipe, ["head_first.steps=3"]).head_first.steps == 3


def test_a_kind_keeps_the_name_that_users_and_bundles_know() -> None:
    assert settings_of(RECIPES["new-classes"])["head"] == "centred"
    assert override(RECIPES["default"], ["head=centred"]).head == MeanCentred()


def test_a_fault_that_is_fixed_is_no_longer_listed() -> None:
    before, after = RECIPES["notebook-bit"], ["sampling=balanced", "preparation.antialias=true", "epochs=3"]
    told = [fault.phrase for fault in override(before, after).faults]
    assert told == [before.faults[1].phrase, *(fault.phrase for fault in before.faults[3:])]
    assert not override(
        before, [*after, "preparation.pixels=backbone", "schedule=cosine", "preparation.size=128"]
    ).faults


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("soup=1", "there is no 'soup' to set. It can be dimension, preparation"),
        ("optimizer.rate=1", "there is no 'rate' to set. It can be pretrained, fresh, weight_decay"),
        ("optimizer=adagrad", "no kind 'adagrad'. It can be set to adamw, adam, sgd"),
        ("augmentation.flip=true", "augmentation is none. It can be set to random-views, unchanged"),
        ("epochs.many=3", "It has no settings below it"),
        ("epochs=many", "valid integer"),
        ("epochs=0", "greater than 0"),
        ("loss.margin=nan", "loss.margin=nan: input should be"),
        ("loss.triplets=soft", "'semihard' or 'hard'"),
        ("head.relu=perhaps", "boolean"),
        ("name=mine", "there is no 'name' to set"),
        ("epochs", "sets nothing"),
    ],
)
def test_an_invalid_change_lists_the_valid_ones(change: str, complaint: str) -> None:
    with pytest.raises(LookalikeError) as raised:
        override(RECIPES["default"], [change])
    assert complaint in str(raised.value)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(LookalikeError, match=r"'soup'.*notebook-facenet"):
        recipe_named("soup")


def test_an_input_below_the_minimum_size_is_rejected() -> None:
    recipe = override(RECIPES["default"], ["preparation.size=16"])
    with pytest.raises(LookalikeError, match="accepts no photos of 16 px; the minimum is 32 px"):
        Plan(BACKBONES["mobilenet_v2"], recipe, "none").build(0)
