"""Plain, deformable and modulated classifiers on MNIST-scale, trained from scratch on each realisation."""

import functools
from dataclasses import dataclass

import keras

from deformconv import training
from deformconv.study.digits import datasets, models
from deformconv.study.mnist_scale.protocol import realisation
from deformconv.study.queue import Queue


@dataclass(frozen=True)
class Settings:
    """All that decides a run besides its variant and realisation. One results file holds one of these."""

    dataset: str = "mnist-scale"
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 2e-3
    offset_lr_multiplier: float = 0.1
    batchnorm_momentum: float = 0.99
    training_images: int = 10_000
    validation_images: int = 2_000
    test_images: int = 50_000


class MnistScale(Queue):
    """Networks trained from scratch on each realisation; a run's seed is the realisation's number."""

    descriptions = {
        "regular": "The plain classifier.",
        "deformable": "An offset for each pixel and tap in the last three convolutions.",
        "modulated": "The same with a learned weight for each tap as well (DCNv2).",
    }

    def __init__(self, data: datasets.Dataset, settings: Settings, folder, command="", progress=True):
        super().__init__(folder, settings, data.digest, command, progress)
        self.data = data

    def network(self, variant):
        """The variant's network, with random weights; nothing of it is frozen."""
        convolution = models.rigid
        if variant != "regular":
            convolution = functools.partial(
                models.deformable,
                modulated=variant == "modulated",
                offset_lr_multiplier=self.settings.offset_lr_multiplier,
            )
        return models.digit_classifier(convolution, self.settings.batchnorm_momentum)

    def train(self, variant, seed, checkpoint):
        """The trained network, and what to tell of its training."""
        settings = self.settings
        images, labels = realisation(self.data, seed, settings)["training"]
        keras.utils.set_random_seed(seed)
        model = self.network(variant)
        told = training.fit(
            model,
            images,
            labels,
            steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=seed,
            description=f"{variant}, realisation {seed}" if self.progress else None,
            checkpoint=checkpoint,
        )
        return model, {"seconds": round(told["seconds"], 1)}

    def test(self, model, seed):
        """Errors on the realisation's test set and, for whoever chooses something, on its validation set."""
        sets = realisation(self.data, seed, self.settings)
        return {
            "error": 1 - training.accuracy(model, *sets["test"]),
            "validation_error": 1 - training.accuracy(model, *sets["validation"]),
        }
