"""A study that is killed with SIGKILL, at each of its delicate moments in turn, and goes on by the same command."""

import subprocess
import sys

import h5py
import pytest

from deformconv.study import results

# Each moment: where in the program the process kills itself.
MOMENTS = {
    "in the middle of a step": "progress.Progress.on_train_batch_end = lambda *_, **__: die()",
    "while a checkpoint is written": "files.os.fsync = die",
    "when a checkpoint is written": "kill_after(checkpoint.Checkpoint, 'write')",
    "while the weights are written": "keras.Model.save_weights = lambda model, path: (path.touch(), die())",
    "between the weights and the results": "experiment.Study.test = die",
    "while the results are written": "results.write_atomically = lambda path, content: "
    "(path.with_name(path.name + '.part').write_bytes(content[:50]), die())",
    "when the results are written": "kill_after(results.Results, 'add')",
}
PROGRAM = """
import functools, os, signal, sys
import keras
from deformconv import cli
from deformconv import training
from deformconv.study import results
from deformconv.study.digits import experiment
from deformconv.training import checkpoint, files, progress
from deformconv.training.scaling import scaled_copy

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_after(owner, name):
    method = getattr(owner, name)
    setattr(owner, name, lambda *arguments: (method(*arguments), die()))

experiment.BUDGETS["quick"] = {budget}
training.accuracy = functools.partial(training.accuracy, batch_size=10)
training.fit = functools.partial(training.fit, every=2)
{moment}
sys.exit(cli.main(["reproduce", "--dataset", "digits", "--budget", "quick", "--variant", "equal-parameters"]))
"""


@pytest.fixture
def reproduce(tiny_budget, tmp_path):
    """`reproduce(folder, moment)`: runs the command there, to the moment or to its end."""

    def reproduce(name, moment=""):
        (tmp_path / name).mkdir(exist_ok=True)
        program = PROGRAM.format(budget=tiny_budget, moment=moment)
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path / name, capture_output=True, text=True)
        return done, tmp_path / name / "results" / "digits-quick"

    return reproduce


def bits(path):
    """All arrays of an HDF5 file."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def test_killed_at_each_delicate_moment_nothing_is_lost_and_nothing_counted_twice(reproduce):
    done, undisturbed = reproduce("undisturbed")
    assert done.returncode == 0, done.stderr
    for moment, code in MOMENTS.items():
        done, folder = reproduce("killed", code)
        assert done.returncode == -9, (moment, done.stderr)
    done, folder = reproduce("killed")
    assert done.returncode == 0, done.stderr

    expected, runs = results.read(undisturbed / "results.json"), results.read(folder / "results.json")
    assert [(run["variant"], run["seed"]) for run in runs] == [("regular", 0), ("equal-parameters", 0)]
    for run in (*expected, *runs):
        assert run.pop("seconds") > 0
    assert runs == expected
    for name in ("regular-0", "equal-parameters-0"):
        path = f"weights/{name}.weights.h5"
        assert bits(folder / path) == bits(undisturbed / path)
    left = {path.name for path in folder.rglob("*.npz*")} | {path.name for path in folder.rglob("*.part")}
    assert not left
