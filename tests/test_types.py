"""Types: public functions and layers carry them, the stubs name what there is, and a checker sees both from outside."""

import ast
import fnmatch
import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import deformconv
from deformconv import training

ROOT = Path(__file__).parents[1]
PACKAGES = {"deformconv": deformconv, "deformconv.training": training}
SPECIAL = ("__init__", "__call__", "__len__", "__getitem__")


def named(package):
    """The names that the stub of a package imports."""
    tree = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text())
    return [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]


def functions(name, value):
    """The functions that a public name stands for: its own, a module's, the methods of a class and of our bases."""
    if inspect.isclass(value):
        for owner in value.__mro__:
            for key, method in vars(owner).items() if owner.__module__.startswith("deformconv") else ():
                method = getattr(method, "fget", None) or getattr(method, "__func__", method)  # property, classmethod
                if inspect.isfunction(method) and (key in SPECIAL or not key.startswith("_")):
                    yield f"{name}.{key}", method
    elif isinstance(value, ModuleType):
        for key, own in vars(value).items():
            if getattr(own, "__module__", None) == value.__name__ and not key.startswith("_"):
                yield from functions(f"{name}.{key}", own)
    else:
        yield name, value


def missing(function):
    """What has no type: parameters, and `return` unless it is a constructor."""
    signature = inspect.signature(function)
    untyped = [key for key, parameter in signature.parameters.items() if parameter.annotation is parameter.empty]
    if signature.return_annotation is signature.empty and function.__name__ != "__init__":
        untyped.append("return")
    return [key for key in untyped if key not in ("self", "cls")]


PUBLIC = dict(
    found
    for package, module in PACKAGES.items()
    for name in named(module)
    if name != "training"
    for found in functions(f"{package}.{name}", getattr(module, name))
)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_and_return_value_has_a_type(name):
    assert missing(PUBLIC[name]) == []


def test_what_is_public_was_found():
    assert {
        "deformconv.deform_conv2d",
        "deformconv.reference.deform_conv2d",
        "deformconv.diagnostics.reach",
        "deformconv.DeformableConv2D.__init__",
        "deformconv.DeformableConv2D.from_conv2d",
        "deformconv.DCNv4.compute_output_shape",
        "deformconv.training.fit",
        "deformconv.training.ImageFolder.__getitem__",
        "deformconv.training.OwnData.is_large",
        "deformconv.training.Scaling.__init__",
    } <= set(PUBLIC)


def test_a_parameter_without_a_type_is_found():
    class Layer:
        def __init__(self, filters, strides: int = 1): ...

        def call(self, inputs: float, mask=None): ...

    assert missing(Layer.__init__) == ["filters"]
    assert missing(Layer.call) == ["mask", "return"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_are_those_of_the_stub(package):
    assert sorted(PACKAGES[package].__all__) == sorted(named(PACKAGES[package]))


def test_the_wheel_is_told_of_the_stubs():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    stubs = [ROOT / "deformconv" / "py.typed", *(ROOT / "deformconv").rglob("*.pyi")]
    assert len(stubs) > 2
    for path in stubs:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in listed.get(package, [])), path


def test_types_come_without_an_engine():
    code = "import sys, deformconv.types; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_checker_sees_them_in_the_code_of_others(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("""\
import deformconv
reveal_type(deformconv.deform_conv2d)
reveal_type(deformconv.training.fit)
deformconv.DeformableConv2D(6, (3, 2), padding="same", modulated=True)
deformconv.DeformableConv2D(6, (3, 2), padding="Same")
deformconv.training.fit(None, steps=3)
""")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        ROOT / "pyproject.toml",
        "--cache-dir",
        tmp_path / "cache",
    ]
    told = subprocess.run(
        [*command, "--no-error-summary", mine],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert not told.stderr
    operator, loop, wrong_padding, no_images = told.stdout.splitlines()
    assert all(f"{name}: " in operator for name in ("inputs", "offsets", "kernel", "strides")), operator
    assert all(f"{name}: " in loop for name in ("model", "images", "steps", "checkpoint")), loop
    assert wrong_padding.startswith('mine.py:5: error: Argument "padding"')
    assert no_images.startswith("mine.py:6: error: Missing positional argument")
