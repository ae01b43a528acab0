"""The study: variants x seeds -> one results file, from which every table and figure is made.

Each seed trains its own regular classifier; every other variant starts from that classifier's weights and fine-tunes
on scaled digits, all on the same batches. Nothing is chosen by the test set: it is read once, at the end of a run.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

import deformconv
from deformconv.study import datasets, models, training
from deformconv.study.scaling import Scaling, scaled_copy, zoomed_copy

# The seeds of the fixed scaled sets; the seeds of the runs are 0, 1, 2, ...
TEST_SEED, VALIDATION_SEED = 2017, 2018
ZOOMS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
RESULTS_FORMAT = 1


@dataclass(frozen=True)
class Variant:
    """How a fine-tuned classifier is made: its convolutions, and what is left to train. `freeze` None: from scratch."""

    description: str
    convolution: Callable = models.rigid
    freeze: Callable | None = None


VARIANTS = {
    "regular": Variant("the plain classifier, trained on unscaled digits only"),
    "batchnorm-only": Variant(
        "control: no offsets at all; BatchNorm alone adapts to scaled digits",
        freeze=models.train_only_batchnorm,
    ),
    "conv-offset-2017": Variant(
        "2017 as shipped: offsets whose gradient is dead, BatchNorm trains",
        models.conv_offset_2017,
        models.freeze_as_in_2017,
    ),
    "deformable": Variant(
        "an offset for every tap; all else is frozen, BatchNorm's statistics too",
        models.deformable,
        models.train_only_offsets,
    ),
}


@dataclass(frozen=True)
class Settings:
    """All that decides the outcome of a run besides its variant and seed. One results file holds one of these.

    `test_images` and `zoom_images` are how many of the test images (at most) are looked at: for the two accuracies,
    and at each fixed zoom. `unscaled_share` is the share of each fine-tuning batch that is left at its size.
    """

    dataset: str
    budget: str
    regular_steps: int
    finetune_steps: int
    test_images: int
    zoom_images: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    batchnorm_momentum: float = 0.99
    unscaled_share: float = 0.15
    interpolation: str = "bilinear"

    @classmethod
    def of(cls, dataset, budget, **changes):
        """The settings of a named budget."""
        if budget not in BUDGETS:
            raise ValueError(f"`budget` must be one of {', '.join(BUDGETS)}; received {budget!r}.")
        return cls(dataset=dataset, budget=budget, **{**BUDGETS[budget], **changes})


BUDGETS = {
    # So few steps need statistics that follow faster than 2017's.
    "quick": {
        "regular_steps": 150,
        "finetune_steps": 60,
        "test_images": 2000,
        "zoom_images": 200,
        "batchnorm_momentum": 0.9,
    },
    "standard": {"regular_steps": 1000, "finetune_steps": 900, "test_images": 10000, "zoom_images": 2000},
    "full": {"regular_steps": 4000, "finetune_steps": 4000, "test_images": 10000, "zoom_images": 10000},
}


class Results:
    """The results file: finished runs, kept whole; a new run is added by writing the file anew beside it.

    Raises:
        ValueError: if the file there holds runs of other settings, or is not a results file.
    """

    def __init__(self, path, settings: Settings):
        self.path, self.settings, self.runs = Path(path), settings, []
        if self.path.exists():
            self.runs = read_results(self.path)
            for run in self.runs:
                differing = [key for key, value in asdict(settings).items() if run.get(key) != value]
                if differing:
                    key = differing[0]
                    raise ValueError(
                        f"{self.path} holds runs with {key}={run.get(key)!r}, and this one has "
                        f"{key}={getattr(settings, key)!r}: a table of both would mislead. Choose another --out."
                    )

    def find(self, variant, seed):
        """The finished run, or None."""
        return next((run for run in self.runs if (run["variant"], run["seed"]) == (variant, seed)), None)

    def add(self, run):
        """Keeps a run, replacing one of the same variant and seed. The file is whole at every moment."""
        kept = [old for old in self.runs if (old["variant"], old["seed"]) != (run["variant"], run["seed"])]
        order = {name: place for place, name in enumerate(VARIANTS)}
        self.runs = sorted([*kept, run], key=lambda run: (order[run["variant"]], run["seed"]))
        write_atomically(
            self.path, json.dumps({"format": RESULTS_FORMAT, "runs": self.runs}, indent=1).encode() + b"\n"
        )


def read_results(path) -> list[dict]:
    """The runs of a results file."""
    try:
        content = json.loads(Path(path).read_text())
        if content["format"] != RESULTS_FORMAT:
            raise ValueError(f"format {content['format']}")
        for run in content["runs"]:
            run["variant"], run["seed"]  # every run says which it is
        return content["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results file that this version reads ({error}).") from error


def write_atomically(path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Study:
    """Runs variants on one data set into one folder; finished runs are found there and not run again."""

    def __init__(self, data: datasets.Dataset, settings: Settings, folder, progress=True):
        self.data, self.settings, self.folder, self.progress = data, settings, Path(folder), progress
        (self.folder / "weights").mkdir(parents=True, exist_ok=True)
        self.results = Results(self.folder / "results.json", settings)

    def run(self, variant, seed, command="") -> dict:
        """Trains and tests one variant with one seed, or returns the finished run. `regular` comes first by itself."""
        if variant not in VARIANTS:
            raise ValueError(f"`variant` must be one of {', '.join(VARIANTS)}; received {variant!r}.")
        done = self.results.find(variant, seed)
        if done and self.weights_path(variant, seed).exists():
            return done
        if variant != "regular":
            self.run("regular", seed, command)
        started = time.perf_counter()
        model = self._train(variant, seed)
        trained_in = time.perf_counter() - started
        self._save_weights(model, variant, seed)
        run = {
            "variant": variant,
            "seed": seed,
            **self._test(model),
            "trained_parameters": models.count_trained(model),
            "steps": self._steps(variant),
            "seconds": round(trained_in, 1),
            "hardware": hardware(),
            "engine": keras.backend.backend(),
            "versions": versions(),
            **asdict(self.settings),
            "command": command,
        }
        self.results.add(run)
        return run

    def model(self, variant, seed):
        """The trained model of a finished run."""
        model = self._classifier(variant)
        model.load_weights(self.weights_path(variant, seed))
        return model

    def weights_path(self, variant, seed) -> Path:
        """Where the weights of a run lie."""
        return self.folder / "weights" / f"{variant}-{seed}.weights.h5"

    def _classifier(self, variant):
        return models.digit_classifier(VARIANTS[variant].convolution, self.settings.batchnorm_momentum)

    def _steps(self, variant):
        return self.settings.regular_steps if variant == "regular" else self.settings.finetune_steps

    def _train(self, variant, seed):
        settings, kind = self.settings, VARIANTS[variant]
        (x, y), _ = self.data.split()
        keras.utils.set_random_seed(seed)
        model = self._classifier(variant)
        scaling = None
        if kind.freeze is not None:
            models.transplant(self.model("regular", seed), model)
            kind.freeze(model)
            scaling = Scaling(unscaled=settings.unscaled_share)
        training.fit(
            model,
            x,
            y,
            steps=self._steps(variant),
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            # The regular classifier and its fine-tunes see the images in different orders; all fine-tunes in one.
            seed=[seed, int(kind.freeze is not None)],
            scaling=scaling,
            interpolation=settings.interpolation,
            description=f"{variant}, seed {seed}" if self.progress else None,
        )
        return model

    def _save_weights(self, model, variant, seed):
        path = self.weights_path(variant, seed)
        part = path.with_name(f"part-{path.name}")  # Keras insists on the ending .weights.h5
        model.save_weights(part)
        part.replace(path)

    def _test(self, model):
        """Accuracies on the test set and, for whoever chooses something, on the validation set."""
        most = self.settings.test_images
        images, labels = self.data.x_test[:most], self.data.y_test[:most]
        _, (validation_images, validation_labels) = self.data.split()
        validation_images, validation_labels = validation_images[:most], validation_labels[:most]
        few = self.settings.zoom_images
        return {
            "regular": training.accuracy(model, images, labels),
            "scaled": training.accuracy(model, self._scaled(images, TEST_SEED), labels),
            "validation_regular": training.accuracy(model, validation_images, validation_labels),
            "validation_scaled": training.accuracy(
                model, self._scaled(validation_images, VALIDATION_SEED), validation_labels
            ),
            "zoom": {
                str(zoom): training.accuracy(model, zoomed_copy(images[:few], zoom), labels[:few]) for zoom in ZOOMS
            },
        }

    def _scaled(self, images, seed):
        return scaled_copy(images, seed, interpolation=self.settings.interpolation)


def hardware() -> str:
    """The machine in words: processor, cores it may use, and what Keras's engine computes on."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    accelerators = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    return f"{name}, {cores} cores" + (f", {', '.join(accelerators)}" if accelerators else "")


def versions() -> dict[str, str]:
    """Versions of what computes."""
    from importlib.metadata import version

    engine = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[keras.backend.backend()]
    return {
        "python": platform.python_version(),
        "deformconv": deformconv.__version__,
        "keras": keras.__version__,
        engine: version(engine),
        "numpy": np.__version__,
    }


def summarise(runs) -> dict[str, dict]:
    """Per variant: number of seeds, and mean and sample standard deviation of each accuracy, in per cent."""
    summary = {}
    for variant in VARIANTS:
        own = [run for run in runs if run["variant"] == variant]
        if own:
            summary[variant] = {"seeds": len(own), "trained_parameters": own[0]["trained_parameters"]}
            for key in ("regular", "scaled"):
                values = 100 * np.array([run[key] for run in own])
                spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
                summary[variant][key] = (float(values.mean()), spread)
    return summary


def table(runs) -> str:
    """The results as a Markdown table, which reads well in a terminal too."""

    def cell(mean, spread):
        return f"{mean:.2f}" + ("" if np.isnan(spread) else f" ± {spread:.2f}")

    header = ["variant", "trained weights", "regular %", "scaled %", "seeds"]
    rows = [
        [
            name,
            f"{entry['trained_parameters']:,}",
            cell(*entry["regular"]),
            cell(*entry["scaled"]),
            str(entry["seeds"]),
        ]
        for name, entry in summarise(runs).items()
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
