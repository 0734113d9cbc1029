"""Learning-rate schedules."""

import math

import numpy as np
import pytest
import tensorflow as tf

from retrieval.errors import LookalikeError
from trainer.recipes import RECIPES
from trainer.recipes.components import Cosine, CosineRestarts, NoisyLinearCosine, RampUp, Steps
from trainer.recipes.overrides import override
from trainer.schedules import PrecomputedSchedule, learning_rates, planned_learning_rates, timetable


def test_a_cosine_after_its_warm_up() -> None:
    rates = learning_rates(Cosine(warm_up=20), 1e-3, 160, 20, seed=0)
    assert rates[:21] == pytest.approx(np.arange(21) / 20 * 1e-3)
    assert rates[90] == pytest.approx(0.5e-3)
    assert rates[159] < 1e-6


def test_a_cosine_over_more_steps_than_are_taken() -> None:
    rates = learning_rates(Cosine(warm_up=0, steps=1000), 0.1, 150, 3, seed=0)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 1000)) for step in range(150)], rel=1e-4)


def test_each_restart_has_a_period_twice_as_long() -> None:
    rates = learning_rates(CosineRestarts(steps=100), 0.1, 350, 3, seed=0)
    assert np.flatnonzero(rates == rates.max()).tolist() == [0, 100, 300]
    assert rates[50] == pytest.approx(rates[200], rel=1e-4) == pytest.approx(0.05, rel=1e-4)


def test_noise_is_around_the_linear_cosine_and_the_same_for_a_seed() -> None:
    noisy = NoisyLinearCosine(steps=1000)
    rates = learning_rates(noisy, 0.1, 1000, 3, seed=1)
    quiet = learning_rates(NoisyLinearCosine(steps=1000, variance=0), 0.1, 1000, 3, seed=1)
    step = np.arange(1000)
    assert quiet == pytest.approx(0.1 * ((1 - step / 1000) * (1 + np.cos(np.pi * step / 1000)) / 2 + 0.001), rel=1e-4)
    noise = (rates - quiet)[:900] / (0.05 * (1 + np.cos(np.pi * step[:900] / 1000)))
    assert np.std(noise * (1 + step[:900]) ** 0.275) == pytest.approx(1, abs=0.1)
    assert (rates == learning_rates(noisy, 0.1, 1000, 3, seed=1)).all()
    assert (rates != learning_rates(noisy, 0.1, 1000, 3, seed=2)).any()


def test_the_notebooks_ramp_up() -> None:
    rates = learning_rates(RampUp(), 5e-5, 30, 3, seed=0)
    by_epoch = [1e-5, 1.8e-5, 2.6e-5, 3.4e-5, 4.2e-5, 5e-5, *(4e-5 * 0.8**past + 1e-5 for past in range(1, 5))]
    assert rates == pytest.approx(np.repeat(by_epoch, 3))


def test_steps_after_a_warm_up() -> None:
    rates = learning_rates(Steps(boundaries=(4, 6), factors=(1, 0.1, 0.01), warm_up=2), 1.0, 8, 2, seed=0)
    assert rates == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    with pytest.raises(LookalikeError, match="one factor more than boundaries"):
        learning_rates(Steps(boundaries=(4, 6), factors=(1, 0.1)), 1.0, 8, 2, seed=0)


@pytest.mark.parametrize("name", RECIPES)
def test_the_optimizer_uses_the_planned_rates(name: str) -> None:
    recipe = override(RECIPES[name], ["epochs=3"])
    table = timetable(recipe, photos=184, pretrained=True)
    for group, planned in planned_learning_rates(recipe, table, pretrained=True, seed=0).items():
        assert len(planned) == table.steps_until_end_of(3)
        frozen = np.isnan(planned)
        steps_frozen = table.steps_until_end_of(3) if recipe.learns == "head" else table.head_steps
        assert frozen.sum() == (0 if group == "head" else steps_frozen)
        scheduled = PrecomputedSchedule(planned[~frozen])
        taken = [float(scheduled(tf.constant(step, tf.int64))) for step in (0, 5, 10_000) if not frozen.all()]
        assert taken == [planned[~frozen][step] for step in (0, 5, -1) if not frozen.all()]


def test_head_and_backbone_have_their_own_rates() -> None:
    recipe = RECIPES["default"]
    table = timetable(recipe, photos=184, pretrained=True)
    rates = planned_learning_rates(recipe, table, pretrained=True, seed=0)
    assert np.nanmax(rates["head"]) == pytest.approx(recipe.optimizer.fresh, rel=1e-3)
    assert np.nanmax(rates["backbone"]) == pytest.approx(recipe.optimizer.pretrained, rel=1e-3)
    assert np.nanargmax(rates["backbone"]) == table.head_steps + 20
    fresh = timetable(recipe, photos=184, pretrained=False)
    assert fresh.head_steps == 0
    assert planned_learning_rates(recipe, fresh, False, 0)["backbone"].max() == pytest.approx(1e-3, rel=1e-3)


def test_each_fine_tuning_run_starts_with_the_first_rate() -> None:
    recipe = override(RECIPES["default"], ["epochs=5", "rounds=2", "steps_per_epoch=10", "schedule.warm_up=4"])
    table = timetable(recipe, photos=184, pretrained=True)
    assert [epoch for epoch in range(6) if table.begins_round(epoch)] == [4]
    rates = planned_learning_rates(recipe, table, pretrained=True, seed=0)["backbone"][table.head_steps :]
    assert len(rates) == 50
    assert rates[30:].tolist() == rates[:20].tolist()
    assert rates[29] < rates[4] / 100
    from_scratch = timetable(recipe, photos=184, pretrained=False)
    assert not any(from_scratch.begins_round(epoch) for epoch in range(6))


def test_an_epoch_has_every_photo_unless_a_recipe_limits_its_steps() -> None:
    assert timetable(RECIPES["notebook-facenet"], photos=184, pretrained=True).steps_per_epoch == 3
    assert timetable(RECIPES["notebook-bit"], photos=184, pretrained=True).steps_per_round == 4000
