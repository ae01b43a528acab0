"""What a training does where it looks: tests the network, checks its numbers, logs them, keeps its state."""

import sys
import time
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from deformconv.training import devices, health
from deformconv.training.checkpoint import Checkpoint
from deformconv.training.feeds import Feed
from deformconv.training.logs import Logs
from deformconv.training.scaling import Scaling
from deformconv.types import Images, Interpolation, Seed, StrPath

PROBED = 32  # images whose offsets are looked at


class Validation:
    """The loss and accuracy on images that are not trained on, scaled like those that are, the same way each time."""

    def __init__(
        self,
        model: keras.Model,
        images: Images,
        labels: ArrayLike,
        resident: bool,
        scaling: Scaling | None,
        interpolation: Interpolation,
        seed: Seed,
        size: int,
    ):
        self.size = size
        self.index = np.arange(-(-len(images) // size) * size, dtype="int32")
        # The last batch is filled up with images that do not count.
        self.weights = (self.index < len(images)).astype("float32")
        self.index %= len(images)
        rng = np.random.default_rng(seed)
        self.matrices = scaling.draw(len(self.index), images.shape[1], rng) if scaling else None
        self.feed = Feed(model, images, labels, resident, scaling is not None, interpolation)
        loss = keras.metrics.SparseCategoricalCrossentropy(name="validation_loss")
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="validation_accuracy")
        self.feed.model.compile(loss="sparse_categorical_crossentropy", weighted_metrics=[loss, accuracy])

    def __call__(self) -> dict[str, float]:
        """`validation_loss` and `validation_accuracy` of the network as it is."""
        batches = self.feed.batches(self.index, self.matrices, self.size, self.weights)
        with self.feed.reading():
            told = self.feed.model.evaluate(**batches, verbose=0, return_dict=True)
        return {name: float(told[name]) for name in ("validation_loss", "validation_accuracy")}


class Looks:
    """The looks of one training, which `resume` takes up where another process left it.

    Attributes:
        done: steps done.
        enough: whether the validation loss has not fallen for `patience` looks.
        any: whether anything asks for a look on the way.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        images: Images,
        validation: Validation | None,
        patience: int | None,
        checkpoint: StrPath | None,
        about: dict[str, Any],
        logs: StrPath | None,
        description: str | None,
    ):
        self.steps, self.description = about["steps"], description
        self.model, self.optimizer, self.validation, self.patience = model, optimizer, validation, patience
        self.probed = np.asarray(images[:PROBED])
        if self.probed.dtype == np.uint8:
            self.probed = self.probed / np.float32(255)
        self.checkpoint = (
            Checkpoint(checkpoint, [*model.variables, *optimizer.variables], about) if checkpoint else None
        )
        self.logs = logs
        self.log: Logs | None = None
        self.any = bool(checkpoint or logs or validation)
        self.first = devices.is_first()
        self.took = 0.0  # seconds for the last look
        self.state: dict[str, Any] = {"done": 0, "looks": 0, "seconds": 0.0, "told": {}, "lowest": {}}
        self.best: list[np.ndarray] = []

    @property
    def done(self) -> int:
        return self.state["done"]

    @property
    def enough(self) -> bool:
        lowest = self.state["lowest"]
        return bool(lowest) and self.patience is not None and self.state["looks"] - lowest["look"] >= self.patience

    def resume(self) -> None:
        """Sets the variables to those of the last checkpoint, if there is one."""
        found = self.checkpoint and self.checkpoint.read()
        if found:
            self.state, self.best = found
        if devices.first_says(self.done) != self.done:
            where = self.checkpoint and self.checkpoint.path
            raise ValueError(f"The processes see different files at {where}; they must share the folder.")
        if self.done and self.first and self.checkpoint:
            what = self.description or self.checkpoint.path
            # On stderr, as the bar is: what a program prints is its own.
            print(f"{what}: goes on from step {self.done:,} of {self.steps:,}", file=sys.stderr, flush=True)
        if self.logs and self.first:
            self.log = Logs(self.logs, self.done)
        self.standstill = health.Standstill(self.model, self.done) if self.first else None
        self.started = time.perf_counter() - self.state["seconds"]

    def take(self, done: int, told: dict[str, float], images_per_second: float, counts: bool = True) -> None:
        """A look after `done` steps. One that comes only because a minute has passed does not count for `patience`."""
        began = time.perf_counter()
        lengths = health.check(self.model, self.probed, done, told["loss"])
        if self.standstill:
            self.standstill.look(done)
        validated = self.validation() if self.validation else {}
        looks = self.state["looks"] + counts
        if counts and validated and validated["validation_loss"] < self.state["lowest"].get("validation_loss", np.inf):
            self.state["lowest"] = {**validated, "step": done, "look": looks}
            self.best = self.model.get_weights() if self.patience is not None else []
        seconds = time.perf_counter() - self.started
        self.state |= {"done": done, "told": {**told, **validated}, "looks": looks, "seconds": seconds}
        if self.log:
            rate = float(ops.convert_to_numpy(self.optimizer.learning_rate))
            record = {"step": done, **self.state["told"], "learning_rate": rate, "offset_norm": lengths}
            self.log.write({**record, "images_per_second": images_per_second, "seconds": round(seconds, 1)})
        if self.checkpoint and self.first:
            self.checkpoint.write(self.state, self.best)
        self.took = time.perf_counter() - began

    def end(self) -> dict[str, float]:
        """What `fit` returns; with `patience` the weights are set to the best."""
        if self.log:
            self.log.close()
        told = {**self.state["told"], "seconds": self.state["seconds"]}
        if self.best:
            self.model.set_weights(self.best)
            lowest = self.state["lowest"]
            told |= {name: lowest[name] for name in ("validation_loss", "validation_accuracy", "step")}
        return told
