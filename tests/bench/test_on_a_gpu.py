"""The way of the GPU, tried on a CPU: the workers, the check, the file. Its numbers mean nothing here."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import lazy_loader
import numpy as np
import pytest

import deformconv
from deformconv import cli
from deformconv.bench import measure, promises
from deformconv.bench.cases import REFERENCE, SMOKE
from deformconv.bench.check import compare
from deformconv.bench.clocks import Queued
from deformconv.bench.devices import DEVICES

CLI = Path(deformconv.__file__).parent / "cli"


def run(*arguments, python=(sys.executable,), **environment):
    command = [*python, str(CLI), "bench", "--device", "gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | environment)


def test_smoke_run_writes_checked_results(tmp_path):
    for engine in ("jax", "torch"):
        if importlib.util.find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
    path = tmp_path / "gpu.json"
    ran = run(
        *("--cases", "smoke", "--contenders", "jax", "torch", "--precision", "float32", "bfloat16"),
        *("--rounds", "3", "--round-seconds", "0.001", "--out", str(path)),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "forward and backward, bfloat16" in ran.stdout
    report = json.loads(path.read_text())
    assert {"command", "date", "hardware", "versions", "source", "seed", "tolerances", "promises"} <= report.keys()
    assert len(report["results"]) == 2 * 2 * 2 * 2
    for row in report["results"]:
        assert 0 < row["low"] <= row["median"] <= row["high"] and row["dispatch"] > 0 and row["turns"] == 3
        assert row["reference"] == "torch"
        assert row["relative_error"] <= report["tolerances"][row["precision"]]
    again = run("--cases", "smoke", "--contenders", "gather, torch", "--rounds", "1", "--out", str(path))
    assert again.returncode == 0 and "rows are added" in again.stdout
    held = json.loads(path.read_text())
    assert len(held["results"]) == 2 * 2 * 2 * 2 + 2 * 2 * 3 and held["promises"]
    assert {row["bytes_read"] for row in held["results"] if "bytes_read" in row} == {
        4 * 2 * 6 * 5 * 9 * 4 * n for n in (2, 4)
    }


def test_the_parent_needs_only_numpy_and_wheels(tmp_path):
    """With nothing else installed: it says what is lacking, and with a folder of wheels it gets as far as the GPU."""
    installed, wheels = tmp_path / "installed", tmp_path / "wheels"
    installed.mkdir()
    wheels.mkdir()
    for found in Path(np.__file__).parents[1].glob("numpy*"):
        (installed / found.name).symlink_to(found)
    for engine in ("jax", "torch"):
        (installed / f"{engine}.py").write_text("raise AssertionError('the parent needs no engine')")
    options = {"python": [sys.executable, "-S"], "PYTHONPATH": str(installed), "PATH": ""}
    ran = run(**options)
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1
    assert "No module named 'lazy_loader'" in ran.stderr and "--wheels" in ran.stderr
    with zipfile.ZipFile(wheels / "lazy_loader-1-py3-none-any.whl", "w") as wheel:
        wheel.write(lazy_loader.__file__, "lazy_loader/__init__.py")
    ran = run("--wheels", str(wheels), **options)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "no NVIDIA GPU was found" in ran.stderr


def test_wrong_results_are_not_timed():
    right = {"outputs": np.arange(1, 7, dtype="float32")}
    wrong = {"outputs": right["outputs"] * np.float32(1.001)}
    assert compare(right, "torchvision", right, "float32", "gpu") == {"reference": "torchvision", "relative_error": 0}
    said = compare(wrong, "torchvision", right, "float32", "gpu")["failed"]
    assert "outputs differ from those of 'torchvision' by 1.0e-03 of their norm" in said
    assert "failed" not in compare(wrong, "torchvision", right, "tf32", "gpu")
    lost = compare({"outputs": right["outputs"] * np.nan}, "torchvision", right, "bfloat16", "gpu")
    assert lost["relative_error"] is None and "failed" in lost


def test_ratios_are_of_the_same_engine_case_and_precision():
    def row(contender, median, **more):
        row = {"contender": contender, "precision": "float32", "case": "c", "direction": "forward"}
        return {**row, "median": median, "dispatch": 0.1, **more}

    rows = [row("jax", 5), row("conv2d, jax", 2), row("conv2d, torch", 1), row("torchvision", 8)]
    rows += [row("gather, jax", 4, precision="tf32"), row("gather, torch", 4)]
    ratios = {r["against"]: (r["ratio"], r["met"]) for r in promises.promises(rows)}
    assert ratios == {"conv2d, jax": (2.5, True), "torchvision": (0.625, False)}
    assert "| at most 2.5 times cuDNN's convolution | jax |" in promises.table(promises.promises(rows))


def test_queued_calls_are_waited_for_once_a_turn():
    waited, called = [], []

    def call():
        called.append(None)

    (mean,) = Queued.turn(call, waited.append, 5)
    assert len(called) == 1 + 5 and len(waited) == 2 and mean > 0
    told = Queued.calibrate(call, waited.append, 1e-3)
    assert 1 <= told["calls"] <= 10_000 and told["dispatch"] > 0


def test_no_case_is_started_that_would_end_too_late(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_connect", lambda workers: {})
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(measure.time, "monotonic", lambda: next(now))
    row = {"contender": "jax", "precision": "float32", "direction": "forward", "median": 1.0, "reference": "jax"}
    monkeypatch.setattr(measure.race, "run", lambda case, *_, **__: [{**row, "case": case.name}])
    options = {"precisions": ["float32", "tf32"], "out": tmp_path / "gpu.json"}
    results = measure.run(SMOKE, ["jax"], DEVICES["gpu"], seconds=15, **options)
    assert [row["case"] for row in results.new] == ["smoke"]
    assert (
        "--seconds 15 are used up: the rest, from smoke, masked in float32, is not measured" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contenders", "conv2d"], "--contenders must be one of conv2d, jax, jax, "),
        (["--cases", "huge"], "--cases must be one of main"),
        (["--precision", "float16"], "--precision must be one of float32, bfloat16, tf32; received 'float16'"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--wheels", "nowhere"], "found none in nowhere"),
        (["--growth"], "--growth is measured on the CPU alone; received --device gpu"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(capsys, arguments, message):
    assert cli.main(["bench", "--device", "gpu", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="no NVIDIA GPU was found"):
        measure.run([*SMOKE, REFERENCE], [], DEVICES["gpu"], precisions=["float32"])
