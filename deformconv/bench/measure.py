"""A whole measurement: processes, a plan of cases and precisions, the file."""

import itertools
import re
import time
from pathlib import Path

from deformconv.bench import check, machine, race, report
from deformconv.bench.cases import SMOKE
from deformconv.bench.devices import DIRECTIONS
from deformconv.bench.files import Results
from deformconv.bench.process import Process
from deformconv.study import provenance

DISPENSABLE = "torchvision"  # few machines with a GPU have it


def run(
    cases,
    names,
    device,
    *,
    precisions,
    directions=DIRECTIONS,
    threads=1,
    rounds=9,
    turn_seconds=None,
    seconds=None,
    seed=0,
    out=None,
    command="",
    progress=None,
) -> Results:
    """Measures contenders at cases, one case and precision after the other, and writes the results after each.

    Args:
        cases: a list of `cases.Case`. With those of `cases.SMOKE` alone, a GPU's way is tried on the CPU if need be.
        names: of contenders.
        device: a `devices.Device`.
        precisions, directions, threads, rounds, turn_seconds, seed, progress: as `race.run` has them.
        seconds: nothing is started that would end later, if it took as long as the longest before; None for no end.
        out: the results file; None for one that is named after the device.
        command: what is measured, for the record.

    Returns:
        The results file; `new` are the rows of this run.

    Raises:
        ValueError: if there is no GPU, or a contender does not find it.
    """
    started, longest, say = time.monotonic(), 0, progress or (lambda text: None)
    about = {"command": command, "device": device.name, "hardware": provenance.processor()}
    place, smoke = device.name, set(cases) <= set(SMOKE)
    if device.name == "gpu":
        try:
            about["gpu"] = machine.gpu()
        except ValueError:
            if not smoke:
                raise
            place = "cpu"
    else:
        about["threads"] = threads
    workers = {name: Process(name, device, place=place, threads=threads) for name in names}
    try:
        if device.one_process:
            about |= _connect(workers)
        about |= {"seed": seed, "rounds": rounds, "turn_seconds": turn_seconds or device.turn_seconds}
        about |= {"tolerances": check.TOLERANCES, "source": machine.source()}
        about["versions"] = machine.versions(names, device.name) | about.get("versions", {})
        results = Results(out or _path(about, smoke), about)
        for precision, case in itertools.product(precisions, cases):
            begun = time.monotonic()
            if seconds and begun - started + longest > seconds:
                print(f"--seconds {seconds:g} are used up: the rest, from {case.name} in {precision}, is not measured.")
                break
            rows = race.run(
                case,
                workers,
                device=device,
                precision=precision,
                directions=directions,
                rounds=rounds,
                turn_seconds=turn_seconds,
                seed=seed,
                progress=say,
            )
            for worker in workers.values():
                worker.leave_case()
            if rows:  # else no contender computes in this precision
                results.add(rows)
                say("")
                print(report.line(rows), flush=True)
            longest = max(longest, time.monotonic() - begun)
    finally:
        for worker in workers.values():
            worker.stop()
    return results


def _connect(workers):
    """Starts them side by side, and tells of their devices; leaves out what can be done without."""
    about = {"devices": {}, "left_out": {}, "versions": {}}
    for worker in workers.values():
        worker.tell("connect")
    for name, worker in list(workers.items()):
        told = worker.answer()
        if "failed" not in told:
            about["devices"][name] = told["device"]
            about["versions"] |= told["versions"]
        elif name == DISPENSABLE and len(workers) > 1:
            print(f"{name}: left out: {told['failed']}", flush=True)
            about["left_out"][name] = told["failed"]
            workers.pop(name).stop()
        else:  # better no numbers than minutes of a GPU for half of them
            raise ValueError(f"{name}: {told['failed']}. --contenders leaves it out.")
    return about


def _path(about, smoke):
    """Where the results go unless told otherwise: those of a GPU among the committed ones, by its name."""
    if "gpu" not in about or smoke:
        return Path("results") / "bench.json"
    name = re.sub(r"[^a-z0-9]+", "-", about["gpu"]["name"].lower()).strip("-")
    return Path("benchmarks") / "results" / f"gpu-{name}.json"
