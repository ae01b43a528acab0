"""The training loop: the data lives on the device, and each step picks, scales and learns a batch there.

The host draws only which images a step takes and how they are warped, a few numbers an image, from a seed; so the same
seed gives the same batches on every engine. The loop itself is Keras's `fit`.
"""

import time

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from deformconv.study.checkpoint import Checkpoint
from deformconv.study.scaling import Scaling, warp


def fit(
    model,
    images,
    labels,
    *,
    steps,
    batch_size=128,
    learning_rate=2e-3,
    seed=0,
    scaling: Scaling | None = None,
    interpolation="bilinear",
    steps_per_call=1,
    description=None,
    callbacks=(),
    checkpoint=None,
    checkpoint_every=100,
) -> dict:
    """Trains a classifier in place: Adam, its learning rate falling to zero along a cosine.

    Args:
        model: from images to class probabilities. What is frozen stays as it is.
        images, labels: the training set, `(n, h, w, c)` and `(n,)`; it is copied to the device once.
        steps: number of optimizer steps.
        batch_size: images a step.
        learning_rate: Adam's, at the start.
        seed: of the order of the images and of their warps.
        scaling: how each batch is scaled, anew each time; None leaves the images alone.
        interpolation: of the scaling, `"bilinear"` or `"nearest"`.
        steps_per_call: optimizer steps for each call from Python; more keeps a GPU busier.
        description: text in front of the progress bar; None shows no bar.
        callbacks: further `keras.callbacks.Callback`s.
        checkpoint: a path, or None. The training's whole state is kept there every `checkpoint_every` steps, whole or
            not at all; where the file exists already, training goes on from it and ends as if it had never stopped.
        checkpoint_every: in steps.

    Returns:
        `loss` and `accuracy`, averaged over the steps since the last checkpoint, and `seconds`, of the whole training.

    Raises:
        ValueError: if `steps` or `batch_size` is not positive, or images and labels differ in number.
    """
    if steps < 1 or batch_size < 1:
        raise ValueError(f"`steps` and `batch_size` must be positive; received {steps} and {batch_size}.")
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"`labels` must have one entry an image, for at least one; received {len(labels)} for {len(images)} images."
        )
    rng = np.random.default_rng(seed)
    index = shuffled(len(images), steps * batch_size, rng)
    batches = {"index": index}
    if scaling is not None:
        batches["matrix"] = scaling.draw(len(index), images.shape[1], rng)

    trainer = _feed(model, images, scaled=scaling is not None, interpolation=interpolation)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    if model.dtype_policy.name == "mixed_float16":  # small gradients would be zero there
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    trainer.compile(
        optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_call,
    )
    optimizer.build(trainer.trainable_variables)
    done, seconds, kept = 0, 0.0, None
    if checkpoint:
        about = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        about |= {"scaling": repr(scaling), "interpolation": interpolation, "images": len(images)}
        kept = Checkpoint(checkpoint, [*model.variables, *optimizer.variables], about)
        done, seconds = kept.read()
    bar = [Progress(steps, done, description)] if description else []
    history = {}
    started = time.perf_counter() - seconds
    while done < steps:
        last = min(done + checkpoint_every, steps) if kept else steps
        part = slice(done * batch_size, last * batch_size)
        history = trainer.fit(
            {name: numbers[part] for name, numbers in batches.items()},
            np.asarray(labels)[index[part]],
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, *bar],
        ).history
        done, seconds = last, time.perf_counter() - started
        if kept:
            kept.write(done, seconds)
    return {**{name: float(values[-1]) for name, values in history.items()}, "seconds": seconds}


def accuracy(model, images, labels, batch_size=500) -> float:
    """The share of images whose most probable class is their label."""
    # Whole batches only, filled up from the front: an odd last one would have the network traced anew.
    filled = np.arange(-(-len(images) // batch_size) * batch_size) % len(images)
    probabilities = model.predict(images[filled], batch_size=batch_size, verbose=0)[: len(images)]
    return float(np.mean(np.argmax(probabilities, axis=-1) == labels))


def shuffled(n, length, rng) -> np.ndarray:
    """`length` indices below `n`: whole random permutations, one after another, the last one cut."""
    passes = -(-length // n)
    return np.concatenate([rng.permutation(n) for _ in range(passes)])[:length].astype("int32")


def _feed(model, images, scaled, interpolation):
    """A model from `index` (and `matrix`) to predictions: it holds the images, picks, warps and classifies."""
    inputs = {"index": keras.Input((), dtype="int32", name="index")}
    if scaled:
        inputs["matrix"] = keras.Input((2, 3), dtype="float32", name="matrix")
    return keras.Model(inputs, model(_Feed(images, interpolation)(inputs)))


class _Feed(keras.layers.Layer):
    def __init__(self, images, interpolation):
        super().__init__(dtype="float32")
        self.interpolation = interpolation
        # A weight, so that every engine keeps it on its device; not trainable, not part of the classifier.
        self.images = self.add_weight(shape=images.shape, initializer="zeros", trainable=False, name="images")
        self.images.assign(images)

    def call(self, inputs):
        images = ops.take(self.images, inputs["index"], axis=0)
        return warp(images, inputs["matrix"], self.interpolation) if "matrix" in inputs else images


class Progress(keras.callbacks.Callback):
    """A progress bar over the steps of a training, in as many parts as it has, with the loss and accuracy so far."""

    def __init__(self, steps, done, description):
        super().__init__()
        self.done, self.before = done, done
        self.bar = tqdm(total=steps, initial=done, desc=description, unit="step", mininterval=1)

    def on_train_begin(self, logs=None):
        self.before = self.done

    def on_train_batch_end(self, batch, logs=None):
        # Keras counts whole calls: with several steps a call, the last may seem to pass the end.
        done = self.before + min(batch + 1, self.params["steps"])
        self.bar.update(done - self.done)
        self.done = done
        self.bar.set_postfix({name: f"{float(value):.3f}" for name, value in (logs or {}).items()}, refresh=False)

    def on_train_end(self, logs=None):
        if self.done == self.bar.total:
            self.bar.close()
