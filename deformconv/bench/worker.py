"""One contender in a process of its own: `python -m deformconv.bench.worker CONTENDER`, a JSON object a line.

It is told a case, answers when it is ready, then runs and times what it is asked for, and nothing in between.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


def main():
    name = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr: stdout is for answers alone

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    try:
        from deformconv.bench import cases, contenders

        asked = json.loads(sys.stdin.readline())
        case = cases.Case(**asked["case"])
        given = cases.tensors(case, asked["seed"])
        empty = peak_memory()
        forward, backward = contenders.CONTENDERS[name][0](case, given)
        given.clear()  # it has its own
        outputs = forward()
        if asked["outputs"]:
            np.save(asked["outputs"], outputs)
        del outputs
        after_forward = peak_memory()
        calls = {"forward": forward, "backward": backward if asked["backward"] else None}
        if calls["backward"]:
            calls["backward"]()
        peaks = {"forward": after_forward, "backward": peak_memory()}
        can = [direction for direction, call in calls.items() if call]
        answer(ready=True, can=can, peaks={direction: peaks[direction] for direction in can}, before=empty)
        for line in sys.stdin:
            asked = json.loads(line)
            call = calls[asked["direction"]]
            seconds = []
            for _ in range(asked["calls"]):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            answer(seconds=seconds)
    except Exception as error:  # told to the process that compares, which goes on without this contender
        answer(ready=False, why=f"{type(error).__name__}: {error}"[:500])


def peak_memory():
    """Megabytes, of this process so far, libraries and all."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage tells of the process that started this one too, if that was larger
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
