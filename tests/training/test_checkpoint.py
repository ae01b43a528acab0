"""Trainings that stop and go on: the state in the file, damaged files, what the loop makes of them."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from deformconv import training
from deformconv.training import loop
from deformconv.training.checkpoint import Checkpoint
from deformconv.training.scaling import Scaling


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
        options = {"steps": 11, "checkpoint": tmp_path / "training.npz", "every": 3, **options}
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
    assert {path.name for path in tmp_path.iterdir()} == {"training.npz", "training.npz.1", "training.npz.2"}


def test_it_goes_on_from_the_last_checkpoint_and_not_from_the_start(fit):
    steps = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    fit(callbacks=[counter])
    assert len(steps) == 11 - 6
    fit(callbacks=[counter])
    assert len(steps) == 11 - 6  # it was finished


def test_seconds_are_those_of_the_whole_training(fit, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    _, whole = fit(checkpoint=None)
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    assert fit()[1]["seconds"] > whole["seconds"] > 0


DAMAGES = [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:200] + b"\0" * 9 + b[209:]]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("damaged, left", [(1, 11 - 3), (2, 11)])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_taken(fit, tmp_path, damage, damaged, left):
    whole, _ = fit(checkpoint=None)
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    for name in ("training.npz", "training.npz.1")[:damaged]:
        path = tmp_path / name
        path.write_bytes(damage(path.read_bytes()))
    steps = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.warns(UserWarning) as warned:
        resumed, _ = fit(callbacks=[counter])
    told = [str(one.message) for one in warned if "no checkpoint to go on from" in str(one.message)]
    assert len(told) == damaged and "training.npz is no" in told[0]
    assert len(steps) == left
    assert bits(resumed) == bits(whole)


def test_each_byte_is_guarded(tmp_path, rng):
    """Whichever byte of a weight is another one, the file is refused."""
    weight = keras.Variable(rng.normal(size=(50, 40)).astype("float32"))
    checkpoint = Checkpoint(tmp_path / "training.npz", [weight], {})
    checkpoint.write({"done": 1})
    content = (tmp_path / "training.npz").read_bytes()
    start = content.index(keras.ops.convert_to_numpy(weight).tobytes())
    for at in rng.integers(start, start + 8000, size=20):
        (tmp_path / "training.npz").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.warns(UserWarning, match="no checkpoint to go on from"):
            assert checkpoint.read() is None


@pytest.mark.parametrize("moment", range(4))
def test_killed_while_the_files_move_on_it_leaves_a_whole_one(tmp_path, monkeypatch, moment):
    """The fourth checkpoint moves three files; the disk goes away after each of the moves, and before all of them."""
    weight = keras.Variable(np.zeros(3, "float32"))
    checkpoint = Checkpoint(tmp_path / "training.npz", [weight], {})
    for done in (1, 2, 3):
        checkpoint.write({"done": done})
    replace, moves = Path.replace, []

    def fail(path, target):
        if len(moves) == moment:
            raise OSError("gone")
        moves.append(path)
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        if moment < 3:
            with pytest.raises(OSError, match=r"could not be written \(gone\); training.npz(.1)? is whole"):
                checkpoint.write({"done": 4})
        else:
            checkpoint.write({"done": 4})
    assert checkpoint.read()[0]["done"] == (4 if moment == 3 else 3)


@pytest.mark.parametrize("other", [{"steps": 12}, {"learning_rate": 0.1}])
def test_the_checkpoint_of_another_training_is_not_taken(fit, other):
    whole, _ = fit(checkpoint=None)
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)], **other)
    with pytest.warns(UserWarning, match="it is of another training"):
        resumed, _ = fit(steps=11)
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("what", ["images", "labels"])
def test_nor_is_one_of_as_many_other_images(rng, tmp_path, resident, what):
    data = {"images": rng.uniform(size=(40, 5, 4, 1)).astype("float32"), "labels": np.arange(40) % 10}
    options = {"steps": 6, "batch_size": 6, "every": 3, "checkpoint": tmp_path / "training.npz", "resident": resident}
    with pytest.raises(Stop):
        training.fit(classifier(), **data, **options, callbacks=[StopAt(4)])
    data[what] = data[what][::-1].copy()
    with pytest.warns(UserWarning, match="it is of another training"):
        training.fit(classifier(), **data, **options)


def test_going_on_is_said_in_a_line(fit, capsys, tmp_path):
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)])
    assert "goes on" not in capsys.readouterr().err
    fit()
    assert capsys.readouterr() == ("", f"{tmp_path / 'training.npz'}: goes on from step 6 of 11\n")


def test_a_slow_minute_brings_a_checkpoint_and_changes_nothing(fit, monkeypatch, tmp_path):
    """With a minute as short as a step, and looks that come too seldom."""
    options = {"every": 100, "learning_rate": 0.05}
    whole, told = fit(checkpoint=None, **options)
    monkeypatch.setattr(loop, "LOOK_SECONDS", 1e-9)
    monkeypatch.setattr(loop, "LOOKING", float("inf"))
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)], **options)
    with np.load(tmp_path / "training.npz") as file:
        assert json.loads(str(file["state"]))["done"] == 7
    assert bits(fit(**options)[0]) == bits(whole)


def test_a_bar_goes_on_where_it_was(fit, capsys):
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(8)], description="deformable, seed 0")
    capsys.readouterr()
    fit(description="deformable, seed 0")
    shown = capsys.readouterr().err
    assert "55%" in shown and "6/11" in shown and "11/11" in shown and "| 0/11" not in shown


def test_a_full_disk_leaves_the_last_checkpoint(fit, tmp_path):
    resource = pytest.importorskip("resource")
    with pytest.raises(Stop):
        fit(callbacks=[StopAt(4)])
    before = (tmp_path / "training.npz").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="training.npz could not be written .*File too large.*training.npz is whole"):
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


PROGRAM = """
import os, sys, threading
import keras, numpy as np
from deformconv.layers import DeformableConv2D
from deformconv import training
from deformconv.training import loop
from deformconv.training.scaling import Scaling

path, dies_after, how = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])  # so many steps, and parts of one
rng = np.random.default_rng(0)
images, labels = rng.uniform(size=(40, 7, 6, 1)).astype("float32"), rng.integers(0, 10, size=40)
keras.utils.set_random_seed(3)
inputs = keras.Input((7, 6, 1))
x = keras.layers.BatchNormalization()(DeformableConv2D(4, (3, 2))(inputs))
model = keras.Model(inputs, keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(x)))

STEP_SECONDS = 0.005

class Die(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == int(dies_after):
            threading.Timer(dies_after % 1 * STEP_SECONDS, os.kill, (os.getpid(), how)).start()

callbacks = [Die()] if how else []
told = training.fit(model, images, labels, steps=150, batch_size=6, seed=1, scaling=Scaling(), checkpoint=path, every=4,
    callbacks=callbacks, description="it")
print(np.concatenate([weight.ravel() for weight in model.get_weights()]).tobytes().hex())
"""


def run(path, dies_after=0.0, how=0):
    command = [sys.executable, "-c", PROGRAM, str(path), str(dies_after), str(how)]
    return subprocess.run(command, capture_output=True, text=True)


def test_killed_at_ten_random_moments_it_ends_with_the_same_bits(tmp_path, rng):
    whole = run(tmp_path / "whole.npz")
    assert whole.returncode == 0, whole.stderr
    killed = 0
    for dies_after in rng.uniform(1, 25, size=10):
        killed += run(tmp_path / "killed.npz", dies_after, signal.SIGKILL).returncode == -signal.SIGKILL
    assert killed >= 8  # a last one may end before
    resumed = run(tmp_path / "killed.npz")
    assert resumed.returncode == 0 and "| 0/150" not in resumed.stderr
    assert resumed.stdout == whole.stdout


def test_sigterm_keeps_the_step_and_ends_with_its_status(tmp_path):
    whole = run(tmp_path / "whole.npz")
    ended = run(tmp_path / "ended.npz", 7.5, signal.SIGTERM)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    with np.load(tmp_path / "ended.npz") as file:
        done = json.loads(str(file["state"]))["done"]
    assert 0 < done < 150
    resumed = run(tmp_path / "ended.npz")
    assert f"{done}/150" in resumed.stderr and resumed.stdout == whole.stdout
