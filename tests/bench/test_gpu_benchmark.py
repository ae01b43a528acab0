"""The GPU benchmark's machinery, on a CPU: the workers, the check, the file. Its numbers mean nothing here."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


def test_smoke_run_writes_checked_results(tmp_path):
    for engine in ("jax", "torch"):
        if importlib.util.find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--smoke", "--out", str(tmp_path)]
    command += ["--contender", "deformconv-jax", "deformconv-torch", "--precision", "float32", "bfloat16"]
    command += ["--case", "1x5x4x8-6-mask", "--rounds", "3", "--round-seconds", "0.001"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "forward+backward" in ran.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-smoke.json"]
    report = json.loads((tmp_path / "gpu-smoke.json").read_text())
    assert {"command", "date", "hardware", "versions", "source", "seed", "tolerances"} <= report.keys()
    assert len(report["results"]) == 2 * 2 * 2
    for row in report["results"]:
        assert 0 < row["first_quartile"] <= row["median"] <= row["third_quartile"]
        assert row["reference"] == "deformconv-torch"
        assert row["relative_error"] <= report["tolerances"][row["precision"]]
        assert row["mask"] is True and row["batch"] == 1


def test_wrong_results_are_not_timed(gpu, tmp_path):
    right = np.arange(1, 7, dtype="float32")
    np.savez(tmp_path / "right.npz", outputs=right)
    np.savez(tmp_path / "wrong.npz", outputs=right * 1.001)
    right, wrong = tmp_path / "right.npz", tmp_path / "wrong.npz"
    assert gpu._check("float32", right, "torchvision", right) == {"reference": "torchvision", "relative_error": 0}
    assert "outputs differ from torchvision's by 1.0e-03" in gpu._check("float32", wrong, "torchvision", right)["error"]
    assert "error" not in gpu._check("tf32", wrong, "torchvision", right)
    assert "nothing to check it against" in gpu._check("float32", right, None, None)["error"]


def test_ratios_are_of_the_same_engine_case_and_precision(gpu):
    def row(contender, median, **more):
        row = {"contender": contender, "precision": "float32", "case": "c", "direction": "forward"}
        return {**row, "median": median, "dispatch": 0.1, **more}

    rows = [row("deformconv-jax", 5), row("conv-jax", 2), row("conv-torch", 1), row("torchvision", 8)]
    rows += [row("gather-jax", 4, precision="tf32"), row("gather-torch", 4)]
    ratios = {r["against"]: (r["ratio"], r["met"]) for r in gpu.report.promises(rows)}
    assert ratios == {"conv-jax": (2.5, True), "torchvision": (0.625, False)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smoke", "--contender", "mmcv"], "--contender must be among conv-torch"),
        (["--smoke", "--case", "8x56x56x64-64"], "--case must be among 2x7x6x8-4"),
        (["--smoke", "--rounds", "0"], "--rounds must be at least 1"),
        (["--smoke", "--wheels", "nowhere"], "found none in nowhere"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(gpu, capsys, arguments, message):
    assert gpu.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_without_a_gpu_it_says_so(gpu, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert gpu.main([]) == 2
    assert "no NVIDIA GPU was found" in capsys.readouterr().err
