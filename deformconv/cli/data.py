"""`deformconv data` and `deformconv info`: what there is on this machine."""

from deformconv.cli.shared import check_choice


def add(commands):
    """Adds the commands to the parser."""
    data = commands.add_parser("data", help="find, fetch and check the data")
    data.add_argument("--dataset", default="auto", help="auto (default), mnist or digits")
    data.add_argument(
        "--weights-2017",
        action="store_true",
        help="fetch the weight files that the 2017 repository published, too",
    )
    data.set_defaults(run=run_data)

    info = commands.add_parser("info", help="versions, engine, hardware: what to put in a report")
    info.set_defaults(run=run_info)


def run_data(options):
    from deformconv.study.digits import datasets, published

    check_choice("--dataset", options.dataset, datasets.NAMES)
    data = datasets.load(options.dataset)
    checked = ", digests checked" if data.name == "mnist" else ""
    print(f"{data.name}: {len(data.x_train):,} training and {len(data.x_test):,} test images{checked}.")
    if options.weights_2017:
        for path in published.weight_files(download=True).values():
            print(f"{path}: SHA-256 checked.")
    return 0


def run_info(options):
    import keras

    from deformconv.engines import native
    from deformconv.study import provenance

    for name, version in provenance.versions().items():
        print(f"{name:12} {version}")
    print(f"{'hardware':12} {provenance.hardware()}")
    print(f"{'engine':12} {keras.backend.backend()}")
    print(f"{'CPU kernels':12} {native.status()}")
    return 0
