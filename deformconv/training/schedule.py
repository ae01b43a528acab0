"""The learning rate of each step."""

from collections.abc import Callable

import keras

from deformconv.types import Tensor


def schedule(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule, steps: int, warmup: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate of each step: up along a line, then down to zero along half a cosine."""
    schedules = keras.optimizers.schedules
    if isinstance(learning_rate, schedules.LearningRateSchedule):
        return learning_rate
    if not warmup:
        return schedules.CosineDecay(learning_rate, steps)
    return schedules.CosineDecay(0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup)


class EachBatch(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of steps for an optimizer that counts batches, of which a step has several: as Keras's do."""

    def __init__(self, schedule: Callable[[Tensor], Tensor], accumulate: int):
        self.schedule, self.accumulate = schedule, accumulate

    def __call__(self, batch: Tensor) -> Tensor:
        return self.schedule(batch // self.accumulate)
