"""Runs and what they say; runs that are killed and go on; processes that share a folder."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from filelock import FileLock

from deformconv import training
from deformconv.study import queue, results
from deformconv.study.digits import experiment
from deformconv.study.digits.variants import VARIANTS
from deformconv.training.scaling import Scaling, rotation_matrices, scaled_copy, warp_all, zoomed_copy


@pytest.fixture
def copied(study, tmp_path):
    """The finished study in a folder of its own, opened anew."""
    shutil.copytree(study.folder, tmp_path / "study")
    return experiment.Study(study.data, study.settings, tmp_path / "study", progress=False)


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(training, "fit", fit)


# What a run says


@pytest.mark.parametrize(
    "variant, trained, steps",
    [
        ("regular", 242_250, 6),
        ("batchnorm-only", 704, 3),
        ("conv-offset-2017", 387_776, 3),
        ("conv-offset", 387_072, 3),
        ("deformable", 36_342, 3),
        ("deformable-all-layers", 36_522, 3),
        ("deformable-groups", 16 * 36_342 + 180, 3),
        ("modulated", 54_513, 3),
        ("equal-parameters", 37_184, 3),
        ("full-fine-tune", 242_250, 3),
        ("from-scratch", 242_250, 9),
        ("from-scratch-deformable", 242_250 + 36_342, 9),
    ],
)
def test_a_run_tells_all_that_a_table_needs(study, variant, trained, steps):
    run = study.results.find(variant, 0)
    assert (run["variant"], run["seed"], run["dataset"], run["steps"]) == (variant, 0, "digits", steps)
    assert run["trained_parameters"] == trained
    accuracies = [run[name] for name in (*experiment.ACCURACIES, "validation_regular", "validation_scaled")]
    assert all(0 <= share <= 1 and share * 40 == pytest.approx(round(share * 40)) for share in accuracies)
    assert list(run["zoom"]) == ["0.5", "0.75", "1.0", "1.25", "1.5", "1.75", "2.0", "2.25", "2.5", "3.0"]
    assert all(0 <= share <= 1 for share in run["zoom"].values())
    assert run["seconds"] > 0
    assert run["engine"] == keras.backend.backend()
    assert run["versions"]["keras"] == keras.__version__ and run["engine"] in run["versions"]
    assert "cores" in run["hardware"]
    assert run.items() >= dataclasses.asdict(study.settings).items()
    deforms = "deformable" in variant or variant == "modulated"
    assert ("offsets" in run, "dilation" in run) == (deforms, deforms)
    if deforms:
        assert set(run["dilation"]["1.0"]["conv22"]) == {"digit", "background"}
        assert run["offsets"]["3.0"]["conv12"]["largest"] > 0


def test_zooms_are_shared_by_accuracies_and_diagnostics(study):
    run = study.results.find("deformable", 0)
    assert list(run["zoom"]) == list(run["offsets"]) == list(run["dilation"])


def test_the_file_holds_what_the_study_returns(study):
    content = json.loads((study.folder / "results.json").read_text())
    assert content == {"format": 1, "runs": study.results.runs}
    assert [run["variant"] for run in content["runs"]] == list(VARIANTS)
    assert sorted(os.listdir(study.folder)) == ["results.json", "results.lock", "unfinished", "weights"]
    assert sorted(os.listdir(study.folder / "weights")) == sorted(f"{name}-0.weights.h5" for name in VARIANTS)
    assert not list((study.folder / "unfinished").glob("*.npz"))


def test_each_accuracy_is_of_its_own_images(copied, monkeypatch):
    """Test images for the results; the end of the training set, and scaled by another seed, for choosing by."""
    measured = []
    monkeypatch.setattr(training, "fit", lambda *_, **__: {"seconds": 1.0})
    monkeypatch.setattr(training, "accuracy", lambda _, *seen: measured.append(seen) or len(measured) / 100)
    run = copied.run("regular", 1)
    names = [*experiment.ACCURACIES, "validation_regular", "validation_scaled"]
    reported = {**{name: run[name] for name in names}, **run["zoom"]}

    data = copied.data
    turned = rotation_matrices(np.random.default_rng(2017).uniform(-45, 45, 40))
    test, validation = (data.x_test[:40], data.y_test[:40]), (data.x_train[1320:1360], data.y_train[1320:1360])
    expected = {
        "regular": test,
        "scaled": (scaled_copy(test[0], 2017), test[1]),
        "scaled_nearest": (scaled_copy(test[0], 2017, interpolation="nearest"), test[1]),
        "enlarged": (scaled_copy(test[0], 2017, Scaling(zoom=(0.6, 1), shift=0)), test[1]),
        "shrunk": (scaled_copy(test[0], 2017, Scaling(zoom=(2.5, 3))), test[1]),
        "rotated": (warp_all(test[0], turned), test[1]),
        "validation_regular": validation,
        "validation_scaled": (scaled_copy(validation[0], 2018), validation[1]),
        **{str(zoom): (zoomed_copy(test[0][:10], zoom), test[1][:10]) for zoom in experiment.ZOOMS},
    }
    assert reported.keys() == expected.keys()
    for name, share in reported.items():
        for seen, wanted in zip(measured[round(100 * share) - 1], expected[name], strict=True):
            np.testing.assert_array_equal(seen, wanted)


# Runs are kept


def test_a_finished_run_is_not_run_again(copied, study, no_training):
    for variant in VARIANTS:
        assert copied.run(variant, 0) == study.results.find(variant, 0)


def test_a_finished_run_needs_no_weights(copied, study, no_training):
    copied.weights_path("deformable", 0).unlink()
    assert copied.run("deformable", 0) == study.results.find("deformable", 0)


def test_weights_that_are_gone_are_made_again_and_are_the_same_to_the_bit(copied):
    before = copied.model("deformable", 0).get_weights()
    for name in ("regular", "deformable"):
        copied.weights_path(name, 0).unlink()
    for one, other in zip(before, copied.model("deformable", 0).get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_regular_comes_first_by_itself_and_all_fine_tunes_see_the_same_batches(copied, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "fit", lambda *_, **options: calls.append(options) or {"seconds": 1.0})
    monkeypatch.setattr(training, "accuracy", lambda *_: 0.5)
    copied.run("batchnorm-only", 1)
    copied.run("deformable", 1)
    copied.run("from-scratch", 1)
    seeds, steps, scalings = zip(*((call["seed"], call["steps"], call["scaling"]) for call in calls), strict=True)
    assert list(seeds) == [[1, 0], [1, 1], [1, 1], [1, 1]]
    assert steps == (6, 3, 3, 9)
    assert scalings[0] is None and scalings[1] == scalings[2] == scalings[3] and scalings[1].unscaled == 0.15
    assert [run["variant"] for run in copied.results.runs if run["seed"] == 1] == [
        "regular",
        "batchnorm-only",
        "deformable",
        "from-scratch",
    ]


def test_an_unknown_variant_is_refused(copied):
    with pytest.raises(ValueError, match="one of regular, batchnorm-only, .*; received 'rigid'"):
        copied.run("rigid", 0)


REPRODUCE = """
import functools, sys
from deformconv import cli
from deformconv import training
from deformconv.study import queue, results
from deformconv.study.digits import experiment
from deformconv.training.scaling import Scaling, rotation_matrices, scaled_copy, warp_all, zoomed_copy
experiment.BUDGETS["quick"] = {budget}
training.accuracy = functools.partial(training.accuracy, batch_size=10)
sys.exit(cli.main(["reproduce", "--dataset", "digits", "--budget", "quick", "--variant", "regular", "batchnorm-only"]))
"""


def test_killed_after_its_first_run_the_same_command_goes_on(tiny_budget, tmp_path):
    """SIGKILL, in the middle of the second run."""
    command = [sys.executable, "-c", REPRODUCE.format(budget=tiny_budget)]
    path = tmp_path / "results" / "digits-quick" / "results.json"
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("regular, seed 0:"):
                break
        process.kill()
    assert process.returncode == -9
    (kept,) = results.read(path)
    assert kept["variant"] == "regular"

    weights = path.parent / "weights" / "regular-0.weights.h5"
    trained = weights.read_bytes()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    runs = results.read(path)
    assert [run["variant"] for run in runs] == ["regular", "batchnorm-only"]
    assert runs[0] == kept and weights.read_bytes() == trained


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_precision_is_that_of_what_computes_and_not_of_what_is_kept(study, tmp_path, precision):
    settings = dataclasses.replace(study.settings, precision=precision, test_images=10, zoom_images=10)
    other = experiment.Study(study.data, settings, tmp_path, progress=False)
    run = other.run("deformable", 0)
    assert run["precision"] == precision and 0 <= run["scaled"] <= 1
    layer = other.model("deformable", 0).get_layer("conv21")
    assert layer.compute_dtype == precision.removeprefix("mixed_") and layer.kernel.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


# Several processes, one folder


def test_two_processes_share_a_folder_and_each_run_is_made_once(tiny_budget, tmp_path):
    command = [sys.executable, "-c", REPRODUCE.format(budget=tiny_budget)]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    folder = tmp_path / "results" / "digits-quick"
    assert [run["variant"] for run in results.read(folder / "results.json")] == ["regular", "batchnorm-only"]


def test_what_another_process_is_at_is_left_to_it_until_it_ends(copied, no_training, monkeypatch):
    """First everything else; then it waits, and takes what the other one has finished."""
    order, taken = [], FileLock(copied.folder / "unfinished" / "deformable-0.lock")
    monkeypatch.setattr(queue.time, "sleep", lambda _: taken.release())
    with taken:
        with pytest.raises(queue.Busy, match="another process is at deformable, seed 0"):
            copied.run("deformable", 0)
        for run in copied.run_all(["regular", "deformable", "modulated"], [0]):
            order.append(run["variant"])
    assert order == ["regular", "modulated", "deformable"]


def test_a_trained_model_can_be_had_while_another_process_looks_at_the_run(copied):
    """Both draw their figures at the end."""
    with FileLock(copied.folder / "unfinished" / "deformable-0.lock"):
        assert copied.model("deformable", 0).count_params() == 279_296


def test_runs_that_another_process_adds_meanwhile_are_kept(copied):
    """Both opened the file before either wrote to it."""
    other = experiment.Study(copied.data, copied.settings, copied.folder)
    run = copied.results.find("regular", 0)
    copied.results.add({**run, "seed": 5})
    other.results.add({**run, "seed": 6})
    seeds = [run["seed"] for run in results.read(copied.folder / "results.json") if run["variant"] == "regular"]
    assert seeds == [0, 5, 6]


@pytest.mark.parametrize("budget", experiment.BUDGETS)
def test_a_named_budget_makes_settings_and_changes_change_them(budget):
    settings = experiment.Settings.of("mnist", budget, unscaled_share=0.5)
    assert (settings.dataset, settings.budget, settings.unscaled_share) == ("mnist", budget, 0.5)
    assert settings.finetune_steps == experiment.BUDGETS[budget]["finetune_steps"]


def test_the_budget_of_2017_has_its_data():
    settings = experiment.Settings.of("mnist", "2017")
    assert (settings.unscaled_share, settings.interpolation) == (0, "nearest")


def test_an_unknown_budget_is_refused():
    with pytest.raises(ValueError, match="must be one of quick, standard, full, 2017; received 'huge'"):
        experiment.Settings.of("digits", "huge")
