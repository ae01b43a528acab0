"""The race: who is checked against whom, who is timed, what is told of those that are not."""

import numpy as np
import pytest

from deformconv.bench import cases, contenders, race
from deformconv.bench.check import compare
from deformconv.bench.devices import DEVICES
from deformconv.bench.process import Process

TINY = cases.SMOKE[1]
RIGHT = {"outputs": np.arange(1, 3, dtype="float32").reshape(1, 2)}


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"outputs": RIGHT["outputs"] + 0.01}, "outputs differ from those of 'tensorflow' by 0.01"),
        ({"outputs": RIGHT["outputs"] * np.nan}, "outputs differ from those of 'tensorflow' by nan"),
        ({"outputs": RIGHT["outputs"].T}, "outputs of shape (2, 1), not (1, 2)"),
        (
            {**RIGHT, "gradient of mask": np.ones(1)},
            "gradient of mask differ from those of 'tensorflow' by 5.0e-01 of their norm; 5e-05 are allowed in float32",
        ),
    ],
)
def test_who_computes_something_else_is_told_so(results, said):
    reference = {**RIGHT, "gradient of mask": np.full(1, 2.0)}
    assert compare(results, "tensorflow", reference, "float32", "cpu")["failed"] == said
    assert "failed" not in compare(RIGHT, "tensorflow", reference, "float32", "cpu")


class Fake(Process):
    """A contender in this process, which makes these outputs and gradients, and answers what it is told to."""

    def __init__(self, name, outputs, gradient=None, **told):
        super().__init__(name, DEVICES["cpu"])
        self.results = {"forward": {"outputs": np.full(3, outputs)}}
        if gradient is not None:
            self.results["backward"] = self.results["forward"] | {"gradient of inputs": np.full(3, gradient)}
        self.told, self.asked = told, []

    def ask(self, do, folder=None, direction=None, **_):
        self.asked.append(do)
        if do == "prepare":
            for of, results in self.results.items():
                np.savez(f"{folder}/{self.name}{of}.npz", **results)
            files = {of: {"file": f"{folder}/{self.name}{of}.npz"} for of in self.results}
            return files | self.told.get(do, {})
        return self.told.get(do) or {"calibrate": {"calls": 2, "seconds": 0.1}, "turn": {"seconds": [0.1, 0.2]}}[do]


def raced(*fakes, rounds=5):
    results = race.run(TINY, {fake.name: fake for fake in fakes}, rounds=rounds)
    return {(result["contender"], result["direction"]): result for result in results}


def test_who_is_wrong_is_timed_in_neither_direction_and_convolutions_are_compared_among_themselves():
    right, wrong = Fake("tensorflow", 1.0, gradient=2.0), Fake("jax", 1.0, gradient=2.1)
    plain, other, without = Fake("conv2d", 7.0), Fake("conv2d, jax", 7.1), Fake("openvino", 1.0)
    # The order of starting does not choose the reference: the first of ours does.
    found = raced(plain, without, other, wrong, right)
    assert {key for key, result in found.items() if "failed" in result} == {
        ("jax", "forward"),
        ("jax", "backward"),
        ("conv2d, jax", "forward"),
    }
    assert "gradient of inputs differ from those of 'tensorflow'" in found["jax", "forward"]["failed"]
    assert "by 0.1" in found["conv2d, jax", "forward"]["failed"]
    assert found["openvino", "forward"]["reference"] == "tensorflow"
    assert wrong.asked == ["prepare"] and ("openvino", "backward") not in found
    assert found["tensorflow", "backward"]["median"] == 150 and found["tensorflow", "backward"]["calls"] == 10


def test_who_fails_on_the_way_is_named_and_the_others_go_on():
    lost = {"failed": "it died: out of memory"}
    found = raced(
        Fake("tensorflow", 1.0, 1.0),
        Fake("jax", 1.0, 1.0, prepare={"backward": lost}),
        Fake("torch", 1.0, 1.0, turn=lost),
    )
    # Who fails in a turn has forgotten the case, and is not asked for the other direction.
    failed = ("jax", "backward"), ("torch", "forward"), ("torch", "backward")
    assert all(found[key]["failed"] == lost["failed"] and "median" not in found[key] for key in failed)
    assert found["jax", "forward"]["median"] == 150
    assert found["tensorflow", "forward"]["median"] == found["tensorflow", "backward"]["median"] == 150


def test_a_contender_that_takes_over_a_second_gets_three_turns():
    slow = Fake("tensorflow", 1.0, calibrate={"calls": 1, "seconds": 2.0}, turn={"seconds": [2.0]})
    found = raced(slow, Fake("jax", 1.0))
    assert found["tensorflow", "forward"]["calls"] == 3 == slow.asked.count("turn")
    assert found["jax", "forward"]["turns"] == 5


def test_a_contender_that_fails_is_named_with_its_reason(monkeypatch):
    nobody = contenders.Contender("on_nothing:Nobody", "json")
    monkeypatch.setitem(contenders.CONTENDERS, "nobody", nobody)  # unknown in the worker's process
    workers = {name: Process(name, DEVICES["cpu"]) for name in ("onnxruntime", "nobody")}
    try:
        results = race.run(TINY, workers, rounds=1, directions=["forward"])
    finally:
        for worker in workers.values():
            worker.stop()
    (failed,) = (result for result in results if "failed" in result)
    assert failed["contender"] == "nobody" and "KeyError" in failed["failed"]
    assert any(result["contender"] == "onnxruntime" for result in results if "median" in result)


def test_in_less_than_float32_the_reference_is_strict_float32_of_the_rounded_numbers():
    """And where nobody gives it, nothing is timed."""

    class Rounding(Fake):
        def __init__(self, name, exact):
            super().__init__(name, 1.0)
            self.device, self.exact = DEVICES["gpu"], exact

        def tell(self, do, **question):
            self.question = question

        def answer(self):
            return self.ask("prepare", **self.question)

        def ask(self, do, precision=None, rounded=None, **more):
            if do == "prepare" and rounded:
                assert (precision, rounded) == ("float32", "bfloat16")
                if not self.exact:
                    return {"failed": "no memory"}
            self.results["forward"]["outputs"] = np.full(3, 1.0 if rounded else 1.01)
            return super().ask(do, **more) if do != "drop" else {}

    options = {"device": DEVICES["gpu"], "precision": "bfloat16", "directions": ["forward"]}
    # torchvision does not compute in bfloat16, and is the reference nevertheless.
    workers = {name: Rounding(name, name == "torchvision") for name in ("jax", "torch", "torchvision")}
    jax, torch = race.run(TINY, workers, **options)
    assert jax["reference"] == torch["reference"] == "torchvision"
    assert jax["relative_error"] == pytest.approx(0.01) and jax["median"] == 150
    (lost,) = race.run(TINY, {"jax": Rounding("jax", False)}, **options)
    assert lost["failed"].startswith("nothing to check it against")
