"""The averaged weights of several fine-tuning runs."""

import tensorflow as tf

from trainer.soup import Soup


def test_it_averages_the_completed_runs_and_the_current_one() -> None:
    first, second = tf.Variable([0.0, 0.0]), tf.Variable(0.0)
    soup = Soup([first, second])
    first.assign([1.0, 2.0])
    soup.set_start()
    first.assign([4.0, 6.0])
    with soup.averaged():
        assert first.numpy().tolist() == [4.0, 6.0]
    soup.start_next_run()
    assert first.numpy().tolist() == [1.0, 2.0]
    assert second.numpy() == 0.0
    first.assign([8.0, 0.0])
    second.assign(3.0)
    with soup.averaged():
        assert first.numpy().tolist() == [6.0, 3.0]
        assert second.numpy() == 1.5
    assert first.numpy().tolist() == [8.0, 0.0]
    soup.start_next_run()
    first.assign([0.0, 0.0])
    with soup.averaged():
        assert first.numpy().tolist() == [4.0, 2.0]
