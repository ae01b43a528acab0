"""`deformconv reproduce`: the study."""

from pathlib import Path

from deformconv.cli.shared import PRECISIONS, add_devices, check_choice, say, spread

MEASURES = ("regular", "scaled")


def add(commands):
    """Adds the command to the parser."""
    reproduce = commands.add_parser(
        "reproduce",
        help="train, fine-tune and test the variants of the study",
        description="Trains the digit classifier, fine-tunes its variants on scaled digits with everything frozen that "
        "should be, and writes results.json, a figure of accuracy against zoom, and an animation of the learned "
        "sampling points. Finished runs are kept: interrupt it at any time, the same command goes on; with other "
        "data, options or versions it refuses, and leaves what is there.",
    )
    reproduce.add_argument(
        "--budget",
        default="standard",
        help="quick: 3 minutes on two cores, enough to see the effect; standard (default): under 30 minutes for one "
        "seed; full: twice the images for each fine-tune, in steps of 32; 2017: as long as the published experiment, "
        "and on its data (--unscaled 0 --interpolation nearest)",
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
        metavar="SHARE",
        help="of each fine-tuning batch (default 0.15)",
    )
    reproduce.add_argument(
        "--interpolation",
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
    add_devices(reproduce)
    reproduce.set_defaults(run=run)


def run(options):
    from deformconv.study import landing, results
    from deformconv.study.digits import datasets, experiment
    from deformconv.study.digits.variants import VARIANTS

    check_choice("--budget", options.budget, experiment.BUDGETS)
    changes = {"precision": options.precision}
    if options.interpolation is not None:
        check_choice("--interpolation", options.interpolation, ("bilinear", "nearest"))
        changes["interpolation"] = options.interpolation
    if options.unscaled is not None:
        if not 0 <= options.unscaled <= 1:
            raise ValueError(f"--unscaled must be a share between 0 and 1; received {options.unscaled}.")
        changes["unscaled_share"] = options.unscaled
    check_choice("--precision", options.precision, PRECISIONS)
    for variant in options.variant or ():
        check_choice("--variant", variant, VARIANTS)
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; received {options.seeds}.")
    check_choice("--dataset", options.dataset, datasets.NAMES)

    data = datasets.load(options.dataset)
    settings = experiment.Settings.of(data.name, options.budget, **changes)
    if options.compare and not options.compare.is_file():
        raise ValueError(f"--compare must be a results file; {options.compare} is not there.")
    stated = results.read(options.compare) if options.compare else []
    difference = results.other_settings(stated, settings) or results.other_data(stated, data.digest)
    if difference:
        raise ValueError(f"--compare: {options.compare} holds runs with {difference}.")
    folder = options.out or Path("results") / f"{data.name}-{options.budget}"
    variants = options.variant or list(VARIANTS)
    runs = []
    with spread(options):
        study = experiment.Study(data, settings, folder, options.command_line)
        before = {(run["variant"], run["seed"]) for run in study.results.runs}
        say(f"{data.name}, budget {options.budget}, {options.seeds} seed(s), into {folder}")
        for made in study.run_all(variants, range(options.seeds)):
            runs.append(made)
            kept = ", kept from before" if (made["variant"], made["seed"]) in before else ""
            say(
                f"{made['variant']}, seed {made['seed']}: regular {made['regular']:.2%}, scaled {made['scaled']:.2%}, "
                f"trained {made['trained_parameters']:,} weights in {made['seconds']:.0f} s{kept}"
            )
    if options.process[0] > 0:
        return 0
    draw(study, folder)
    print(f"\nTest accuracy on {data.name}, mean ± standard deviation over seeds:\n")
    print(results.table(study.results.runs, MEASURES))
    print(f"\nWritten to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    landings = landing.landings(runs, stated, MEASURES)
    if options.compare:
        print(f"\nBeside {options.compare}, at {landing.CONFIDENCE:.0%} confidence:\n")
        print("\n".join(map(str, landings)) or "it has no two runs of any of these variants.")
    return 0 if all(found.inside for found in landings) else 1


def draw(study, folder):
    import matplotlib

    matplotlib.use("Agg")
    from deformconv import training
    from deformconv.course import figures
    from deformconv.study.digits import models

    figures.accuracy_against_zoom(study.results.runs).savefig(folder / "accuracy_against_zoom.png", dpi=200)
    if study.results.find("deformable", 0):
        learned = study.model("deformable", 0)
        rigid = training.transplant(study.model("regular", 0), models.digit_classifier(models.deformable))
        figures.save_animation(folder / "sampling_points.gif", rigid, learned, study.data.x_test[0])
