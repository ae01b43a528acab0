"""The study: variants x seeds -> one results file, from which every table and figure is made.

Each seed trains its own regular classifier; every frozen variant starts from that classifier's weights and fine-tunes
on scaled digits, all on the same batches. Nothing is chosen by the test set: it is read once, at the end of a run.
"""

from dataclasses import dataclass

import keras
import numpy as np

from deformconv import diagnostics, training
from deformconv.study.digits import datasets
from deformconv.study.digits.variants import VARIANTS
from deformconv.study.queue import Queue
from deformconv.training.scaling import Scaling, rotation_matrices, scaled_copy, warp_all, zoomed_copy

# The seeds of the fixed sets of warped images; the seeds of the runs are 0, 1, 2, ...
TEST_SEED, VALIDATION_SEED = 2017, 2018
ZOOMS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
# Beyond what fine-tuning sees.
ENLARGED, SHRUNK, LARGEST_ANGLE = Scaling(zoom=(0.6, 1.0), shift=0.0), Scaling(zoom=(2.5, 3.0)), 45

DIAGNOSED = 200  # images whose offsets are looked at

# What a run is tested on.
ACCURACIES = {
    "regular": "the test set as it is",
    "scaled": "digits shrunk to 1.0-0.4 of their size, each axis on its own, and shifted: what fine-tuning sees",
    "scaled_nearest": "the same, each pixel the nearest, as in 2017",
    "enlarged": "digits 1.0-1.67 times their size",
    "shrunk": "digits shrunk to 0.4-0.33 of their size, and shifted",
    "rotated": "digits turned by up to 45 degrees",
}


@dataclass(frozen=True)
class Settings:
    """All that decides the outcome of a run besides its variant and seed. One results file holds one of these.

    `test_images` and `zoom_images` are how many of the test images (at most) are looked at: for the accuracies,
    and at each fixed zoom. `unscaled_share` is the share of each fine-tuning batch that is left at its size.
    `precision` is a Keras policy: "float32", "mixed_bfloat16" or "mixed_float16".
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
    precision: str = "float32"

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
    # Twice the images for each fine-tune, and all in many small steps.
    "full": {
        "regular_steps": 4000,
        "finetune_steps": 7200,
        "test_images": 10000,
        "zoom_images": 2000,
        "batch_size": 32,
        "learning_rate": 1e-3,
    },
    # As many steps as published: 10 epochs, then 20 of nothing but shrunk images, of each pixel the nearest.
    "2017": {
        "regular_steps": 18750,
        "finetune_steps": 37500,
        "test_images": 10000,
        "zoom_images": 2000,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "unscaled_share": 0.0,
        "interpolation": "nearest",
    },
}


class Study(Queue):
    """The variants on one data set."""

    descriptions = {name: variant.description for name, variant in VARIANTS.items()}

    def __init__(self, data: datasets.Dataset, settings: Settings, folder, command="", progress=True):
        super().__init__(folder, settings, data.digest, command, progress)
        self.data = data

    def network(self, variant):
        """The variant's network, with random weights."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            return VARIANTS[variant].network(batchnorm_momentum=self.settings.batchnorm_momentum)
        finally:
            keras.config.set_dtype_policy(before)

    def train(self, variant, seed, checkpoint):
        """The trained network, and what to tell of its training. `regular` comes first by itself."""
        settings, kind = self.settings, VARIANTS[variant]
        if kind.start_trained:
            self.run("regular", seed)
        (x, y), _ = self.data.split()
        keras.utils.set_random_seed(seed)
        model = self.network(variant)
        if kind.start_trained:
            training.transplant(self.model("regular", seed), model)
            steps = settings.finetune_steps
        else:
            steps = settings.regular_steps + (settings.finetune_steps if kind.scaled else 0)
        if kind.train_only:
            kind.train_only(model)
        told = training.fit(
            model,
            x,
            y,
            steps=steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            # The regular classifier and the others see the images in different orders; all the others in one.
            seed=[seed, int(kind.scaled)],
            scaling=Scaling(unscaled=settings.unscaled_share) if kind.scaled else None,
            interpolation=settings.interpolation,
            description=f"{variant}, seed {seed}" if self.progress else None,
            checkpoint=checkpoint,
        )
        return model, {"steps": steps, "seconds": round(told["seconds"], 1)}

    def test(self, model, seed):
        """Accuracies on the test set and, for whoever chooses something, on the validation set."""
        most = self.settings.test_images
        images, labels = self.data.x_test[:most], self.data.y_test[:most]
        _, (validation_images, validation_labels) = self.data.split()
        validation_images, validation_labels = validation_images[:most], validation_labels[:most]
        few = self.settings.zoom_images
        interpolation = self.settings.interpolation
        angles = np.random.default_rng(TEST_SEED).uniform(-LARGEST_ANGLE, LARGEST_ANGLE, len(images))
        sets = {
            "regular": images,
            "scaled": scaled_copy(images, TEST_SEED, interpolation=interpolation),
            "scaled_nearest": scaled_copy(images, TEST_SEED, interpolation="nearest"),
            "enlarged": scaled_copy(images, TEST_SEED, ENLARGED),
            "shrunk": scaled_copy(images, TEST_SEED, SHRUNK),
            "rotated": warp_all(images, rotation_matrices(angles)),
        }
        validation = {
            "validation_regular": validation_images,
            "validation_scaled": scaled_copy(validation_images, VALIDATION_SEED, interpolation=interpolation),
        }
        shrunk = {str(zoom): zoomed_copy(images[:few], zoom) for zoom in ZOOMS}
        return {
            **{name: training.accuracy(model, seen, labels) for name, seen in sets.items()},
            **{name: training.accuracy(model, seen, validation_labels) for name, seen in validation.items()},
            "zoom": {zoom: training.accuracy(model, seen, labels[:few]) for zoom, seen in shrunk.items()},
            **self._diagnose(model, {zoom: seen[:DIAGNOSED] for zoom, seen in shrunk.items()}),
        }

    def _diagnose(self, model, shrunk):
        """What the offsets do at each zoom, where there are any."""
        if not diagnostics.deformable_layers(model):
            return {}
        return {
            "offsets": {zoom: diagnostics.offset_statistics(model, seen) for zoom, seen in shrunk.items()},
            "dilation": {zoom: diagnostics.dilation_on_digits(model, seen) for zoom, seen in shrunk.items()},
        }
