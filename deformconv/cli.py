"""The command line: `deformconv reproduce | mnist-scale | bench | data | info`."""

import argparse
import logging
import os
import shlex
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

DESCRIPTION = "Deformable convolution for Keras 3: the study behind the book, its data, this machine."


def main(arguments=None) -> int:
    """Runs one command; errors that a user can act on are one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    # TensorFlow greets at import; who wants to read that sets the variable to 0.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *_, **__: print(f"deformconv: warning: {message}", file=sys.stderr)
    options.command_line = shlex.join(["deformconv", *arguments])
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"deformconv: error: {error}", file=sys.stderr)
        return 2
    except SystemExit as ended:
        if hasattr(ended, "message"):  # SIGTERM, in a training that keeps its state
            print(f"\ndeformconv: terminated; {ended.message}; the same command goes on from there.", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("\ndeformconv: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="deformconv", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="command")

    reproduce = commands.add_parser(
        "reproduce",
        help="train, fine-tune and test the variants of the study",
        description="Trains the digit classifier, fine-tunes its variants on scaled digits with everything frozen that "
        "should be, and writes results.json, a figure of accuracy against zoom, and an animation of the learned "
        "sampling points. Finished runs are kept: interrupt it at any time, the same command goes on.",
    )
    reproduce.add_argument(
        "--budget",
        default="standard",
        help="quick: 3 minutes on two cores, enough to see the effect; standard (default): under 30 minutes for one "
        "seed; full: four times standard's steps",
    )
    reproduce.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 (default 1)")
    reproduce.add_argument(
        "--variant", nargs="+", metavar="V", help="some variants only (default: all); unknown names list them"
    )
    reproduce.add_argument("--dataset", default="auto", help="auto (default), mnist or digits")
    reproduce.add_argument("--out", type=Path, metavar="DIR", help="default: results/DATASET-BUDGET")
    reproduce.add_argument(
        "--unscaled",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="of each fine-tuning batch (default 0.15)",
    )
    reproduce.add_argument(
        "--interpolation",
        default="bilinear",
        help="of the scaling: bilinear (default), or nearest as in 2017",
    )
    reproduce.add_argument(
        "--precision",
        default="float32",
        help="float32 (default), mixed_bfloat16 or mixed_float16: half precision, for GPUs that are faster in it",
    )
    reproduce.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="a results.json of the same settings, such as the book's: say whether each run lands where the stated "
        "runs put it; exit status 1 if one does not",
    )
    _add_devices(reproduce)
    reproduce.set_defaults(run=_reproduce)

    scale = commands.add_parser(
        "mnist-scale",
        help="train plain and deformable networks on the public MNIST-scale protocol",
        description="Trains the plain, the deformable and the modulated classifier from scratch on 10,000 digits of "
        "many sizes, in up to six realisations, and writes their test errors to results.json. Finished runs are kept: "
        "interrupt it at any time, the same command goes on.",
    )
    scale.add_argument("--variant", nargs="+", metavar="V", help="regular, deformable, modulated (default: all)")
    scale.add_argument("--realisations", type=int, default=6, metavar="N", help="1 to 6 (default 6)")
    scale.add_argument("--steps", type=int, default=4000, metavar="N", help="of each training (default 4000)")
    scale.add_argument(
        "--out", type=Path, default=Path("results/mnist-scale"), metavar="DIR", help="default: %(default)s"
    )
    scale.set_defaults(run=_mnist_scale)

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
        "--out", type=Path, metavar="FILE", help="default: results/bench.json, or bench-training.json, ..."
    )
    bench.set_defaults(run=_bench)

    data = commands.add_parser("data", help="find, fetch and check the data")
    data.add_argument("--dataset", default="auto", help="auto (default), mnist or digits")
    data.add_argument(
        "--weights-2017",
        action="store_true",
        help="fetch the weight files that the 2017 repository published, too",
    )
    data.set_defaults(run=_data)

    info = commands.add_parser("info", help="versions, engine, hardware: what to put in a report")
    info.set_defaults(run=_info)
    return parser


def _add_devices(command):
    command.add_argument(
        "--devices",
        default="1",
        metavar="N",
        help="share each batch among so many devices of this machine, or `all` of them (default 1); not with PyTorch",
    )
    command.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where the first of several processes listens, on as many machines; KERAS_BACKEND=jax only. Each "
        "is started by the same command with its own --process, all with one shared --out folder",
    )
    command.add_argument(
        "--process", type=_process, default=(0, 1), metavar="I/N", help="which of how many processes this is, from 0/N"
    )


def _process(text):
    number, count = map(int, text.split("/"))
    return number, count


@contextmanager
def _spread(options):
    """The devices that the options ask for. With several processes, an error ends this one without a farewell."""
    from deformconv.study import devices

    several = options.process[1] > 1
    if options.devices != "all" and not options.devices.isdigit():
        raise ValueError(f"--devices must be a number or `all`; received {options.devices!r}.")
    wanted = "all" if options.devices == "all" or several else int(options.devices)
    try:
        with devices.spread(wanted, options.coordinator, options.process):
            yield
    except Exception as error:
        if not several:
            raise
        print(f"deformconv: error: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def _say(line):
    """Of several processes, one tells."""
    from deformconv.study import devices

    if devices.is_first():
        print(line, flush=True)


def _reproduce(options):
    from deformconv.study import datasets, experiment, landing, results
    from deformconv.study.variants import VARIANTS

    check_choice("--budget", options.budget, experiment.BUDGETS)
    check_choice("--interpolation", options.interpolation, ("bilinear", "nearest"))
    check_choice("--precision", options.precision, experiment.PRECISIONS)
    for variant in options.variant or ():
        check_choice("--variant", variant, VARIANTS)
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; received {options.seeds}.")
    if not 0 <= options.unscaled <= 1:
        raise ValueError(f"--unscaled must be a share between 0 and 1; received {options.unscaled}.")
    check_choice("--dataset", options.dataset, datasets.NAMES)

    data = datasets.load(options.dataset)
    settings = experiment.Settings.of(
        data.name,
        options.budget,
        unscaled_share=options.unscaled,
        interpolation=options.interpolation,
        precision=options.precision,
    )
    stated = results.read(options.compare) if options.compare else []
    difference = results.other_settings(stated, settings)
    if difference:
        raise ValueError(f"--compare: {options.compare} holds runs with {difference}.")
    folder = options.out or Path("results") / f"{data.name}-{options.budget}"
    variants = options.variant or list(VARIANTS)
    runs = []
    with _spread(options):
        study = experiment.Study(data, settings, folder, options.command_line)
        _say(f"{data.name}, budget {options.budget}, {options.seeds} seed(s), into {folder}")
        for run in study.run_all(variants, range(options.seeds)):
            runs.append(run)
            _say(
                f"{run['variant']}, seed {run['seed']}: regular {run['regular']:.2%}, scaled {run['scaled']:.2%}, "
                f"trained {run['trained_parameters']:,} weights in {run['seconds']:.0f} s"
            )
    if options.process[0] > 0:
        return 0
    _draw(study, folder)
    print(f"\nTest accuracy on {data.name}, mean ± standard deviation over seeds:\n")
    print(results.table(study.results.runs))
    print(f"\nWritten to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    landings = landing.landings(runs, stated)
    if options.compare:
        print(f"\nBeside {options.compare}, at {landing.CONFIDENCE:.0%} confidence:\n")
        print("\n".join(map(str, landings)) or "it has no two runs of any of these variants.")
    return 0 if all(found.inside for found in landings) else 1


def _mnist_scale(options):
    from deformconv.study import datasets, mnist_scale, results

    for variant in options.variant or ():
        check_choice("--variant", variant, mnist_scale.MnistScale.names)
    if not 1 <= options.realisations <= mnist_scale.REALISATIONS:
        raise ValueError(f"--realisations must be between 1 and 6; received {options.realisations}.")
    if options.steps < 1:
        raise ValueError(f"--steps must be at least 1; received {options.steps}.")
    settings = mnist_scale.Settings(steps=options.steps)
    queue = mnist_scale.MnistScale(datasets.load("mnist"), settings, options.out, options.command_line)
    for run in queue.run_all(options.variant or queue.names, range(options.realisations)):
        print(f"{run['variant']}, realisation {run['seed']}: test error {run['error']:.2%}", flush=True)
    print("\nTest error on MNIST-scale, mean ± standard deviation over realisations:\n")
    print(results.table(queue.results.runs, ("error",)))
    return 0


def _draw(study, folder):
    import matplotlib

    matplotlib.use("Agg")
    from deformconv.course import figures
    from deformconv.study import models

    figures.accuracy_against_zoom(study.results.runs).savefig(folder / "accuracy_against_zoom.png", dpi=150)
    if study.results.find("deformable", 0):
        learned = study.model("deformable", 0)
        rigid = models.transplant(study.model("regular", 0), models.digit_classifier(models.deformable))
        figures.save_animation(folder / "sampling_points.gif", rigid, learned, study.data.x_test[0])


def _bench(options):
    from tqdm.auto import tqdm

    from deformconv.bench import costs, report

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = cores if options.threads is None else options.threads
    if not 1 <= threads <= cores:
        raise ValueError(f"--threads must be between 1 and {cores}, the cores of this machine; received {threads}.")
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1; received {options.rounds}.")
    kind = "-training" if options.training else "-variants" if options.variants else ""
    measure, table = {
        "": (_bench_cases, report.table),
        "-training": (_bench_training, report.training_table),
        "-variants": (_bench_variants, costs.table),
    }[kind]
    path = options.out or Path("results") / f"bench{kind}.json"
    with tqdm(bar_format="{desc}  {elapsed}", leave=False) as bar:
        results = measure(options, threads, bar.set_description_str)
    print(table(results))

    # Only now: each contender chooses its own engine, in its own process.
    from deformconv.study import provenance

    about = {"command": options.command_line, "hardware": provenance.hardware(), "threads": threads, "seed": 0}
    about["versions"] = provenance.versions()
    if not kind:
        about["versions"] |= report.versions({result["contender"] for result in results})
    report.write(path, {**about, "results": results})
    written = [path]
    if not kind and not any(set_ == "smoke" for set_ in options.cases):
        import matplotlib

        matplotlib.use("Agg")
        written += report.draw(results, path)
    print(f"\nOn {about['hardware']}, {threads} threads. Written: {', '.join(map(str, written))}")
    return 0


def _bench_cases(options, threads, progress):
    from deformconv.bench import cases, race
    from deformconv.bench.contenders import CONTENDERS

    for name in options.cases:
        check_choice("--cases", name, (*cases.SETS, "all"))
    installed = race.installed()
    for name in options.contenders or ():
        check_choice("--contenders", name, CONTENDERS)
        if name not in installed:
            raise ValueError(
                f'--contenders: {name} is not installed; pip install "deformconv[bench]" brings the peers.'
            )
    sets = [name for name in cases.SETS if name != "smoke"] if "all" in options.cases else options.cases
    results = []
    for case in (case for name in sets for case in cases.SETS[name]):
        names = options.contenders or installed
        results += race.run(
            case,
            names,
            threads=threads,
            rounds=options.rounds,
            backward=not options.forward_only,
            progress=progress,
        )
    return results


def _bench_training(options, threads, progress):
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(threads)
    from deformconv.bench import training

    return training.run(rounds=options.rounds, progress=progress)


def _bench_variants(options, threads, progress):
    from deformconv.bench import costs
    from deformconv.study.variants import VARIANTS

    return costs.run(VARIANTS, threads, progress)


def _data(options):
    from deformconv.study import datasets, published

    check_choice("--dataset", options.dataset, datasets.NAMES)
    data = datasets.load(options.dataset)
    checked = ", digests checked" if data.name == "mnist" else ""
    print(f"{data.name}: {len(data.x_train):,} training and {len(data.x_test):,} test images{checked}.")
    if options.weights_2017:
        for path in published.weight_files(download=True).values():
            print(f"{path}: SHA-256 checked.")
    return 0


def _info(options):
    import keras

    from deformconv.engines import cpu
    from deformconv.study import provenance

    for name, version in provenance.versions().items():
        print(f"{name:12} {version}")
    print(f"{'hardware':12} {provenance.hardware()}")
    print(f"{'engine':12} {keras.backend.backend()}")
    if keras.backend.backend() == "tensorflow":
        print(f"{'CPU kernels':12} {cpu.status()}")
    return 0


def check_choice(name, value, choices):
    """Raises a ValueError that lists the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; received {value!r}.")


if __name__ == "__main__":
    sys.exit(main())
