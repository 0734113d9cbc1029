import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.analysis.label_issues import LabelIssue
from trainer.report.charts import maps
from trainer.report.findings import best_and_worst, confusion, label_issues, shown_copies


class References(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = {"img": "src", "script": "src", "link": "href", "image": "href", "iframe": "src"}
        self.loaded += [value or "" for name, value in attributes if name == names.get(tag)]


@pytest.mark.slow
def test_the_report_needs_nothing_else(trained: tuple[Path, dict[str, object]]) -> None:
    home, _ = trained
    page = (home / "bundle" / "training" / "report.html").read_text(encoding="utf-8")
    references = References()
    references.feed(page)
    assert references.loaded
    assert all(reference.startswith("data:image/") for reference in references.loaded)
    assert page.count("<svg") == 4


@pytest.mark.slow
def test_the_report_has_every_part(trained: tuple[Path, dict[str, object]]) -> None:
    page = (trained[0] / "bundle" / "training" / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h[123]>(.*?)</h[123]>", page)
    assert headings == [
        "small_cnn on colours",
        "Retrieval",
        "By the weight of look",
        "2 seeds",
        "Photos in more than one split",
        "Training",
        "Learning rate",
        "Photos of a batch, after augmentation",
        "Map of the test photos (t-SNE)",
        "Which classes are mistaken for which",
        *(["Most often"] if " taken for " in page else []),
        "The best queries",
        "The worst queries",
        "Edited copies",
        "Labels that are likely wrong",
        "Class by class",
        "How it was made",
    ]
    for text in ("blue", "green", "red", "distance 0.", "✓", "MAP@R", "untrained", "kept"):
        assert text in page
    for text in ("copy R@1", "copy R@10", "original at rank 1<", "weight of look: 0 is kind alone"):
        assert text in page
    for text in ("it computes in float32", "before MixUp"):
        assert text in page


@pytest.mark.slow
def test_charts_take_their_ink_from_the_page(trained: tuple[Path, dict[str, object]]) -> None:
    page = (trained[0] / "bundle" / "training" / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) == 4 and all("var(--soft)" in chart for chart in drawn)
    assert "prefers-color-scheme: dark" in page


LABELS = np.array(["a", "a", "a", "b", "b"])
EMBEDDINGS = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], np.float32)
NEAREST = np.array([1, 0, 3, 4, 3])


def test_the_best_of_each_class_and_the_worst_of_all() -> None:
    # 0 and 1 find each other, then 4; 2 finds 3 and 4, none of its own; 3 and 4 find each other.
    nearest = np.array([0.9, 1, 0.8, 0.5, 0.6])  # of equals, the one whose neighbour is nearer is better
    best, worst = best_and_worst(evaluate_embeddings(EMBEDDINGS, LABELS), nearest, most=2)
    assert best == [4, 1]
    assert worst == [2, 0]


def test_the_copies_with_the_worst_ranks_are_shown_first() -> None:
    ranks = np.ones(100, np.int64)
    ranks[[7, 50]] = 5, 30
    shown = shown_copies(ranks, most=8)
    assert shown[:2] == [50, 7]
    assert len(set(shown)) == len(shown) <= 8 and max(shown) == 99
    assert shown_copies(np.array([2, 1]), most=8) == [0, 1]


def test_which_class_is_nearest_to_which() -> None:
    assert confusion(LABELS, NEAREST) == {"a": Counter(a=2, b=1), "b": Counter(b=2)}


def test_a_label_that_no_neighbour_shares_is_an_issue() -> None:
    angles = np.concatenate([np.linspace(0, 0.3, 12), np.linspace(2, 2.3, 12)])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.repeat(["cat", "dog"], 12)
    ranked = np.argsort(-(embeddings @ embeddings.T), axis=1)
    ranked = np.array([[other for other in row if other != own] for own, row in enumerate(ranked)])
    assert label_issues(labels, ranked) == []
    labels[5] = "dog"
    assert label_issues(labels, ranked) == [(5, LabelIssue("dog", "cat", 1.0, 0.0))]
    labels[5] = "cow"
    assert label_issues(labels, ranked) == []
    assert label_issues(LABELS, NEAREST[:, None]) == []


@pytest.mark.parametrize("photos", [2, 3, 40])
def test_a_map_of_few_photos_or_of_equal_ones_is_drawn(photos: int) -> None:
    labels = np.array(["a", "b"] * 20)[:photos]
    spread = np.random.default_rng(0).normal(size=(photos, 8)).astype(np.float32)
    assert maps({"before": spread, "after": np.zeros((photos, 8), np.float32)}, labels, 0).count("<svg") == 1
