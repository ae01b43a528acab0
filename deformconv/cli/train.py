"""`deformconv train`: images of one's own through the training loop of the study."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from deformconv.cli.shared import PRECISIONS, add_devices, check_choice, say, spread


def add(commands):
    """Adds the command to the parser."""
    train = commands.add_parser(
        "train",
        help="train a deformable classifier on images of your own: a folder, or an .npz file",
        description="Trains a classifier on your own images: a folder with a sub-folder of pictures for each class, or "
        "an .npz file with the arrays x, (n, height, width, channels) as bytes or floats in [0, 1], and y, labels from "
        "0. The network has four convolutions, of which the last three are deformable, for images of any size; or it "
        "is --model. Into --out go model.keras, log.jsonl with a line for each look at the training, the same for "
        "TensorBoard, and training.json with the names of the classes. Interrupt it at any time: the same command "
        "goes on; with other images, options or versions it refuses, and leaves what is there.",
        epilog="For instance: deformconv train flowers --size 64 64 --steps 2000 --patience 5. Pictures are taken as a "
        "viewer shows them: upright, transparent parts on a white ground, the first frame of what moves. Those of "
        "other sizes are made to fit, black around them. What is hidden, no picture by its name, or left behind by a "
        "system (__MACOSX, @eaDir) is left out and counted. Trained, the network is used by `import "
        'deformconv.layers, keras; model = keras.saving.load_model("results/train-flowers/model.keras")`; its inputs '
        "are in [0, 1].",
    )
    train.add_argument("data", type=Path, metavar="DATA", help="the folder or the .npz file")
    train.add_argument("--out", type=Path, metavar="DIR", help="default: results/train-NAME")

    images = train.add_argument_group("images")
    images.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of pictures in a folder, if they differ")
    images.add_argument("--grey", action="store_true", default=None, help="make pictures grey (default: as they are)")
    images.add_argument(
        "--validation",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the images to test on at each look; they are not trained on (default 0.1; 0: none)",
    )
    images.add_argument("--scale", action="store_true", help="scale and shift each image anew in each step")
    images.add_argument(
        "--stream", action="store_true", help="read each batch from the disk: what is larger than 2 GB is anyway"
    )

    network = train.add_argument_group("network")
    network.add_argument("--model", type=Path, metavar="FILE", help="your own, a .keras file that ends in a softmax")
    network.add_argument("--plain", action="store_true", help="no offsets: the same network with rigid convolutions")
    network.add_argument("--modulated", action="store_true", help="a learned weight for each tap as well")
    network.add_argument("--max-offset", type=float, metavar="PIXELS", help="a bound on the offsets (default: none)")
    network.add_argument(
        "--offset-rate", type=float, default=1.0, metavar="M", help="the offsets' learning rate in times (default 1)"
    )
    network.add_argument("--precision", default="float32", help="float32 (default), mixed_bfloat16 or mixed_float16")

    training = train.add_argument_group("training")
    training.add_argument("--steps", type=int, default=1000, metavar="N", help="optimizer steps (default 1000)")
    training.add_argument("--batch-size", type=int, default=128, metavar="N", help="images a step (default 128)")
    training.add_argument("--learning-rate", type=float, default=2e-3, metavar="R", help="the highest (default 0.002)")
    training.add_argument("--warmup", type=int, default=0, metavar="N", help="steps up to it (default 0)")
    training.add_argument("--clip-norm", type=float, metavar="L", help="the longest gradient (default: any)")
    training.add_argument("--accumulate", type=int, default=1, metavar="N", help="parts of a batch, to save memory")
    training.add_argument(
        "--patience", type=int, metavar="N", help="stop after N looks without a lower validation loss; keep the best"
    )
    training.add_argument(
        "--every",
        type=int,
        default=100,
        metavar="N",
        help="steps from look to look (default 100); a minute without one brings one, too, in a single process",
    )
    training.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    add_devices(train)
    train.set_defaults(run=run)


@dataclass(frozen=True)
class Settings:
    """All that decides the outcome of a training."""

    data: str
    size: tuple | None
    grey: bool | None
    validation: float
    scale: bool
    model: str | None
    plain: bool
    modulated: bool
    max_offset: float | None
    offset_rate: float
    precision: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    clip_norm: float | None
    accumulate: int
    patience: int | None
    every: int
    seed: int

    @classmethod
    def of(cls, options):
        given = {name: getattr(options, name) for name in cls.__dataclass_fields__}
        return cls(**given | {"data": str(options.data), "model": options.model and str(options.model)})


def run(options):
    """Trains, or goes on training, or says that it is done."""
    _check(options)
    settings = Settings.of(options)
    folder = options.out or Path("results") / f"train-{options.data.resolve().stem}"
    with spread(options):
        from deformconv.cli import earlier
        from deformconv.training import devices

        there = earlier.read(folder, settings)
        data = _data(options)
        seen = earlier.seen(options, data)
        told = earlier.told(folder, there, seen)
        if devices.first_says(told is not None):
            say(f"{folder}: finished before, with the same images, options and versions; nothing is trained.")
        else:
            told = _train(options, settings, folder, data, seen)
    if options.process[0] == 0:
        lines = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in told.items()]
        print(f"{', '.join(lines)}\nWritten to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _check(options):
    check_choice("--precision", options.precision, PRECISIONS)
    for name in ("steps", "batch_size", "every", "accumulate"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1; received {getattr(options, name)}.")
    if not 0 <= options.warmup < options.steps:
        raise ValueError(f"--warmup must be from 0 to below --steps, {options.steps}; received {options.warmup}.")
    for name in ("learning_rate", "clip_norm", "offset_rate", "max_offset"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name.replace('_', '-')} must be a number > 0; received {value}.")
    if not 0 <= options.validation < 1:
        raise ValueError(f"--validation must be a share from 0 to below 1; received {options.validation}.")
    if options.patience is not None and (options.patience < 1 or not options.validation):
        raise ValueError(f"--patience must be at least 1, and needs --validation; received {options.patience}.")
    if options.size and min(options.size) < 1:
        raise ValueError(f"--size must be at least 1 1; received {options.size[0]} {options.size[1]}.")
    own = options.plain or options.modulated or options.max_offset or options.precision != "float32"
    if options.model and (own or options.offset_rate != 1):
        raise ValueError(
            "--model brings its own layers: --plain, --modulated, --max-offset, --offset-rate and --precision are of "
            "the network that is made here."
        )
    if options.plain and (options.modulated or options.max_offset or options.offset_rate != 1):
        raise ValueError("--plain has no offsets: leave out --modulated, --max-offset and --offset-rate.")


def _data(options):
    """The images, in the size and colours of the model that is to take them."""
    from deformconv.cli import network
    from deformconv.training import devices, own_data

    size, grey, seen = options.size, options.grey, None
    if options.model:
        with devices.alone():  # to look at: what is trained is read later, onto all devices
            seen = network.load(options)
        if options.data.suffix != ".npz":
            _, height, width, channels = seen.input_shape
            size, grey = size or (height and width and (height, width)), channels == 1 if grey is None else grey
    data = own_data.load_images(options.data, size and tuple(size), grey, options.stream)
    if seen:
        with devices.alone():
            network.check(seen, data)
    return data


def _train(options, settings, folder, data, seen):
    from deformconv import training
    from deformconv.cli import network
    from deformconv.study.provenance import hardware, versions
    from deformconv.training import checkpoint, devices
    from deformconv.training.files import write_atomically
    from deformconv.training.scaling import Scaling

    (x, y), kept = data.split(options.validation)
    model = network.load(options) if options.model else network.make(options, data.images.shape[1:], len(data.classes))
    stream = options.stream or data.is_large
    say(
        f"{options.data}: {len(y):,} images to train on, {len(kept[1]):,} for validation, "
        f"{' x '.join(map(str, x.shape[1:]))}, {len(data.classes)} classes{', streamed' if stream else ''}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "settings": asdict(settings),
        "seen": seen,
        "classes": data.classes,
        "shape": list(x.shape[1:]),
        "command": options.command_line,
        "hardware": hardware(),
        "versions": versions(),
        "told": None,
    }

    def note():
        if devices.is_first():
            write_atomically(folder / "training.json", json.dumps(about, indent=1).encode() + b"\n")

    note()
    validation = (kept[0] if stream else kept[0][:], kept[1]) if len(kept[1]) else None
    about["told"] = training.fit(
        model,
        x if stream else x[:],
        y,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup=options.warmup,
        clip_norm=options.clip_norm,
        accumulate=options.accumulate,
        seed=options.seed,
        scaling=Scaling() if options.scale else None,
        resident=not stream,
        validation=validation,
        patience=options.patience,
        checkpoint=folder / "training.npz",
        logs=folder,
        every=options.every,
        description=options.data.stem,
    )
    if devices.is_first():
        part = folder / "part-model.keras"
        model.save(part)
        part.replace(folder / "model.keras")
    note()
    if devices.is_first():  # last: whoever dies before finds the training whole
        for path in checkpoint.all_of(folder / "training.npz"):
            path.unlink(missing_ok=True)
    return about["told"]
