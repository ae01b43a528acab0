"""One contender of `gpu.py`, a process of its own: it answers lines of JSON on its standard output.

prepare: build, run once, write a sample of the results for the parent to check; calibrate: how many calls make a turn,
and their memory; round: the seconds of one call, over that many; reference: results in strict float32; drop.
"""

import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path

import gpu_report
import numpy as np

OFFSET_SCALE = 2  # pixels, standard deviation: neighbours, now and then outside the image
SAMPLE = 1 << 20  # elements of a result that are compared; they lie anywhere in it
WARM_UP_CALLS = 3


def main(name, device):
    # Whatever a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.modules["tensorflow"] = None  # a machine without it: no engine measured here may ask for it
    contender = None

    def answer(**content):
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        contender = _contender(name, device)
        answer(device=contender.device_name, versions=contender.versions())
    except Exception as error:
        answer(error=_told(error))
        return 1
    for line in sys.stdin:
        question = json.loads(line)
        try:
            content = getattr(contender, question.pop("do"))(**question)
        except Exception as error:
            content = {"error": _told(error)}
        if "error" in content:  # only now: until here the error's traceback held the tensors of the call
            contender.drop()
        answer(**content)
    return 0


def _told(error):
    """One line for the report; the whole of it goes to the log."""
    traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name in ("keras", "namex", "optree"):
        text += ": give a folder with wheels of keras, namex and optree by --wheels"
    return f"{type(error).__name__}: {text}"[:500]


def _contender(name, device):
    engine = gpu_report.CONTENDERS[name]["engine"]
    if engine == "torch":
        from gpu_torch import Torch as Engine
    else:
        from gpu_jax import Jax as Engine
    contender = Engine(name, device)
    if name.startswith("deformconv"):
        import keras

        from deformconv import deform_conv2d  # noqa: F401  (here, for an error at the start)

        if keras.backend.backend() != engine:
            raise RuntimeError(f"Keras runs on {keras.backend.backend()}, not on {engine}")
    return contender


def arrays_of(case, seed):
    """The numbers that all contenders get, in Keras's layout, and the gradient that comes from above."""
    batch, height, width = case["batch"], case["height"], case["width"]
    channels, filters, (kh, kw) = case["channels"], case["filters"], case["kernel_size"]

    def normal(stream, *shape):
        return np.random.default_rng([seed, stream]).standard_normal(shape, dtype="float32")

    arrays = {
        "inputs": normal(0, batch, height, width, channels),
        "offsets": normal(1, batch, height, width, kh * kw * 2) * OFFSET_SCALE,
        "kernel": normal(2, kh, kw, channels, filters) / (kh * kw * channels) ** 0.5,
    }
    if case["mask"]:
        arrays["mask"] = 1 / (1 + np.exp(-normal(3, batch, height, width, kh * kw)))
    return arrays, normal(4, batch, height, width, filters)


def corner_rows(case, offsets):
    """The row of pixels under each corner of each sampling point, held within its image: `(4 * points,)`."""
    batch, height, width = offsets.shape[:3]
    kh, kw = case["kernel_size"]
    taps = np.stack(np.meshgrid(np.arange(kh) - kh // 2, np.arange(kw) - kw // 2, indexing="ij"), -1).reshape(-1, 2)
    here = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    corner = np.floor(offsets.reshape(batch, height, width, kh * kw, 2)).astype("int32")
    corner += (here[:, :, None] + taps).astype("int32")
    first = (np.arange(batch, dtype="int32") * (height * width))[:, None, None, None]
    rows = []
    for down in (0, 1):
        for right in (0, 1):
            y = np.clip(corner[..., 0] + down, 0, height - 1)
            x = np.clip(corner[..., 1] + right, 0, width - 1)
            rows.append((first + y * width + x).reshape(-1))
    return np.concatenate(rows)


class Contender:
    """What the engines share: checking and timing. `self.call()` runs the case and returns its results by name."""

    def __init__(self, name, device):
        self.name, self.call = name, None
        self.kind = name.partition("-")[0]  # conv, torchvision, deformconv or gather
        self._connect(device)

    def prepare(self, case, precision, direction, seed, folder):
        return self._first_call(case, direction, seed, Path(folder) / f"{self.name}.npz", precision, precision)

    def reference(self, case, precision, direction, seed, folder):
        """In strict float32, of the numbers that this precision rounds the inputs to."""
        file = Path(folder) / f"{self.name}-reference.npz"
        answer = self._first_call(case, direction, seed, file, "float32", precision)
        self.drop()
        return answer

    def _first_call(self, case, direction, seed, file, precision, rounded):
        self.drop()
        arrays, upstream = arrays_of(case, seed)
        index = corner_rows(case, arrays["offsets"]) if self.kind == "gather" else None
        used = {"conv": ("inputs", "kernel"), "gather": ("inputs",)}.get(self.kind, tuple(arrays))
        arrays = {name: arrays[name] for name in used}
        begun = time.perf_counter()
        notes = self._build(arrays, index, upstream, precision, rounded, direction == "forward+backward") or {}
        results = self.call()
        self._wait(results)
        notes["first_call"] = time.perf_counter() - begun
        np.savez(file, **self._sampled(results, seed))
        results = None
        self._release()
        return {"file": str(file), **notes}

    def _sampled(self, results, seed):
        samples = {}
        for name, result in results.items():
            size = int(np.prod(result.shape))
            at = None
            if size > SAMPLE:
                at = np.random.default_rng([seed, 5]).integers(0, size, SAMPLE)
            samples[name] = self._numpy(name, result, at)
        return samples

    def calibrate(self, round_seconds):
        for _ in range(WARM_UP_CALLS):
            self._wait(self.call())
        dispatches, wholes = [], []
        for _ in range(5):
            begun = time.perf_counter()
            results = self.call()
            dispatches.append(time.perf_counter() - begun)
            self._wait(results)
            wholes.append(time.perf_counter() - begun)
            results = None
        # The first turns show what a call takes when the next is already waiting.
        calls = max(1, int(round_seconds / statistics.median(wholes)))
        calls = min(max(1, int(round_seconds / self.round(calls)["seconds"])), 10_000)
        return {"calls": calls, "dispatch": statistics.median(dispatches), **self._peak()}

    def round(self, calls):
        results = self.call()  # caches and clocks as the call before would leave them
        self._wait(results)
        begun = time.perf_counter()
        for _ in range(calls):
            results = None  # never two results at once
            results = self.call()
        self._wait(results)
        seconds = (time.perf_counter() - begun) / calls
        results = None
        self._release()
        return {"seconds": seconds}

    def _release(self):
        """Leaves unused memory to the others."""
