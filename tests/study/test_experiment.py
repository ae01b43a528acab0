"""Runs, the results file that keeps them, tables; a run that is killed and goes on."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from deformconv.study import experiment, training
from deformconv.study.scaling import scaled_copy, zoomed_copy

SETTINGS = experiment.Settings("digits", "tiny", 6, 3, test_images=40, zoom_images=10)


@pytest.fixture
def results(tmp_path):
    return experiment.Results(tmp_path / "results.json", SETTINGS)


@pytest.fixture
def make_run(make_run):
    """Runs of these settings."""
    return lambda *arguments, **more: make_run(*arguments, **{**dataclasses.asdict(SETTINGS), **more})


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
        ("deformable", 36_342, 3),
    ],
)
def test_a_run_tells_all_that_a_table_needs(study, variant, trained, steps):
    run = study.results.find(variant, 0)
    assert (run["variant"], run["seed"], run["dataset"], run["steps"]) == (variant, 0, "digits", steps)
    assert run["trained_parameters"] == trained
    accuracies = [run["regular"], run["scaled"], run["validation_regular"], run["validation_scaled"]]
    assert all(0 <= share <= 1 and share * 40 == pytest.approx(round(share * 40)) for share in accuracies)
    assert list(run["zoom"]) == ["0.5", "0.75", "1.0", "1.25", "1.5", "1.75", "2.0", "2.25", "2.5", "3.0"]
    assert all(0 <= share <= 1 for share in run["zoom"].values())
    assert run["seconds"] > 0
    assert run["engine"] == keras.backend.backend()
    assert run["versions"]["keras"] == keras.__version__ and run["engine"] in run["versions"]
    assert "cores" in run["hardware"]
    assert run.items() >= dataclasses.asdict(study.settings).items()


def test_the_file_holds_what_the_study_returns(study):
    content = json.loads((study.folder / "results.json").read_text())
    assert content == {"format": 1, "runs": study.results.runs}
    assert [run["variant"] for run in content["runs"]] == list(experiment.VARIANTS)
    assert sorted(os.listdir(study.folder)) == ["results.json", "weights"]
    assert sorted(os.listdir(study.folder / "weights")) == sorted(
        f"{name}-0.weights.h5" for name in experiment.VARIANTS
    )


def test_each_accuracy_is_of_its_own_images(copied, monkeypatch):
    """Test images for the results; the end of the training set, and scaled by another seed, for choosing by."""
    measured = []
    monkeypatch.setattr(training, "fit", lambda *_, **__: None)
    monkeypatch.setattr(training, "accuracy", lambda _, *seen: measured.append(seen) or len(measured) / 100)
    run = copied.run("regular", 1)
    names = [key for key in run if key in ("regular", "scaled", "validation_regular", "validation_scaled")]
    reported = {**{name: run[name] for name in names}, **run["zoom"]}

    data = copied.data
    test, validation = (data.x_test[:40], data.y_test[:40]), (data.x_train[1320:1360], data.y_train[1320:1360])
    expected = {
        "regular": test,
        "scaled": (scaled_copy(test[0], 2017), test[1]),
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
    for variant in experiment.VARIANTS:
        assert copied.run(variant, 0) == study.results.find(variant, 0)


def test_a_run_without_its_weights_is_run_again(copied, no_training):
    copied.weights_path("deformable", 0).unlink()
    with pytest.raises(AssertionError, match="it trains"):
        copied.run("deformable", 0)


def test_regular_comes_first_by_itself_and_all_fine_tunes_see_the_same_batches(copied, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "fit", lambda model, x, y, **options: calls.append(options))
    monkeypatch.setattr(training, "accuracy", lambda *_: 0.5)
    copied.run("batchnorm-only", 1)
    copied.run("deformable", 1)
    seeds, steps, scalings = zip(*((call["seed"], call["steps"], call["scaling"]) for call in calls), strict=True)
    assert list(seeds) == [[1, 0], [1, 1], [1, 1]]
    assert steps == (6, 3, 3)
    assert scalings[0] is None and scalings[1] == scalings[2] and scalings[1].unscaled == 0.15
    assert [run["variant"] for run in copied.results.runs if run["seed"] == 1] == [
        "regular",
        "batchnorm-only",
        "deformable",
    ]


def test_an_unknown_variant_is_refused(copied):
    with pytest.raises(ValueError, match="regular, batchnorm-only, conv-offset-2017, deformable; received 'rigid'"):
        copied.run("rigid", 0)


# The results file


def test_runs_are_added_in_order_and_read_back(results, make_run):
    added = [make_run("deformable", 1), make_run("regular", 1), make_run("deformable", 0), make_run("regular", 0)]
    for run in added:
        results.add(run)
    again = experiment.Results(results.path, SETTINGS)
    assert again.runs == added[::-1][:1] + [added[1], added[2], added[0]]
    assert again.find("deformable", 0) == added[2]
    assert again.find("batchnorm-only", 0) is None


def test_a_run_of_the_same_variant_and_seed_is_replaced(results, make_run):
    for run in (make_run("regular", 0, 0.1), make_run("regular", 1, 0.2), make_run("regular", 0, 0.3)):
        results.add(run)
    assert [run["regular"] for run in experiment.read_results(results.path)] == [0.3, 0.2]


@pytest.mark.parametrize(
    "key, value", [("dataset", "mnist"), ("finetune_steps", 4), ("unscaled_share", 0.0), ("interpolation", "nearest")]
)
def test_runs_of_other_settings_are_not_mixed_in(results, make_run, key, value):
    results.add(make_run("regular"))
    before = results.path.read_bytes()
    with pytest.raises(ValueError, match=f"results.json holds runs with {key}=.*{value!r}.* Choose another --out"):
        experiment.Results(results.path, dataclasses.replace(SETTINGS, **{key: value}))
    assert results.path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": 1, "runs": [{"variant": "regu',
        b"[]",
        b'{"runs": []}',
        b'{"format": 2, "runs": []}',
        b'{"format": 1}',
        b'{"format": 1, "runs": null}',
        b'{"format": 1, "runs": [3]}',
        b'{"format": 1, "runs": [{"seed": 0}]}',
        b"\x89HDF\r\n",
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(results, content):
    results.path.write_bytes(content)
    with pytest.raises(ValueError, match="results.json is not a results file that this version reads"):
        experiment.Results(results.path, SETTINGS)
    assert results.path.read_bytes() == content


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(results, make_run):
    """A full disk, as the system tells of it: no file may grow beyond a limit."""
    resource = pytest.importorskip("resource")
    results.add(make_run("regular"))
    before = results.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            results.add(make_run("deformable", command="x" * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert results.path.read_bytes() == before
    assert os.listdir(results.path.parent) == ["results.json"]


def test_the_file_is_whole_on_disk_before_it_takes_the_place_of_the_old_one(results, make_run, monkeypatch):
    """What a crash between two of these steps would leave: always a whole file."""
    results.add(make_run("regular"))
    seen, synced, sync = [], [], os.fsync

    def look(descriptor):
        seen.append(len(experiment.read_results(results.path)))
        synced.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    results.add(make_run("deformable"))
    assert seen == [1]
    assert synced == [results.path.stat().st_size]
    assert len(experiment.read_results(results.path)) == 2


REPRODUCE = """
import functools, sys
from deformconv import cli
from deformconv.study import experiment, training
from deformconv.study.scaling import scaled_copy, zoomed_copy
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
    (kept,) = experiment.read_results(path)
    assert kept["variant"] == "regular"

    weights = path.parent / "weights" / "regular-0.weights.h5"
    trained = weights.read_bytes()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    runs = experiment.read_results(path)
    assert [run["variant"] for run in runs] == ["regular", "batchnorm-only"]
    assert runs[0] == kept and weights.read_bytes() == trained


# Tables


def test_a_summary_has_means_and_sample_deviations_in_per_cent(make_run):
    runs = [
        make_run("batchnorm-only", 0, 0.98, 0.5),
        make_run("batchnorm-only", 1, 0.96, 0.6),
        make_run("batchnorm-only", 2, 0.97, 0.4),
        make_run("regular", 0, 0.75, 0.125, trained_parameters=242_250),
    ]
    summary = experiment.summarise(runs)
    assert list(summary) == ["regular", "batchnorm-only"]
    assert summary["batchnorm-only"]["seeds"] == 3
    assert summary["batchnorm-only"]["regular"] == pytest.approx((97, 1))
    assert summary["batchnorm-only"]["scaled"] == pytest.approx((50, 10))
    assert summary["regular"]["trained_parameters"] == 242_250
    assert summary["regular"]["scaled"] == (12.5, pytest.approx(np.nan, nan_ok=True))
    assert experiment.table(runs).splitlines() == [
        "| variant        | trained weights | regular %    | scaled %      | seeds |",
        "|----------------|-----------------|--------------|---------------|-------|",
        "| regular        | 242,250         | 75.00        | 12.50         | 1     |",
        "| batchnorm-only | 704             | 97.00 ± 1.00 | 50.00 ± 10.00 | 3     |",
    ]


def test_the_table_of_nothing_is_a_head():
    assert experiment.summarise([]) == {}
    assert len(experiment.table([]).splitlines()) == 2


@pytest.mark.parametrize("budget", experiment.BUDGETS)
def test_a_named_budget_makes_settings_and_changes_change_them(budget):
    settings = experiment.Settings.of("mnist", budget, unscaled_share=0.5)
    assert (settings.dataset, settings.budget, settings.unscaled_share) == ("mnist", budget, 0.5)
    assert settings.finetune_steps == experiment.BUDGETS[budget]["finetune_steps"]


def test_an_unknown_budget_is_refused():
    with pytest.raises(ValueError, match="must be one of quick, standard, full; received 'huge'"):
        experiment.Settings.of("digits", "huge")
