"""Cancellation tokens: by a call, by a condition, and while something waits."""

import threading

from retrieval.cancellation import CancellationToken


def test_a_token_is_cancelled_by_a_call_or_by_its_condition() -> None:
    token = CancellationToken()
    conditional = CancellationToken(lambda: token.cancelled)
    assert not token.cancelled and not conditional.cancelled
    token.cancel()
    assert token.cancelled and conditional.cancelled


def test_waiting_ends_with_the_time_or_with_the_token() -> None:
    token = CancellationToken()
    assert token.wait(0.01) is False
    threading.Timer(0.05, token.cancel).start()
    assert token.wait(60) is True
