"""One contender in a process of its own: `python -m deformconv.bench.worker CONTENDER DEVICE PLACE`.

It is asked and answers in lines of JSON, and does nothing in between. DEVICE, "cpu" or "gpu", says how it is timed,
PLACE where it computes: the way of the GPU can be tried on the CPU.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from deformconv.bench import cases, machine
from deformconv.bench.clocks import OneByOne, Queued
from deformconv.bench.contenders import CONTENDERS

SAMPLE = 1 << 20  # elements of a result that are compared; they lie anywhere in it


class Worker:
    """Each method is a question: what it may ask for, and the answer, a dictionary."""

    def __init__(self, name, device, place):
        self.name, self.device, self.place, self.runner = name, device, place, None
        self.clock = {"cpu": OneByOne, "gpu": Queued}[device]
        if device == "gpu":  # a machine without it: no engine measured there may ask for it
            sys.modules["tensorflow"] = None

    def connect(self):
        """Finds the device: its name, and versions that only this process knows."""
        self.runner = self.runner or CONTENDERS[self.name].load()(self.place)
        return {"device": self.runner.device_name, "versions": self.runner.versions()}

    def prepare(self, case, seed, precision, directions, folder=None, rounded=None):
        """Computes a case once in each direction.

        Args:
            folder: where the results are written for the parent to check, or None.
            rounded: the precision that the numbers are rounded to, if it is not the one to compute in.

        Returns:
            For each direction that there is: `file`, of its results; `first_call`, its seconds; on the CPU `peak`, the
            process's peak of memory in megabytes, and `memory`, what it grew by once it had the numbers; or `failed`.
        """
        self.drop()
        case = cases.Case(**case)
        given = cases.tensors(case, seed)
        before = machine.peak_memory()
        self.connect()  # after the numbers, so that libraries count among what the process grew by
        self.runner.load(case, given, precision, rounded or precision)
        given.clear()  # it has its own
        told = {}
        for direction in directions:
            if getattr(self.runner, direction):
                told[direction] = _tried(self._first_call, direction, seed, before, folder)
        return told

    def _first_call(self, direction, seed, before, folder):
        start = time.perf_counter()
        results = getattr(self.runner, direction)()
        self.runner.wait(results)
        told = {"first_call": time.perf_counter() - start, **self.runner.notes(direction)}
        if self.place == "cpu":
            peak = machine.peak_memory()
            told |= {"peak": round(peak), "memory": round(peak - before)}
        if folder:
            told["file"] = str(Path(folder) / f"{self.name}, {direction}.npz")
            np.savez(told["file"], **{name: self._compared(name, result, seed) for name, result in results.items()})
        results = None
        self.runner.release()
        return told

    def _compared(self, name, result, seed):
        """What the parent compares of a result: on the CPU all of the outputs, of others that are large a sample."""
        size, at = int(np.prod(result.shape)), None
        if size > SAMPLE and not (name == "outputs" and self.device == "cpu"):
            at = np.random.default_rng([seed, 5]).integers(0, size, SAMPLE)
        return self.runner.array(name, result, at)

    def calibrate(self, direction, seconds):
        """How many calls make a turn of so many seconds, and their memory on a GPU; see `clocks`."""
        told = self.clock.calibrate(getattr(self.runner, direction), self.runner.wait, seconds)
        return told | (self.runner.peak(direction) if self.place == "gpu" else {})

    def turn(self, direction, calls):
        """Times calls; see `clocks`."""
        seconds = self.clock.turn(getattr(self.runner, direction), self.runner.wait, calls)
        self.runner.release()
        return {"seconds": seconds}

    def drop(self):
        """Forgets the case."""
        if self.runner:
            self.runner.drop()
        return {}


def _tried(function, *arguments, **named):
    """A question's answer; or `failed`, with the reason in a line, all of which goes to stderr."""
    try:
        return function(*arguments, **named)
    except Exception as error:  # told to the process that compares, which goes on without this contender
        traceback.print_exception(error)
        text = " ".join(str(error).split())
        if isinstance(error, ModuleNotFoundError):
            text += " (what is not installed may come as a wheel, by --wheels)"
        return {"failed": f"{type(error).__name__}: {text}"[:500]}


def main(name, device, place):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr: stdout is for answers alone
    worker = Worker(name, device, place)
    for line in sys.stdin:
        asked = json.loads(line)
        told = _tried(getattr(worker, asked.pop("do")), **asked)
        if "failed" in told:  # only now: until here the error's traceback held the tensors of the call
            worker.drop()
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
