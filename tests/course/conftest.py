"""For the course's tests: figures are drawn in memory, stay open until the test has looked, and are closed then."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_windows():
    plt.switch_backend("Agg")
    yield
    plt.close("all")
