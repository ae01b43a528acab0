"""What a training step of the digit classifier costs: the plain CNN's, and the fine-tune's of offsets alone."""

import resource
import time

import keras
import numpy as np

from deformconv import training
from deformconv.study.digits import models
from deformconv.training.scaling import Scaling

BATCH, STEPS, WARM_UP = 128, 40, 8


def run(rounds=5, seed=0, progress=None) -> list[dict]:
    """Times `study.training.fit` on both networks, in turn, on images of noise that are scaled anew in each step.

    Returns:
        For each network: `network`, the median and quartiles of a step in milliseconds (`median`, `low`, `high`),
        `images_per_second`, and `cores_busy`: the processor time used in a second.
    """
    makers = {
        "plain CNN, everything trains": models.digit_classifier,
        "deformable, only offsets train": lambda: training.train_only_offsets(
            models.digit_classifier(models.deformable)
        ),
    }
    networks = {name: make() for name, make in makers.items()}
    clocks = {name: Clock() for name in networks}
    for number in range(rounds):
        for name, model in networks.items():
            if progress:
                progress(f"{name}, round {number + 1} of {rounds}")
            time_steps(model, clocks[name], seed)
    results = []
    for name, clock in clocks.items():
        low, median, high = 1e3 * np.quantile(clock.seconds, [0.25, 0.5, 0.75])
        results.append(
            {
                "network": name,
                "median": round(median, 2),
                "low": round(low, 2),
                "high": round(high, 2),
                "images_per_second": round(1e3 * BATCH / median),
                "cores_busy": round(float(np.median(clock.busy)), 2),
            }
        )
    return results


def time_steps(model, clock=None, seed=0):
    """Trains a model on images of noise, scaled anew in each step, and returns the clock that timed it."""
    clock = clock or Clock()
    rng = np.random.default_rng(seed)
    images = rng.random((20 * BATCH, 28, 28, 1), dtype="float32")
    labels = rng.integers(0, 10, len(images))
    steps = WARM_UP + STEPS
    training.fit(model, images, labels, steps=steps, batch_size=BATCH, scaling=Scaling(), callbacks=[clock])
    return clock


class Clock(keras.callbacks.Callback):
    """Seconds of each step, and how many cores each run kept busy, once the graph is traced and warm."""

    def __init__(self):
        super().__init__()
        self.seconds, self.busy = [], []

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if batch == WARM_UP - 1:
            self.start, self.used = now, _processor_seconds()
        elif batch >= WARM_UP:
            self.seconds.append(now - self.last)
        self.last = now

    def on_train_end(self, logs=None):
        self.busy.append((_processor_seconds() - self.used) / (self.last - self.start))


def _processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
