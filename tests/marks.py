"""Marks of single cases of a test."""

import pytest


def slow(*values: object) -> object:
    """A case of a parametrized test that belongs to the slow part; other cases of the test are fast."""
    return pytest.param(*values, marks=pytest.mark.slow)
