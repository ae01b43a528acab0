"""The command line as its users meet it: in a process of its own where that matters, else in this one."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import keras
import pytest
from PIL import Image

from deformconv import cli, training
from deformconv.engines import native
from deformconv.study import provenance, results
from deformconv.study.digits import datasets, experiment, published
from deformconv.study.digits.variants import VARIANTS
from deformconv.study.mnist_scale import experiment as scale_experiment
from deformconv.training import loop

REPRODUCE = ["reproduce", "--budget", "quick", "--dataset", "digits"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def refusal(capsys, monkeypatch):
    """`refusal(arguments)`: what the command says as it refuses: one line, exit status 2, nothing written."""
    monkeypatch.setattr(training, "fit", None)

    def run(arguments):
        before = os.listdir()
        assert cli.main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert re.fullmatch("deformconv: error: .+\n", said.err), said.err
        assert os.listdir() == before
        return said.err

    return run


@pytest.fixture
def tiny_quick(tiny_budget, monkeypatch):
    """Budget quick, with a handful of steps."""
    monkeypatch.setitem(experiment.BUDGETS, "quick", tiny_budget)


# In a process of its own


def test_help_imports_no_engine():
    code = (
        "import sys\nfrom deformconv import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('keras', 'tensorflow', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    for arguments, word in ((["--help"], "reproduce"), (["reproduce", "--help"], "--budget")):
        shown = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert shown.stdout.startswith("usage: deformconv") and word in shown.stdout
        assert shown.stdout.endswith("\n[]\n")


def test_a_user_sees_one_line_and_no_traceback():
    command = [sys.executable, "-m", "deformconv.cli", *REPRODUCE, "--variant", "rigid"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    choices = ", ".join(VARIANTS)
    assert ended.stderr == f"deformconv: error: --variant must be one of {choices}; received 'rigid'.\n"


# Refusals


@pytest.mark.parametrize("arguments", [[], ["train"], ["reproduce", "--seeds", "many"]])
def test_what_is_no_command_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert capsys.readouterr().err.startswith("usage: deformconv")


@pytest.mark.parametrize(
    "option, message",
    [
        ("--variant regular rigid", "--variant must be one of regular, .*; received 'rigid'"),
        ("--budget huge", "--budget must be one of quick, standard, full, 2017; received 'huge'"),
        ("--dataset fashion", "--dataset must be one of auto, mnist, digits; received 'fashion'"),
        ("--interpolation cubic", "--interpolation must be one of bilinear, nearest; received 'cubic'"),
        ("--seeds 0", "--seeds must be at least 1; received 0"),
        ("--seeds -3", "--seeds must be at least 1; received -3"),
        ("--unscaled 1.5", "--unscaled must be a share between 0 and 1; received 1.5"),
        ("--precision half", "--precision must be one of float32, mixed_bfloat16, mixed_float16; received 'half'"),
        ("--unscaled nan", "--unscaled must be a share between 0 and 1; received nan"),
    ],
)
def test_a_bad_option_is_refused_in_words(refusal, option, message):
    assert re.search(message, refusal([*REPRODUCE, *option.split()]))


@pytest.mark.parametrize(
    "option, message",
    [
        ("--variant conv-offset", "--variant must be one of regular, deformable, modulated; received 'conv-offset'"),
        ("--realisations 7", "--realisations must be between 1 and 6; received 7"),
        ("--steps 0", "--steps must be at least 1; received 0"),
        ("--offset-lr-multiplier 0", "--offset-lr-multiplier must be positive; received 0.0"),
        ("--offset-lr-multiplier nan", "--offset-lr-multiplier must be positive; received nan"),
    ],
)
def test_a_bad_option_of_mnist_scale_is_refused_in_words(refusal, option, message):
    assert re.search(message, refusal(["mnist-scale", *option.split()]))


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_refused(refusal, tmp_path, out):
    (tmp_path / "file").touch()
    assert str(tmp_path / out) in refusal([*REPRODUCE, "--out", str(tmp_path / out)])


@pytest.mark.parametrize("command", [["reproduce", "--budget", "quick"], ["data"]])
@pytest.mark.parametrize("dataset", ["auto", "mnist"])
def test_a_data_folder_without_data_is_refused(refusal, no_network, monkeypatch, tmp_path, command, dataset):
    monkeypatch.setenv("DEFORMCONV_DATA", str(tmp_path))
    assert "a folder that holds mnist.npz" in refusal([*command, "--dataset", dataset])


def test_without_a_network_mnist_is_refused_with_three_ways_on(refusal, no_network):
    assert "Three ways on" in refusal(["data", "--dataset", "mnist"])


def test_a_damaged_results_file_is_refused(refusal, tmp_path):
    (tmp_path / "results.json").write_text('{"format": 1, "ru')
    assert "not a results file" in refusal([*REPRODUCE, "--out", str(tmp_path)])


def test_runs_of_another_share_are_not_mixed_in(refusal, study, tiny_budget, monkeypatch):
    monkeypatch.setitem(experiment.BUDGETS, "tiny", tiny_budget)
    arguments = ["reproduce", "--dataset", "digits", "--budget", "tiny", "--out", str(study.folder)]
    assert "unscaled_share=0.15, and this one has unscaled_share=0.5" in refusal([*arguments, "--unscaled", "0.5"])


@pytest.mark.parametrize("setting, value", [("unscaled_share", 0.5), ("interpolation", "nearest")])
def test_the_data_is_the_budgets_unless_an_option_says_otherwise(
    refusal, study, tiny_budget, monkeypatch, setting, value
):
    monkeypatch.setitem(experiment.BUDGETS, "tiny", {**tiny_budget, setting: value})
    arguments = ["reproduce", "--dataset", "digits", "--budget", "tiny", "--out", str(study.folder)]
    assert f"this one has {setting}={value!r}" in refusal(arguments)


@pytest.fixture
def finished(study, tiny_budget, monkeypatch, tmp_path):
    """`finished(**changes)`: the command of a study whose every finished run says something else."""
    monkeypatch.setitem(experiment.BUDGETS, "tiny", tiny_budget)

    def write(**changes):
        runs = [{**run, **changes} for run in study.results.runs]
        (tmp_path / "results.json").write_text(json.dumps({"format": 1, "runs": runs}))
        return ["reproduce", "--dataset", "digits", "--budget", "tiny", "--out", str(tmp_path)]

    return write


def test_runs_on_other_data_of_the_same_name_are_not_told_again(refusal, finished, study):
    digest = study.data.digest[:12]
    said = refusal(finished(data="0" * 64))
    assert f"results.json holds runs with data=000000000000..., and this one has data={digest}...: a table" in said
    assert "Choose another --out" in said


@pytest.mark.parametrize(
    "change, words",
    [({"keras": "3.0"}, "keras 3.0, and this is keras 3"), ({"deformconv": "0.0"}, "deformconv 0.0, and this is")],
)
def test_runs_of_another_version_are_not_told_again(refusal, finished, study, change, words):
    versions = study.results.runs[0]["versions"]
    assert f"results.json holds runs with {words}" in refusal(finished(versions={**versions, **change}))


def test_runs_of_another_engine_are_of_another_version(refusal, finished):
    here = keras.backend.backend()
    other = next(name for name in provenance.ENGINES if name != here)
    now = provenance.versions()
    versions = {name: version for name, version in now.items() if name != here} | {other: "1.0"}
    assert f"runs with {other} 1.0, and this is {here} {now[here]}" in refusal(finished(versions=versions))


def test_runs_from_before_digests_are_taken_by_name_and_counted(capsys, finished, study, monkeypatch):
    from deformconv.cli import reproduce

    command = finished()
    path = Path(command[-1]) / "results.json"
    content = json.loads(path.read_text())
    for run in content["runs"]:
        del run["data"]
    path.write_text(json.dumps(content))
    monkeypatch.setattr(reproduce, "draw", lambda *_: None)
    monkeypatch.setattr(training, "fit", None)
    assert cli.main([*command, "--variant", "regular"]) == 0
    said = capsys.readouterr()
    many = len(content["runs"])
    assert f"results.json: {many} of {many} runs do not tell a digest of their data" in said.err
    assert "regular, seed 0:" in said.out and "kept from before" in said.out


def test_an_unfinished_run_of_other_settings_is_not_gone_on_with(refusal, capsys, tmp_path, tiny_quick, monkeypatch):
    """Killed before its first result, it has left a checkpoint alone."""
    command = [*REPRODUCE, "--out", str(tmp_path / "out")]
    fit = loop.fit

    def dies(*arguments, **options):
        fit(*arguments, **{**options, "every": 2})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", dies)
        assert cli.main([*command, "--variant", "regular"]) == 130
    capsys.readouterr()
    words = "was begun with unscaled_share=0.15, and this one has unscaled_share=0.5. Choose another --out"
    assert f"regular-0.npz is of a run that {words}" in refusal([*command, "--unscaled", "0.5"])
    note = tmp_path / "out" / "unfinished" / "regular-0.json"
    about = json.loads(note.read_text())
    note.write_text(json.dumps({**about, "versions": {**about["versions"], "keras": "3.0"}}))
    assert "was begun with keras 3.0, and this is keras 3" in refusal(command)
    note.unlink()
    assert "was begun with unknown settings" in refusal(command)
    checkpoint = note.with_suffix(".npz")
    checkpoint.rename(f"{checkpoint}.1")  # as files move on
    assert "was begun with unknown settings" in refusal(command)


def test_stated_runs_on_other_data_cannot_be_compared(refusal, finished):
    command = finished(data="0" * 64)
    stated = str(Path(command[-1]) / "results.json")
    said = refusal([*command[:-2], "--compare", stated])
    assert f"--compare: {stated} holds runs with data=000000000000..., and this one has data=" in said


def test_stated_runs_that_are_not_there_are_named(refusal):
    assert "--compare must be a results file; typo.json is not there" in refusal([*REPRODUCE, "--compare", "typo.json"])


def test_stated_runs_of_other_settings_cannot_be_compared(refusal, study):
    stated = str(study.folder / "results.json")
    said = refusal([*REPRODUCE, "--compare", stated])
    assert f"--compare: {stated} holds runs with budget='tiny', and this one has budget='quick'" in said


def test_an_interruption_says_how_to_go_on(capsys, tiny_quick, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    assert cli.main(REPRODUCE) == 130
    assert "the same command goes on from here" in capsys.readouterr().err


# What it does


def test_info_tells_versions_and_hardware(capsys):
    assert cli.main(["info"]) == 0
    told = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    of_kernels = {"engine": "tensorflow", "CPU kernels": native.status()}
    assert told == {**provenance.versions(), "hardware": provenance.hardware(), **of_kernels}
    assert told.keys() >= {"python", "deformconv", "keras", "numpy"}


def test_data_counts_the_digits_and_claims_no_check(capsys):
    assert cli.main(["data", "--dataset", "digits"]) == 0
    assert capsys.readouterr().out == "digits: 1,440 training and 357 test images.\n"


@pytest.mark.skipif("DEFORMCONV_DATA" not in os.environ, reason="needs MNIST: $DEFORMCONV_DATA is not set")
def test_data_checks_mnist(capsys):
    assert cli.main(["data"]) == 0
    assert capsys.readouterr().out == "mnist: 60,000 training and 10,000 test images, digests checked.\n"


def test_data_falls_back_to_digits_with_a_visible_warning(capsys, no_network):
    assert cli.main(["data"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("digits: ")
    assert said.err.startswith("deformconv: warning: MNIST cannot be had")


def test_data_fetches_2017s_weights_if_asked_to(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(published, "weight_files", lambda download: {"cnn.h5": tmp_path / f"cnn-{download}.h5"})
    assert cli.main(["data", "--dataset", "digits", "--weights-2017"]) == 0
    assert f"{tmp_path / 'cnn-True.h5'}: SHA-256 checked." in capsys.readouterr().out


def test_mnist_scale_runs_every_variant_in_every_realisation(capsys, monkeypatch, make_run):
    ran = []

    def run(queue, variant, seed):
        ran.append((seed, variant))
        queue.results.runs.append(make_run(variant, seed, error=0.0125))
        return queue.results.runs[-1]

    monkeypatch.setattr(scale_experiment.MnistScale, "run", run)
    monkeypatch.setattr(datasets, "load", lambda name: types.SimpleNamespace(name=name, digest="d"))
    assert cli.main(["mnist-scale", "--realisations", "2", "--variant", "regular", "modulated"]) == 0
    assert ran == [(0, "regular"), (0, "modulated"), (1, "regular"), (1, "modulated")]
    said = capsys.readouterr().out
    assert "kept from before" not in said
    assert "modulated, realisation 1: test error 1.25%" in said
    assert "| modulated |             704 | 1.25 ± 0.00 |     2 |" in said


def test_reproduce_runs_every_variant_with_every_seed(capsys, monkeypatch, make_run):
    ran = []

    def run(_, variant, seed):
        ran.append((seed, variant))
        return make_run(variant, seed, seconds=1)

    monkeypatch.setattr(experiment.Study, "run", run)
    monkeypatch.setattr(cli.reproduce, "draw", lambda *_: None)
    assert cli.main([*REPRODUCE, "--seeds", "2"]) == 0
    assert ran == [(seed, variant) for seed in (0, 1) for variant in VARIANTS]
    assert "deformable, seed 1: regular 50.00%, scaled 25.00%, trained 704 weights in 1 s" in capsys.readouterr().out


def test_a_run_outside_the_stated_spread_ends_with_status_1(capsys, monkeypatch, make_run, tmp_path):
    settings = experiment.Settings.of("digits", "quick")
    stated = results.Results(tmp_path / "stated.json", settings, experiment.Study.descriptions)
    for seed, scaled in enumerate((0.25, 0.26, 0.27)):
        stated.add(make_run("deformable", seed, scaled=scaled, **dataclasses.asdict(settings)))
    accuracy = {"deformable": 0.3, "regular": 0.9}
    monkeypatch.setattr(
        experiment.Study, "run", lambda _, variant, seed: make_run(variant, seed, scaled=accuracy[variant], seconds=1)
    )
    monkeypatch.setattr(cli.reproduce, "draw", lambda *_: None)
    command = [*REPRODUCE, "--compare", str(stated.path), "--variant"]
    assert cli.main([*command, "deformable"]) == 0
    accuracy["deformable"] = 0.5
    assert cli.main([*command, "deformable"]) == 1
    assert "deformable, seed 0: scaled 50.00% is OUTSIDE" in capsys.readouterr().out
    assert cli.main([*command, "regular"]) == 0
    assert "it has no two runs of any of these variants" in capsys.readouterr().out


def test_reproduce_writes_results_a_figure_and_an_animation_and_reuses_its_runs(capsys, tiny_quick, monkeypatch):
    command = [*REPRODUCE, "--variant", "deformable", "--interpolation", "nearest", "--unscaled", "0.25"]
    assert cli.main(command) == 0
    said = capsys.readouterr()

    folder = os.path.join("results", "digits-quick")
    written = [
        "accuracy_against_zoom.png",
        "results.json",
        "results.lock",
        "sampling_points.gif",
        "unfinished",
        "weights",
    ]
    assert sorted(os.listdir(folder)) == written
    with open(os.path.join(folder, "results.json")) as file:
        runs = json.load(file)["runs"]
    assert [(run["variant"], run["interpolation"], run["unscaled_share"]) for run in runs] == [
        ("regular", "nearest", 0.25),
        ("deformable", "nearest", 0.25),
    ]
    assert runs[1]["command"] == " ".join(["deformconv", *command])
    with Image.open(os.path.join(folder, "accuracy_against_zoom.png")) as figure:
        assert min(figure.size) > 300
    with Image.open(os.path.join(folder, "sampling_points.gif")) as animation:
        assert animation.format == "GIF" and animation.n_frames > 10
    assert f"deformable, seed 0: regular {runs[1]['regular']:.2%}, scaled {runs[1]['scaled']:.2%}" in said.out
    assert "Test accuracy on digits" in said.out and results.table(runs, ("regular", "scaled")) in said.out

    from deformconv.course import figures

    monkeypatch.setattr(training, "fit", None)
    monkeypatch.setattr(figures, "save_animation", lambda *_: None)
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert results.table(runs, ("regular", "scaled")) in said and " s, kept from before\n" in said
    assert results.read(os.path.join(folder, "results.json")) == runs
