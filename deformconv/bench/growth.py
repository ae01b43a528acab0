"""Time for an image as a convolution grows, one measure after another, up to where memory or patience ends."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deformconv.bench import cases
from deformconv.bench.devices import DEVICES
from deformconv.bench.process import Process

# What grows, from which value on, and by how much the work grows as it doubles.
GROWS = {"batch": (1, 2), "size": (7, 4), "channels": (8, 4)}
STARTING = 180  # seconds for libraries and numbers
FIRST_CALLS = 10  # so often a call may take its seconds until it is timed
MEGABYTE = 1e6
SECONDS = 20.0  # that a call may take


def run(names, *, threads, memory, seconds=SECONDS, base=cases.REFERENCE, first=None, progress=None) -> list[dict]:
    """Doubles batch, size and channels of a layer, each from small on, and times outputs and gradients together.

    Args:
        names: of contenders, measured in turn.
        threads: of each.
        memory: megabytes that a process may take before it is ended.
        seconds: that a call may take; nothing is tried that would take longer.
        base: the layer; what does not grow is as there.
        first: the value that each measure starts from, by name; None for `GROWS`.
        progress: called with a text now and then, or None.

    Returns:
        A list of results, one a contender and size: `grows` and `value`, `contender`, `median`, `low` and `high` (the
        quartiles) of a call and `per_image`, in milliseconds, `calls`, the process's `peak` of memory in megabytes. The
        last of each contender has `ended` in their place: "memory", "time", or what it said.
    """
    say, results = progress or (lambda text: None), []
    for grows, (smallest, factor) in GROWS.items():
        value, racing, took = (first or {}).get(grows, smallest), list(names), {}
        while racing:
            case = _case(base, grows, value)
            for name in list(racing):
                say(f"{case.name}: {name}")
                told = {"ended": "time"}
                if factor * took.get(name, 0) < seconds:
                    told = measure(name, case, threads=threads, memory=memory, seconds=seconds)
                results.append({"grows": grows, "value": value, "contender": name, **told})
                if "ended" in told:
                    racing.remove(name)
                else:
                    took[name] = told["median"] / 1e3
            value *= 2
    return results


def _case(base, grows, value):
    sizes = {"batch": ("batch",), "size": ("height", "width"), "channels": ("channels", "filters")}[grows]
    return replace(base, name=f"{grows} {value}", **dict.fromkeys(sizes, value))


def measure(name, case, *, threads, memory, seconds) -> dict:
    """One contender at one size, in a process of its own."""
    worker = Process(name, DEVICES["cpu"], threads=threads)
    worker.start()
    with _watched(worker.process, memory, STARTING + FIRST_CALLS * seconds) as watch:
        asked = {"case": case.as_dict(), "seed": 0, "precision": "float32", "directions": ["forward", "backward"]}
        told = worker.ask("prepare", **asked)
        told = told.get("backward", {"failed": "it has no gradients", **told})
        timed = {} if "failed" in told else worker.ask("turn", direction="backward", calls=1)
        if "seconds" in timed:
            calls = max(3, min(30, round(1 / timed["seconds"][0])))
            timed = worker.ask("turn", direction="backward", calls=calls)
    worker.stop()
    if "seconds" in timed:
        low, median, high = (round(1e3 * float(q), 3) for q in np.quantile(timed["seconds"], [0.25, 0.5, 0.75]))
        return {
            "median": median,
            "low": low,
            "high": high,
            "per_image": round(median / case.batch, 4),
            "calls": len(timed["seconds"]),
            "peak": told["peak"],
        }
    why = {**timed, **told}["failed"]
    # What engines say as they run out of a device's memory, or of the system's.
    short = any(word in why for word in ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory", "MemoryError", "OOM"))
    return {"ended": watch.why or ("memory" if short else why)}


class _watched:
    """Inside, a process is killed as soon as it has taken too much memory or time; `why` says which."""

    def __init__(self, process, megabytes, seconds):
        self.process, self.megabytes, self.end = process, megabytes, time.monotonic() + seconds
        self.why, self.over = None, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _watch(self):
        while not self.over.wait(0.05):
            self.why = "memory" if resident(self.process.pid) > self.megabytes else None
            self.why = "time" if time.monotonic() > self.end else self.why
            if self.why:
                self.process.kill()
                return


def resident(pid) -> float:
    """Megabytes that a process holds; 0 where the system does not tell by a file."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
    return int(line.split()[1]) * 1024 / MEGABYTE


def available() -> float:
    """Megabytes that may be taken here without others losing theirs."""
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024 / MEGABYTE


def table(results) -> str:
    """Milliseconds an image against each measure, as Markdown."""
    parts = []
    for grows in GROWS:
        own = [one for one in results if one["grows"] == grows]
        names = list(dict.fromkeys(one["contender"] for one in own))
        lines = [f"| {grows} | {' | '.join(f'{name}, ms an image | MB' for name in names)} |"]
        lines.append("|---:|" + "---:|---:|" * len(names))
        for value in sorted({one["value"] for one in own}):
            found = {one["contender"]: one for one in own if one["value"] == value}
            lines.append(f"| {value} | {' | '.join(_cells(found.get(name)) for name in names)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cells(one):
    if one is None:
        return " | "
    return f"{one['ended']} | " if "ended" in one else f"{one['per_image']:.3g} | {one['peak']:,}"
