"""What the examples in docstrings may name without an import: `np`, `keras`, `ops` and the package's public names."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest


@pytest.fixture(scope="session", autouse=True)
def names_of_examples(doctest_namespace):
    import keras
    import numpy as np

    import deformconv

    public = {name: getattr(deformconv, name) for name in deformconv.__all__}
    doctest_namespace.update(public, np=np, keras=keras, ops=keras.ops)
