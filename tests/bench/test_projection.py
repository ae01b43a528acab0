"""The projection: its network is what it says, its arithmetic that of a ring, its section the committed one."""

import json

import pytest

from deformconv.bench import projection
from deformconv.bench.projection import FOLDER


def test_the_network_has_the_known_weights_and_multiply_adds():
    """25,557,032 weights and 4.09 G multiply-adds are ResNet-50's, as everyone counts them."""
    layers = projection.resnet50()
    assert projection.parameters(layers) == 25_557_032
    assert projection.work(layers)[0] == pytest.approx(4.09e9, rel=2e-3) and projection.work(layers)[1] == 0
    deformed = projection.resnet50(deformed=True)
    assert sum(bends for *_, bends in deformed) == 13
    widths = [128] * 4 + [256] * 6 + [512] * 3
    assert projection.parameters(deformed, True) - 25_557_032 == sum(18 * (9 * width + 1) for width in widths)
    assert sum(projection.work(deformed)) - sum(projection.work(layers)) == pytest.approx(
        sum(9 * 18 * width * (28 * 128 / width) ** 2 for width in widths)
    )


def test_a_ring_sends_the_gradients_almost_twice():
    assert projection.all_reduce_seconds(1000, 1) == 0
    assert projection.all_reduce_seconds(1000, 2, link=4000, latency=0) == 1
    assert projection.all_reduce_seconds(1000, 8, link=4000, latency=0.5) == 1.75 + 7


def test_with_a_measured_gpu_nothing_is_assumed_of_its_layers(tmp_path):
    (tmp_path / "cpu-2-cores.json").write_bytes((FOLDER / "results" / "cpu-2-cores.json").read_bytes())
    (cpu, *_), (assumed, *costs, is_assumed) = projection.measured(tmp_path)
    assert "cores" in cpu and "assumed" in assumed and is_assumed and costs[1] > costs[0]
    assert "No GPU was measured" in projection.section(projection.measured(tmp_path))
    common = {"case": "reference", "precision": "float32", "direction": "backward"}
    rows = [{**common, "contender": name, "median": time} for name, time in (("conv2d, jax", 1e3), ("jax", 3e3))]
    rows.append({**rows[1], "precision": "bfloat16", "median": 1e3})
    rows.append({**common, "contender": "conv2d, torch", "failed": "none"})
    (tmp_path / "gpu-some.json").write_text(json.dumps({"results": rows}))
    _, (name, plain, bent, is_assumed) = projection.measured(tmp_path)
    assert name == "gpu-some, jax" and not is_assumed
    assert plain == pytest.approx(1 / (8 * 56**2 * 64**2 * 9)) and bent == pytest.approx(3 * plain)
    assert "One GPU was measured, never eight" in projection.section(projection.measured(tmp_path))


def test_the_committed_section_is_that_of_the_committed_results():
    text = (FOLDER / "README.md").read_text()
    begin, end = projection.MARKS
    written = text[text.index(begin) + len(begin) : text.index(end)].strip()
    assert written == projection.section(projection.measured()), "run python -m deformconv.bench.projection"
