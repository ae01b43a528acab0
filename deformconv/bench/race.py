"""All contenders at one case: each in its own process, the same threads, in turn, checked before they are timed."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from deformconv.bench.contenders import CONTENDERS, OURS

TOLERANCE = 1e-4  # of outputs whose spread is about one; bfloat16 by mistake would differ by a hundred times as much


def installed() -> list[str]:
    """The contenders whose library can be found here."""
    return [name for name, (_, module, _) in CONTENDERS.items() if importlib.util.find_spec(module)]


def run(case, names, *, threads, rounds=9, seconds=0.4, backward=True, seed=0, progress=None):
    """Times every contender that runs and agrees.

    Args:
        case: a `cases.Case`.
        names: of contenders.
        threads: of each; they never run at the same time.
        rounds: each round times every contender once, one after the other, so that all see the same weather; one
            that takes over a second a call is left out after three.
        seconds: about how long a contender is timed for in a round; three calls where that is longer.
        backward: whether to time gradients too.
        seed: of the numbers.
        progress: called with a text now and then, or None.

    Returns:
        A list of results, one a contender and direction: `case`, `contender`, `direction`, `median`, `low` and `high`
        (the quartiles), in milliseconds, `calls`, the process's `peak` of memory in megabytes and `memory`, what it
        grew by once it had the numbers: libraries, outputs, gradients, buffers. For one that could not take part
        `contender` and `failed`, with the reason.
    """
    say = progress or (lambda text: None)
    results, ready = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            say(f"{case.name}: {name} gets ready")
            worker = Worker(name, threads)
            file = Path(folder) / f"{len(ready)}.npy"
            told = worker.ask(case=case.as_dict(), seed=seed, outputs=str(file), backward=backward)
            if not told.get("ready"):
                results.append({"case": case.name, "contender": name, "failed": told.get("why", "it died")})
                worker.stop()
                continue
            ready[name] = (worker, told, np.load(file))
        for name, why in _disagreeing({name: outputs for name, (_, _, outputs) in ready.items()}).items():
            results.append({"case": case.name, "contender": name, "failed": why})
            ready.pop(name)[0].stop()
    try:
        for direction in ("forward", "backward"):
            racing = {name: worker for name, (worker, told, _) in ready.items() if direction in told["can"]}
            times = {name: [] for name in racing}
            counts = {}
            for number in range(rounds):
                say(f"{case.name}: {direction}, round {number + 1} of {rounds}")
                for name, worker in racing.items():
                    if name not in counts:
                        once = worker.ask(direction=direction, calls=1)["seconds"][0]
                        counts[name] = max(3, min(50, round(seconds / once))) if once < 1 else 1
                    if counts[name] > 1 or number < 3:
                        times[name] += worker.ask(direction=direction, calls=counts[name])["seconds"]
            for name, of_calls in times.items():
                low, median, high = 1e3 * np.quantile(of_calls, [0.25, 0.5, 0.75])
                results.append(
                    {
                        "case": case.name,
                        "contender": name,
                        "direction": direction,
                        "median": round(median, 3),
                        "low": round(low, 3),
                        "high": round(high, 3),
                        "calls": len(of_calls),
                        "peak": round(ready[name][1]["peaks"][direction]),
                        "memory": round(ready[name][1]["peaks"][direction] - ready[name][1]["before"]),
                    }
                )
    finally:
        for worker, _, _ in ready.values():
            worker.stop()
    return results


def _disagreeing(outputs):
    """Contenders whose outputs are not those of the first of ours, with the difference. Conv2D has no offsets."""
    ours = next((name for name in OURS if name in outputs), None)
    wrong = {}
    for name, made in outputs.items():
        if ours is None or name == "conv2d":
            continue
        if made.shape != outputs[ours].shape:
            wrong[name] = f"outputs of shape {made.shape}, not {outputs[ours].shape}"
            continue
        difference = float(np.abs(made - outputs[ours]).max(initial=0))
        if not difference <= TOLERANCE:
            wrong[name] = f"outputs differ from those of {ours!r} by {difference:.2g}"
    return wrong


class Worker:
    """A contender's process, which answers what it is asked."""

    def __init__(self, name, threads):
        environment = os.environ | CONTENDERS[name][2] | {"DEFORMCONV_BENCH_THREADS": str(threads)}
        for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS"):
            environment[variable] = str(threads)
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deformconv.bench.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            text=True,
        )
        if hasattr(os, "sched_setaffinity"):  # for libraries that count processors and take them all
            cores = sorted(os.sched_getaffinity(0))[:threads]
            os.sched_setaffinity(self.process.pid, cores)

    def ask(self, **what):
        """Its answer; where it has died, `ready` is False and `why` its last words."""
        try:
            print(json.dumps(what), file=self.process.stdin, flush=True)
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.log.seek(0)
            return {"ready": False, "why": "it died: " + " ".join(self.log.read().split()[-40:])}
        time.sleep(0.3)  # OpenMP's threads spin for up to 0.2 s before they sleep, and would slow the next one down
        return answer

    def stop(self):
        """Ends it, if need be by force."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
