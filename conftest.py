"""Examples in docstrings: what they may name without an import, and a folder of their own for what they write."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

# Each needs its engine, which may not be installed, and has no examples.
collect_ignore_glob = ["deformconv/bench/contenders/on_*.py"]


@pytest.fixture(autouse=True)
def example(request, doctest_namespace, monkeypatch, tmp_path):
    """For examples alone: `np`, `keras`, `ops` and the package's public names; an empty folder to work in."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import keras
    import numpy as np

    import deformconv

    public = {name: getattr(deformconv, name) for name in deformconv.__all__}
    doctest_namespace.update(public, np=np, keras=keras, ops=keras.ops)
    monkeypatch.chdir(tmp_path)
