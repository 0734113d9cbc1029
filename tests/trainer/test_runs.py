from pathlib import Path

import numpy as np
import pytest

from retrieval.analysis.evaluation import Evaluation
from retrieval.bundle_format import Parity, Part
from retrieval.metrics import METRICS
from trainer.runs import Run, TrainingRecord, best_run, over_seeds, train_runs
from trainer.training import Epoch


def run(seed: int, val: float = 0.5, test: float = 0.5, interrupted: bool = False) -> Run:
    def evaluation(value: float) -> Evaluation:
        return Evaluation(np.full(4, "a"), {metric: np.full(4, value) for metric in METRICS}, np.arange(4))

    epochs = [Epoch(1, 0.5, 0.6, val, val, 10.0 + seed)]
    evaluations = {"val": evaluation(val), "test": evaluation(test)}
    parity = Parity(photos=4, min_cosine=1, max_difference=0)
    record = TrainingRecord(
        epochs=epochs,
        interrupted=interrupted,
        parameters=1000,
        parity=parity,
        parts=[Part(name="kind", length=8, weight=1)],
    )
    return Run(seed, Path(), record, epochs[0], {}, evaluations)


def test_the_best_run_is_chosen_on_the_validation_photos_alone() -> None:
    runs = [run(0, val=0.6, test=0.9), run(1, val=0.7, test=0.1), run(2, val=0.5, test=0.8)]
    assert best_run(runs).seed == 1


def test_mean_and_spread_worked_out_by_hand() -> None:
    runs = [run(0, test=0.6), run(1, test=0.8), run(2, test=0.7)]
    told = over_seeds(runs, kept=runs[1])
    assert told.kept == 1
    assert [one.seed for one in told.runs] == [0, 1, 2]
    assert [one.seconds for one in told.runs] == [10, 11, 12]
    assert [one.test.map_at_r for one in told.runs] == [0.6, 0.8, 0.7]
    assert told.mean.test.map_at_r == pytest.approx(0.7)
    assert told.spread.test.map_at_r == pytest.approx(0.1)  # √((0.01 + 0.01 + 0) / 2)
    assert told.spread.val.map_at_r == 0


def test_the_seeds_follow_each_other() -> None:
    said: list[str] = []
    assert [one.seed for one in train_runs(run, first=3, count=3, say=said.append)] == [3, 4, 5]
    assert said[1] == "Seed 4, 2 of 3."


def test_a_single_seed_is_not_announced() -> None:
    said: list[str] = []
    train_runs(run, first=3, count=1, say=said.append)
    assert said == []


def test_an_interrupted_run_is_the_last() -> None:
    runs = train_runs(lambda seed: run(seed, interrupted=seed == 1), first=0, count=5, say=print)
    assert [one.seed for one in runs] == [0, 1]


def interrupted_at_seed(stop: int) -> list[Run]:
    def train(seed: int) -> Run:
        if seed == stop:
            raise KeyboardInterrupt
        return run(seed)

    return train_runs(train, first=0, count=5, say=print)


def test_an_interruption_that_leaves_nothing_of_a_run_keeps_the_runs_before() -> None:
    assert [one.seed for one in interrupted_at_seed(2)] == [0, 1]


def test_an_interruption_before_there_is_anything_is_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_at_seed(0)


def test_a_record_of_0_1_is_read_and_a_loss_may_be_no_number() -> None:
    old = """{
        "epochs": [{"number": 1, "loss": 0.5, "val_loss": NaN, "map_at_r": 0.7, "recall_at_1": 0.8, "seconds": 3}],
        "interrupted": false, "parameters": 10, "parity": {"photos": 4, "min_cosine": 1.0, "max_difference": 0.0}}"""
    record = TrainingRecord.model_validate_json(old)
    assert (record.epochs[0].recall_at_1, record.parity.photos) == (0.8, 4)
    assert np.isnan(TrainingRecord.model_validate_json(record.model_dump_json()).epochs[0].val_loss)
