"""Marks for single cases of a parametrized test, and for browser tests that need one screen only."""

import pytest

# A browser test of what does not depend on the layout runs on one screen only.
wide_only = pytest.mark.parametrize("look", ["wide"], indirect=True)


def slow(*values: object) -> object:
    """A slow case, which only `-m slow` runs; other cases of the same test are fast."""
    return pytest.param(*values, marks=pytest.mark.slow)
