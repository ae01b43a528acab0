"""`deformconv bench`: speed and memory."""

import os
from pathlib import Path

from deformconv.cli.shared import check_choice


def add(commands):
    """Adds the command to the parser."""
    bench = commands.add_parser(
        "bench",
        help="speed and memory, side by side with Conv2D and every other implementation that is installed",
        description="Measures deformable convolution: ours on each engine, Keras's Conv2D, and every peer that is "
        "installed (the extra `bench` names them). Each runs in a process of its own, with the same threads, in turn; "
        "results are compared before they are timed. Prints tables of medians, writes them with the hardware to a "
        "JSON file, and draws them.",
    )
    bench.add_argument(
        "--cases",
        nargs="+",
        default=["main"],
        metavar="SET",
        help="main (default), digits, large, growth, smoke; or all, which is all but smoke",
    )
    bench.add_argument("--contenders", nargs="+", metavar="C", help="some only (default: all that are installed)")
    bench.add_argument("--threads", type=int, metavar="N", help="of each contender (default: all cores)")
    bench.add_argument("--rounds", type=int, default=9, metavar="N", help="default 9")
    bench.add_argument("--forward-only", action="store_true", help="no gradients")
    bench.add_argument("--training", action="store_true", help="the digit classifier's training steps instead")
    bench.add_argument("--variants", action="store_true", help="what each variant of the study costs instead")
    bench.add_argument(
        "--growth",
        action="store_true",
        help="time for an image instead, as batch, size and channels double up to memory's end (half an hour)",
    )
    bench.add_argument("--memory", type=float, metavar="GB", help="where it ends (default: 0.8 of what is free)")
    bench.add_argument("--seconds", type=float, default=20, metavar="S", help="or where a call takes so long (20)")
    bench.add_argument(
        "--out", type=Path, metavar="FILE", help="default: results/bench.json, or bench-training.json, ..."
    )
    bench.set_defaults(run=run)


def run(options):
    from tqdm.auto import tqdm

    from deformconv.bench import costs, growth, report

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = cores if options.threads is None else options.threads
    if not 1 <= threads <= cores:
        raise ValueError(f"--threads must be between 1 and {cores}, the cores of this machine; received {threads}.")
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1; received {options.rounds}.")
    if not options.seconds > 0 or (options.memory is not None and not options.memory > 0):
        raise ValueError(f"--seconds and --memory must be > 0; received {options.seconds} and {options.memory}.")
    kinds = [kind for kind in ("training", "variants", "growth") if getattr(options, kind)]
    if len(kinds) > 1:
        raise ValueError(f"--training, --variants and --growth are one each; received {' and '.join(kinds)}.")
    kind = f"-{kinds[0]}" if kinds else ""
    measure, table = {
        "": (_cases, report.table),
        "-training": (_training, report.training_table),
        "-variants": (_variants, costs.table),
        "-growth": (_growth, growth.table),
    }[kind]
    path = options.out or Path("results") / f"bench{kind}.json"
    with tqdm(bar_format="{desc}  {elapsed}", leave=False) as bar:
        results = measure(options, threads, bar.set_description_str)
    print(table(results))

    # Only now: each contender chooses its own engine, in its own process.
    from deformconv.study import provenance

    about = {"command": options.command_line, "hardware": provenance.hardware(), "threads": threads, "seed": 0}
    about["versions"] = provenance.versions()
    if kind in ("", "-growth"):
        about["versions"] |= report.versions({result["contender"] for result in results})
    report.write(path, {**about, "results": results})
    written = [path]
    if kind == "-growth" or (not kind and "smoke" not in options.cases):
        import matplotlib

        matplotlib.use("Agg")
        written += report.draw(results, path)
    print(f"\nOn {about['hardware']}, {threads} threads. Written: {', '.join(map(str, written))}")
    return 0


def _cases(options, threads, progress):
    from deformconv.bench import cases, race

    for name in options.cases:
        check_choice("--cases", name, (*cases.SETS, "all"))
    names = _contenders(options, race.installed())
    sets = [name for name in cases.SETS if name != "smoke"] if "all" in options.cases else options.cases
    results = []
    for case in (case for name in sets for case in cases.SETS[name]):
        results += race.run(
            case,
            names,
            threads=threads,
            rounds=options.rounds,
            backward=not options.forward_only,
            progress=progress,
        )
    return results


def _contenders(options, otherwise):
    from deformconv.bench import race
    from deformconv.bench.contenders import CONTENDERS

    for name in options.contenders or ():
        check_choice("--contenders", name, CONTENDERS)
        if name not in race.installed():
            raise ValueError(
                f'--contenders: {name} is not installed; pip install "deformconv[bench]" brings the peers.'
            )
    return options.contenders or otherwise


def _growth(options, threads, progress):
    from deformconv.bench import growth

    memory = 0.8 * growth.available() if options.memory is None else 1e3 * options.memory
    names = _contenders(options, ["conv2d", "tensorflow"])
    return growth.run(names, threads=threads, memory=memory, seconds=options.seconds, progress=progress)


def _training(options, threads, progress):
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(threads)
    from deformconv.bench import training

    return training.run(rounds=options.rounds, progress=progress)


def _variants(options, threads, progress):
    from deformconv.bench import costs
    from deformconv.study.digits.variants import VARIANTS

    return costs.run(VARIANTS, threads, progress)
