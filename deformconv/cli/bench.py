"""`deformconv bench`: speed and memory."""

import os
import sys
import time
from pathlib import Path

from deformconv.cli import bench_kinds
from deformconv.cli.shared import check_choice


def add(commands):
    """Adds the command to the parser."""
    bench = commands.add_parser(
        "bench",
        help="speed and memory, side by side with Conv2D and every other implementation that is installed",
        description="Measures deformable convolution: ours on each engine, the engines' own convolutions, and every "
        "peer that is installed (the extra `bench` names them). Each runs in a process of its own, in turn; results "
        "are compared before they are timed. Prints tables of medians, writes them with the hardware to a JSON file, "
        "and draws those of the CPU. A second command adds its rows to the file if machine, versions, source, rounds "
        "and their length are the same; if not, the file is kept under another name, which is told.",
    )
    bench.add_argument("--device", default="cpu", metavar="D", help="cpu (default), or gpu: an NVIDIA GPU")
    bench.add_argument(
        "--cases",
        nargs="+",
        metavar="SET",
        help="main (default), digits, large, batches, growth, smoke (tiny; on a machine without a GPU it tries its "
        "way on the CPU); or all, which is all but smoke. The default on a GPU: main large batches",
    )
    bench.add_argument("--contenders", nargs="+", metavar="C", help="some only (default: all that are installed)")
    bench.add_argument("--precision", nargs="+", metavar="P", help="of a GPU: float32, bfloat16, tf32 (default: all)")
    bench.add_argument("--forward-only", action="store_true", help="no gradients")
    bench.add_argument("--threads", type=int, metavar="N", help="of each contender on the CPU (default: all cores)")
    bench.add_argument("--rounds", type=int, default=9, metavar="N", help="turns of each contender (default 9)")
    bench.add_argument("--round-seconds", type=float, metavar="S", help="length of a turn (default 0.4, on a GPU 0.03)")
    bench.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="start no case that would end later; with --growth, where a call takes so long (20)",
    )
    bench.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="wheels of what is not installed here: unpacked for this run, nothing is installed",
    )
    bench.add_argument("--training", action="store_true", help="the digit classifier's training steps instead")
    bench.add_argument("--variants", action="store_true", help="what each variant of the study costs instead")
    bench.add_argument("--forms", action="store_true", help="groups, depthwise, bfloat16, the later versions instead")
    bench.add_argument(
        "--growth",
        action="store_true",
        help="time for an image instead, as batch, size and channels double up to memory's end (half an hour)",
    )
    bench.add_argument("--memory", type=float, metavar="GB", help="where it ends (default: 0.8 of what is free)")
    bench.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: results/bench.json, or bench-training.json, ...; benchmarks/results/gpu-NAME.json of a GPU",
    )
    bench.set_defaults(run=run)


def run(options):
    from deformconv.bench import wheels
    from deformconv.bench.devices import DEVICES

    check_choice("--device", options.device, DEVICES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options.threads = cores if options.threads is None else options.threads
    if not 1 <= options.threads <= cores:
        raise ValueError(
            f"--threads must be between 1 and {cores}, the cores of this machine; received {options.threads}."
        )
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1; received {options.rounds}.")
    for name in ("seconds", "round_seconds", "memory"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be > 0; received {value}.")
    kinds = [kind for kind in bench_kinds.KINDS if getattr(options, kind)]
    if len(kinds) > 1:
        choices = ", ".join(f"--{kind}" for kind in bench_kinds.KINDS)
        raise ValueError(f"{choices} are one each; received {' and '.join(kinds)}.")
    if kinds and options.device != "cpu":
        raise ValueError(f"--{kinds[0]} is measured on the CPU alone; received --device {options.device}.")
    with wheels.unpacked(options.wheels):
        if kinds:
            return bench_kinds.run(options, kinds[0], _say())
        return _cases(options, DEVICES[options.device], _say())


def _say():
    """A function that tells on the terminal, in one line, what is going on, and for how long; "" clears the line."""
    started = time.monotonic()

    def say(text):
        if sys.stderr.isatty():
            text = text and f"{text}  {time.monotonic() - started:.0f} s"
            print(f"\r\x1b[K{text}", end="\r", file=sys.stderr, flush=True)

    return say


def _cases(options, device, say):
    from deformconv.bench import measure, report
    from deformconv.bench.cases import SETS
    from deformconv.bench.devices import DIRECTIONS

    sets = options.cases or device.cases
    for name in sets:
        check_choice("--cases", name, (*SETS, "all"))
    sets = [name for name in SETS if name != "smoke"] if "all" in sets else sets
    for name in options.precision or ():
        check_choice("--precision", name, device.precisions)
    try:
        results = measure.run(
            [case for name in sets for case in SETS[name]],
            bench_kinds.contenders(options, device.name),
            device,
            precisions=options.precision or device.precisions,
            directions=["forward"] if options.forward_only else DIRECTIONS,
            threads=options.threads,
            rounds=options.rounds,
            turn_seconds=options.round_seconds,
            seconds=options.seconds,
            out=options.out,
            command=options.command_line,
            progress=say,
        )
    except KeyboardInterrupt:
        print("\ndeformconv: interrupted; what was measured is written.", file=sys.stderr)
        return 130
    print(f"\n{report.tables(results.content)}")
    pictures = device.name == "cpu" and "smoke" not in sets
    bench_kinds.tell(results.path, results.content, pictures)
    return 1 if any("failed" in row for row in results.new) else 0
