"""What the tests of engines share."""

import pytest


@pytest.fixture
def ran(monkeypatch):
    """What PyTorch has had the compiled core do: pairs of an operation and the number of threads."""
    from deformconv.engines.native import torch_operators

    seen, core = [], torch_operators.core()

    def record(operation, *arguments):
        seen.append((operation, arguments[-1]))
        core(operation, *arguments)

    monkeypatch.setattr(torch_operators, "core", lambda: record)
    return seen
