"""`deformconv mnist-scale`: a public protocol."""

from pathlib import Path

from deformconv.cli.shared import check_choice


def add(commands):
    """Adds the command to the parser."""
    scale = commands.add_parser(
        "mnist-scale",
        help="train plain and deformable networks on the public MNIST-scale protocol",
        description="Trains the plain, the deformable and the modulated classifier from scratch on 10,000 digits of "
        "many sizes, in up to six realisations, and writes their test errors to results.json. Finished runs are kept: "
        "interrupt it at any time, the same command goes on; with other data, options or versions it refuses, and "
        "leaves what is there.",
    )
    scale.add_argument("--variant", nargs="+", metavar="V", help="regular, deformable, modulated (default: all)")
    scale.add_argument("--realisations", type=int, default=6, metavar="N", help="1 to 6 (default 6)")
    scale.add_argument("--steps", type=int, default=1500, metavar="N", help="of each training (default 1500)")
    scale.add_argument(
        "--offset-lr-multiplier",
        type=float,
        default=0.1,
        metavar="M",
        help="how fast offsets learn beside the rest (default 0.1)",
    )
    scale.add_argument(
        "--out", type=Path, default=Path("results/mnist-scale"), metavar="DIR", help="default: %(default)s"
    )
    scale.set_defaults(run=run)


def run(options):
    from deformconv.study import results
    from deformconv.study.digits import datasets
    from deformconv.study.mnist_scale import experiment, protocol

    for variant in options.variant or ():
        check_choice("--variant", variant, experiment.MnistScale.descriptions)
    if not 1 <= options.realisations <= protocol.REALISATIONS:
        raise ValueError(f"--realisations must be between 1 and 6; received {options.realisations}.")
    if options.steps < 1:
        raise ValueError(f"--steps must be at least 1; received {options.steps}.")
    if not options.offset_lr_multiplier > 0:
        raise ValueError(f"--offset-lr-multiplier must be positive; received {options.offset_lr_multiplier}.")
    settings = experiment.Settings(steps=options.steps, offset_lr_multiplier=options.offset_lr_multiplier)
    queue = experiment.MnistScale(datasets.load("mnist"), settings, options.out, options.command_line)
    before = {(run["variant"], run["seed"]) for run in queue.results.runs}
    for made in queue.run_all(options.variant or queue.descriptions, range(options.realisations)):
        kept = ", kept from before" if (made["variant"], made["seed"]) in before else ""
        print(f"{made['variant']}, realisation {made['seed']}: test error {made['error']:.2%}{kept}", flush=True)
    print("\nTest error on MNIST-scale, mean ± standard deviation over realisations:\n")
    print(results.table(queue.results.runs, ("error",)))
    return 0
