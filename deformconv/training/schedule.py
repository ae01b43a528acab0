"""The learning rate of each step."""

import keras


def schedule(learning_rate, steps, warmup):
    """The rate of each step: up along a line, then down to zero along half a cosine."""
    schedules = keras.optimizers.schedules
    if isinstance(learning_rate, schedules.LearningRateSchedule):
        return learning_rate
    if not warmup:
        return schedules.CosineDecay(learning_rate, steps)
    return schedules.CosineDecay(0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup)


class EachBatch(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of steps for an optimizer that counts batches, of which a step has several: as Keras's do."""

    def __init__(self, schedule, accumulate):
        self.schedule, self.accumulate = schedule, accumulate

    def __call__(self, batch):
        return self.schedule(batch // self.accumulate)
