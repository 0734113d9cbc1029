"""The mean of several trainings."""

import tensorflow as tf

from trainer.soup import Soup


def test_it_is_the_mean_of_all_that_ended_and_of_the_present_one() -> None:
    first, second = tf.Variable([0.0, 0.0]), tf.Variable(0.0)
    soup = Soup([first, second])
    first.assign([1.0, 2.0])
    soup.begin()
    first.assign([4.0, 6.0])
    with soup.mixed():
        assert first.numpy().tolist() == [4.0, 6.0]
    soup.begin_again()
    assert first.numpy().tolist() == [1.0, 2.0]
    assert second.numpy() == 0.0
    first.assign([8.0, 0.0])
    second.assign(3.0)
    with soup.mixed():
        assert first.numpy().tolist() == [6.0, 3.0]
        assert second.numpy() == 1.5
    assert first.numpy().tolist() == [8.0, 0.0]
    soup.begin_again()
    first.assign([0.0, 0.0])
    with soup.mixed():
        assert first.numpy().tolist() == [4.0, 2.0]
