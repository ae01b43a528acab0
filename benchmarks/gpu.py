"""Deformable convolution on an NVIDIA GPU: the JAX and PyTorch engines beside cuDNN and torchvision.

    python benchmarks/gpu.py --wheels wheels     # everything, into benchmarks/results/gpu-<name of the GPU>.json
    python benchmarks/gpu.py --smoke             # tiny sizes on the CPU: does the benchmark itself work?

This file: the command, and the process that lets the contenders take turns. Each contender is a process of its own,
for Keras takes one engine a process: `gpu_worker.py`, with `gpu_torch.py` and `gpu_jax.py`. `gpu_report.py`: what is
measured, what is made of it.
"""

import argparse
import json
import os
import queue
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import gpu_report as report
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Corner rows of a case that all contenders may prepare side by side; beyond it they would fill the GPU's memory.
SIDE_BY_SIDE_BYTES = 4e9


class WorkerError(Exception):
    """A contender that cannot start, did not answer or answered with an error."""


class Worker:
    """A contender's process. Questions and answers are lines of JSON."""

    def __init__(self, name, options, folder):
        self.name, self.timeout, self.process = name, options.timeout, None
        self.folder = folder
        engine = report.CONTENDERS[name]["engine"]
        environment = {
            "KERAS_BACKEND": engine,
            "JAX_ENABLE_X64": "0",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else JAX takes most of the memory that all share
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if options.smoke:
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "KERAS_TORCH_DEVICE": "cpu"}
        paths = [str(ROOT), *map(str, options.unpacked), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.device = "cpu" if options.smoke else "gpu"

    def start(self):
        """Starts the process; its first answer, which tells of the machine, is fetched by `answer`."""
        self.log = self.folder / f"{self.name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--worker", self.name, "--device", self.device],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def _read(process, lines):
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def tell(self, **question):
        if self.process is None:  # it fell; perhaps this case suits it better
            self.start()
            self.answer()
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except OSError:
            self.stop()
            raise WorkerError(f"stopped: {self._last_words()}") from None

    def answer(self):
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            self.stop()
            raise WorkerError(f"no answer in {self.timeout:.0f} s; stopped") from None
        if line is None:
            self.stop()
            raise WorkerError(f"stopped: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **question):
        self.tell(**question)
        return self.answer()

    def _last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--worker"]:
        import gpu_worker

        return gpu_worker.main(arguments[1], arguments[3])
    options = _parser().parse_args(arguments)
    options.started = time.monotonic()
    command = shlex.join(["python", "benchmarks/gpu.py", *arguments])
    try:
        with tempfile.TemporaryDirectory() as folder:
            options.unpacked = _unpack(options.wheels, Path(folder) / "site")
            sys.path += map(str, options.unpacked)  # their versions go into the report
            return _benchmark(options, command, Path(folder))
    except (ValueError, OSError) as error:
        print(f"gpu.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngpu.py: interrupted; what was measured is written.", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="gpu.py",
        description="Measures deformable convolution on an NVIDIA GPU: this package on JAX and PyTorch beside cuDNN's "
        "convolution, torchvision's operator and a plain gather of the same rows. Results are checked against each "
        "other before they are timed. TensorFlow is neither needed nor imported.",
        epilog=f"contenders: {', '.join(report.CONTENDERS)}. precisions: {', '.join(report.PRECISIONS)}. "
        f"cases: {', '.join(report.CASES)}.",
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU, to try the benchmark itself")
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="wheels of what is not installed here (keras, namex, optree): unpacked for this run, nothing is installed",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: benchmarks/results; with --smoke nothing is written"
    )
    parser.add_argument("--contender", nargs="+", metavar="NAME", help="some contenders only")
    parser.add_argument("--precision", nargs="+", metavar="NAME", help="some precisions only")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="some cases only")
    parser.add_argument("--direction", nargs="+", metavar="NAME", help="forward, forward+backward; default: both")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="start no case that would end later; the weightiest come first"
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="turns of each contender (default 9)")
    parser.add_argument(
        "--round-seconds", type=float, default=0.03, metavar="S", help="length of a turn (default 0.03)"
    )
    parser.add_argument("--timeout", type=float, default=240, metavar="S", help="for one answer (default 240)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    return parser


def _unpack(wheels, site):
    """The wheels in a folder for Python to search: not as zip files, from which compiled modules cannot be loaded."""
    if wheels is None:
        return []
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise ValueError(f"--wheels must be a folder with .whl files; found none in {wheels}.")
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return [site]


def _chosen(option, names, known):
    for name in names or ():
        if name not in known:
            raise ValueError(f"{option} must be among {', '.join(known)}; received {name!r}.")
    return [name for name in known if names is None or name in names]


def _benchmark(options, command, folder):
    if options.rounds < 1 or options.round_seconds <= 0:
        raise ValueError("--rounds must be at least 1 and --round-seconds above 0.")
    cases = report.SMOKE_CASES if options.smoke else report.CASES
    cases = {name: cases[name] for name in _chosen("--case", options.case, cases)}
    precisions = _chosen("--precision", options.precision, report.PRECISIONS)
    directions = _chosen("--direction", options.direction, report.DIRECTIONS)
    names = _chosen("--contender", options.contender, report.CONTENDERS)
    hardware = report.hardware(options.smoke)  # says so where there is no GPU, before anything is started

    workers = {name: Worker(name, options, folder) for name in names}
    try:
        about = _start(workers)
        if not workers:
            raise ValueError("no contender could be started: " + "; ".join(f"{n}: {a}" for n, a in about.items()))
        out = options.out or (None if options.smoke else ROOT / "benchmarks" / "results")
        results = report.Results(out, hardware, about, command, options)
        plan = [(p, c, d) for p in precisions for c in cases for d in directions]
        longest = 0
        for precision, case, direction in plan:
            begun = time.monotonic()
            if options.seconds and begun - options.started + longest > options.seconds:
                print(f"--seconds {options.seconds:g} are used up: the rest, from {precision} {case}, is not measured.")
                break
            rows = _measure(workers, precision, {"name": case, **cases[case]}, direction, options, folder)
            results.add(rows)
            longest = max(longest, time.monotonic() - begun)
            print(report.line(precision, case, direction, rows), flush=True)
    finally:
        for worker in workers.values():
            worker.stop()
    print(f"\n{results.tables()}")
    if results.path:
        print(f"\nWritten: {results.path}")
    return 1 if any("error" in row for row in results.new) else 0


def _start(workers):
    """Starts them all. What each says of its machine; only torchvision may be missing."""
    about = {}
    for worker in workers.values():
        worker.start()
    for name, worker in list(workers.items()):
        try:
            about[name] = worker.answer()
        except WorkerError as error:
            if name != "torchvision":  # better no numbers than minutes of a GPU for half of them
                raise ValueError(f"{name}: {error}. --contender leaves it out.") from None
            print(f"{name}: left out: {error}", flush=True)
            about[name] = {"left_out": str(error)}
            worker.stop()
            del workers[name]
    return about


def _measure(workers, precision, case, direction, options, folder):
    """One case: check, then time. A row for each contender, with an `error` where it has no result."""
    task = {"case": case, "precision": precision, "direction": direction, "seed": options.seed}
    task["folder"] = str(folder)
    names = [name for name in workers if precision in report.CONTENDERS[name]["precisions"]]
    rows = {name: report.row(name, precision, case, direction) for name in names}
    references = {}
    for family in dict.fromkeys(report.CONTENDERS[name]["family"] for name in names):
        # The first that answers: torchvision, or else this package on PyTorch. Always in strict float32.
        for name in (n for n in workers if report.CONTENDERS[n]["family"] == family):
            try:
                references[family] = name, workers[name].ask(do="reference", **task)["file"]
                break
            except WorkerError:
                continue

    def each(question, sizes=None, parallel=False, of=names):
        """Asks those who have not failed, one after the other unless `parallel`; who fails is out of this case."""
        live = [name for name in of if "error" not in rows[name]]
        asked = [name for name in live if parallel and _tried(rows[name], lambda n=name: workers[n].tell(**question))]
        for name in live:
            if not parallel:
                extra = sizes(name) if sizes else {}
                answer = _tried(rows[name], lambda n=name, e=extra: workers[n].ask(**question, **e) or {})
            else:
                answer = name in asked and _tried(rows[name], lambda n=name: workers[n].answer())
            if answer:
                yield name, answer

    # Compilers may work side by side, but a convolution chooses its algorithm by timing it: alone on the device.
    alone = [name for name in names if report.CONTENDERS[name]["family"] == "convolution"]
    others = [name for name in names if name not in alone]
    side_by_side = report.corner_bytes(case) < SIDE_BY_SIDE_BYTES
    for group, parallel in ((alone, False), (others, side_by_side)):
        for name, answer in each({"do": "prepare", **task}, parallel=parallel, of=group):
            rows[name] |= {key: value for key, value in answer.items() if key != "file"}
            reference, file = references.get(report.CONTENDERS[name]["family"], (None, None))
            rows[name] |= _check(precision, answer["file"], reference, file)
    for name, answer in each({"do": "calibrate", "round_seconds": options.round_seconds}):
        rows[name] |= answer
    turns = {name: [] for name in names}
    for turn in range(options.rounds):
        names.sort(key=list(workers).index, reverse=turn % 2 == 1)  # no one always follows the same other
        for name, answer in each({"do": "round"}, lambda name: {"calls": rows[name]["calls"]}):
            turns[name].append(answer["seconds"])
    names.sort(key=list(workers).index)
    for name, row in rows.items():
        if "error" not in row:
            quartiles = [turns[name][0]] * 3 if options.rounds == 1 else statistics.quantiles(turns[name])
            quartiles[1] = statistics.median(turns[name])
            row |= dict(zip(("first_quartile", "median", "third_quartile"), quartiles, strict=True))
            row["rounds"] = options.rounds
    for worker in workers.values():
        if worker.process is not None:
            _tried({}, lambda w=worker: w.ask(do="drop") or True)
    return list(rows.values())


def _tried(row, function):
    """The function's result; or False, and its error in the row."""
    try:
        return function() or True
    except WorkerError as error:
        row["error"] = str(error)
        return False


def _check(precision, file, reference, reference_file):
    """How far the results are from the reference's, relative to it, the worst of outputs and gradients."""
    if reference is None:
        return {"error": "nothing to check it against: no contender of its kind gave a reference"}
    with np.load(file) as ours, np.load(reference_file) as theirs:
        errors = {}
        for name in ours.files:
            ours_, theirs_ = ours[name].astype("float64"), theirs[name].astype("float64")
            distance = np.linalg.norm(ours_ - theirs_) / (np.linalg.norm(theirs_) or 1)
            errors[name] = float(distance) if np.isfinite(distance) else float("inf")
    worst = max(errors, key=errors.get)
    row = {"reference": reference, "relative_error": errors[worst] if np.isfinite(errors[worst]) else None}
    if errors[worst] > report.TOLERANCES[precision]:
        row["error"] = (
            f"{worst} differ from {reference}'s by {errors[worst]:.1e} of their norm; "
            f"{report.TOLERANCES[precision]:.0e} are allowed in {precision}"
        )
    return row


if __name__ == "__main__":
    sys.exit(main())
