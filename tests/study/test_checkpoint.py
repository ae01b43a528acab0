"""Trainings that stop and go on: the state in the file, damaged files, what the loop makes of them."""

import keras
import numpy as np
import pytest

from deformconv.study import training
from deformconv.study.checkpoint import Checkpoint
from deformconv.study.scaling import Scaling


class Stop(Exception):
    """A process that dies."""


class StopAt(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


def classifier():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5, 4, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, "softmax")(x))


@pytest.fixture
def fit(rng, tmp_path):
    """`fit(...)`: trains a classifier for 11 steps with a checkpoint every 3, and returns it with what `fit` told."""
    images = rng.uniform(size=(40, 5, 4, 1)).astype("float32")
    labels = rng.integers(0, 10, size=40)

    def fit(model=None, **options):
        model = model or classifier()
        options = {"steps": 11, "checkpoint": tmp_path / "training.npz", "checkpoint_every": 3, **options}
        told = training.fit(model, images, labels, batch_size=6, seed=1, scaling=Scaling(), **options)
        return model, told

    return fit


def bits(model):
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.mark.parametrize("stops", [(4,), (3, 1, 5), (10, 2)])
def test_interrupted_at_any_step_it_ends_as_if_it_had_never_stopped(fit, tmp_path, stops):
    whole, told = fit(checkpoint=None)
    for stop in stops:
        with pytest.raises(Stop):
            fit(callbacks=[StopAt(stop)])
    resumed, told_resumed = fit()
    assert bits(resumed) == bits(whole)
    assert told.keys() == told_resumed.keys() == {"loss", "accuracy", "seconds"}
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]


def test_it_goes_on_from_the_last_checkpoint_and_not_from_the_start(fit):
    steps = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    fit(callbacks=[counter])
    assert len(steps) == 11 - 6
    fit(callbacks=[counter])
    assert len(steps) == 11 - 6  # it was finished


def test_seconds_are_those_of_the_whole_training(fit, tmp_path):
    checkpoint = Checkpoint(tmp_path / "training.npz", [], {})
    assert checkpoint.read() == (0, 0.0)
    checkpoint.write(5, 12.5)
    assert checkpoint.read() == (5, 12.5)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:200] + b"\0" * 9 + b[209:]])
def test_a_damaged_checkpoint_is_told_of_and_the_training_begins_anew(fit, tmp_path, damage):
    path = tmp_path / "training.npz"
    whole, _ = fit(checkpoint=None)
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="training.npz is no checkpoint to go on from"):
        resumed, _ = fit()
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("other", [{"steps": 12}, {"learning_rate": 0.1}])
def test_the_checkpoint_of_another_training_is_not_taken(fit, other):
    whole, _ = fit(checkpoint=None)
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)], **other)
    with pytest.warns(UserWarning, match="it is of another training"):
        resumed, _ = fit()
    assert bits(resumed) == bits(whole)


def test_a_bar_goes_on_where_it_was(fit, capsys):
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)], description="deformable, seed 0")
    capsys.readouterr()
    fit(description="deformable, seed 0")
    shown = capsys.readouterr().err
    assert "55%" in shown and "6/11" in shown and "11/11" in shown and "0/11" not in shown


def test_a_full_disk_leaves_the_last_checkpoint(fit, tmp_path):
    resource = pytest.importorskip("resource")
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(4)])
    before = (tmp_path / "training.npz").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "training.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]
    whole, _ = fit(checkpoint=None)
    assert bits(fit()[0]) == bits(whole)


def test_the_same_seed_gives_the_same_bits(fit):
    one, other = (fit(checkpoint=None)[0] for _ in range(2))
    assert bits(one) == bits(other)
    assert not any(np.isnan(weight).any() for weight in one.get_weights())
