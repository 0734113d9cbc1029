import numpy as np

from retrieval.analysis.label_issues import LabelIssue, find_label_issues

NEIGHBOURS = np.array([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
LABELS = ["a", "a", "b", "b"]


def test_votes_worked_out_by_hand() -> None:
    weights = np.array([[0.5, 0.4, 0.2], [0.5, 0.3, 0.2], [0.9, 0.4, 0.4], [0.2, 0.5, 0.3]])
    first, last = find_label_issues(LABELS, NEIGHBOURS, weights)  # 1 is a draw, which the photo's own label wins
    assert first == (0, LabelIssue("a", "b", 0.5455, 0.4545))  # 0.6 and 0.5 of 1.1
    assert last == (3, LabelIssue("b", "a", 0.8, 0.2))


def test_negative_votes_do_not_count() -> None:
    assert list(find_label_issues(LABELS, NEIGHBOURS, -np.ones((4, 3)))) == []
    weights = np.tile([0.1, -0.9, -0.9], (4, 1))
    assert list(find_label_issues(LABELS, NEIGHBOURS, weights)) == []


def test_without_neighbours_there_is_no_issue() -> None:
    assert list(find_label_issues(["a"], np.empty((1, 0), np.int64), np.empty((1, 0)))) == []
