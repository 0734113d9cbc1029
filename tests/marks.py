"""Marks for single cases of a parametrized test."""

import pytest


def slow(*values: object) -> object:
    """A slow case, which only `-m slow` runs; other cases of the same test are fast."""
    return pytest.param(*values, marks=pytest.mark.slow)
