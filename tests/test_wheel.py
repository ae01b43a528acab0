"""The package as users get it: a wheel that holds what it should and works where nothing else of ours is."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the sources alone."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if name.startswith(("deformconv/", "pyproject.toml", "README.md", "LICENSE", "book/LICENSE")):
            target = folder / "sources" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "sources"], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_it_holds_the_package_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "deformconv").rglob("*") if path.is_file()}
    expected = {name for name in sources if "__pycache__" not in name and not name.endswith((".pyc", ".so"))}
    assert held == expected
    assert any(name.endswith("convolve.h") for name in held) and "deformconv/study/digits/trained.npz" in held


def test_it_asks_for_what_it_imports_and_carries_its_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        licences = [name for name in archive.namelist() if "/licenses/" in name]
    required = {
        line.split()[1].split(">")[0]
        for line in text.splitlines()
        if line.startswith("Requires-Dist") and "extra" not in line
    }
    assert {"keras", "tensorflow", "numpy", "scipy", "matplotlib", "ipywidgets"} <= {
        name.strip(";") for name in required
    }
    assert len(licences) == 2


def test_it_works_installed_in_a_folder_of_its_own(wheel, tmp_path):
    """Far from the sources: the operator, a figure, a trained network, the command."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", wheel]
    subprocess.run(install, check=True, capture_output=True)
    code = """
import numpy as np, deformconv
from deformconv.course import explorables, figures
from deformconv.study.digits import trained
assert "site" in deformconv.__file__, deformconv.__file__
assert tuple(deformconv.DeformableConv2D(6, (3, 2))(np.zeros((1, 5, 4, 3))).shape) == (1, 3, 3, 6)
assert "four_pixels" in explorables.html("four_pixels")
assert trained.load("deformable").count_params() == 279_296
"""
    alone = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=alone, check=True)
    told = subprocess.run(
        [sys.executable, "-m", "deformconv.cli", "info"], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert told.returncode == 0 and "deformconv" in told.stdout
