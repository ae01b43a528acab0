"""The training loop: each step picks, scales and learns a batch on the device, or on several that share it out.

The host draws only which images a step takes and how they are warped, a few numbers an image, from a seed; so the same
seed gives the same batches on every engine and on any number of devices. The loop itself is Keras's `fit`, which goes
from one look to the next: at a look the network is tested, the numbers are checked and logged, the state is kept.
"""

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from deformconv.layers.inside import all_layers
from deformconv.layers.layout import check_channels_last
from deformconv.training import devices, fingerprint
from deformconv.training.feeds import Feed, shuffled
from deformconv.training.looks import PROBED, Looks, Validation
from deformconv.training.progress import Progress, Terminated
from deformconv.training.scaling import Scaling
from deformconv.training.schedule import EachBatch, schedule
from deformconv.types import Images, Interpolation, Seed, StrPath

LOSS = "sparse_categorical_crossentropy"
VALIDATION_SEED = 2018
LOOK_SECONDS = 60.0  # after which a look comes, however many steps are left to it
LOOKING = 0.1  # of the time, at most, is for such looks


def fit(
    model: keras.Model,
    images: Images,
    labels: ArrayLike,
    *,
    steps: int,
    batch_size: int = 128,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 2e-3,
    warmup: int = 0,
    clip_norm: float | None = None,
    accumulate: int = 1,
    seed: Seed = 0,
    scaling: Scaling | None = None,
    interpolation: Interpolation = "bilinear",
    resident: bool = True,
    steps_per_call: int = 1,
    validation: tuple[Images, ArrayLike] | None = None,
    patience: int | None = None,
    checkpoint: StrPath | None = None,
    logs: StrPath | None = None,
    every: int = 100,
    description: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, float]:
    """Trains a classifier in place: Adam, its learning rate falling to zero along a cosine.

    Inside `devices.spread` it shares each batch among several devices. Where it looks, every so many steps and after a
    minute without a look, it stops at a number that is not finite and at offsets that have left the picture
    (`health.Diverged`), with advice. It warns of weights that do not move.

    Args:
        model: from images to class probabilities. What is frozen stays as it is.
        images, labels: the training set, `(n, h, w, c)`, floats, or bytes that are divided by 255; and `(n,)`. Without
            `scaling` images may be of any shape that `model` takes.
        steps: number of optimizer steps.
        batch_size: images a step, over all devices.
        learning_rate: Adam's, at its highest; or a `keras.optimizers.schedules.LearningRateSchedule` of the steps.
        warmup: over how many of the steps it rises to that from zero.
        clip_norm: the longest that the gradient of all weights together may be; None leaves it.
        accumulate: in how many parts a step takes its batch, one after another: the same step in less memory.
            BatchNorm that trains sees each part alone.
        seed: of the order of the images and of their warps.
        scaling: how each batch is scaled, anew each time; None leaves the images alone.
        interpolation: of the scaling, `"bilinear"` or `"nearest"`.
        resident: whether the images are copied to the device once. If not, each batch is read as `images[numbers]`
            and sent along: for a `numpy.memmap`, an `image_folder.ImageFolder`, anything that is too large.
        steps_per_call: optimizer steps for each call from Python; more keeps a GPU busier. 1 on PyTorch.
        validation: `(images, labels)` to test on at each look, scaled by draws of their own if there is a scaling.
        patience: after how many looks without a lower validation loss it stops. The weights are those of the lowest.
        checkpoint: a path, or None. The training's whole state is kept there at each look, whole or not at all;
            where the file exists already, training says on stderr that it goes on from it, and ends as if it had never
            stopped. One of other data or arguments is not taken, with a warning. SIGTERM lets the step end, keeps the
            state and raises `Terminated`.
        logs: a folder for `log.jsonl` and for TensorBoard, with a record of each look, or None.
        every: number of steps from look to look. A look that a slow minute brings on comes besides, and does not count
            for `patience`; with several processes there are none such.
        description: text in front of the progress bar; None shows no bar.
        callbacks: further ones, of Keras's; for them, each look ends an epoch.

    Returns:
        `loss` and `accuracy`, averaged over the steps since the last look, and `seconds`, of the whole training; with
        `validation` also `validation_loss` and `validation_accuracy`, and with `patience` the `step` of the weights.

    Raises:
        ValueError: if the numbers do not fit together; as a `health.Diverged`, if the training has lost its way.
        OSError: if a checkpoint cannot be written; the one before is whole.
    """
    _check(images, labels, steps, batch_size, accumulate, steps_per_call, every, validation, patience)
    if scaling is not None:
        check_channels_last(model, "`scaling`")
    size = batch_size // accumulate
    rng = np.random.default_rng(seed)
    index = shuffled(len(images), steps * batch_size, rng)
    matrices = scaling.draw(len(index), images.shape[1], rng) if scaling is not None else None

    feed = Feed(model, images, labels, resident, scaling is not None, interpolation)
    optimizer = _optimizer(model, learning_rate, steps, warmup, clip_norm, accumulate)
    feed.model.compile(optimizer, LOSS, metrics=["accuracy"], steps_per_execution=steps_per_call)
    optimizer.build(feed.model.trainable_variables)
    _synchronize_batchnorm(model)
    validating = None
    if validation:
        validating = Validation(
            model, *validation, resident, scaling, interpolation, [*np.atleast_1d(seed), VALIDATION_SEED], size
        )
    scheduled = getattr(learning_rate, "get_config", None)
    about = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": str(scheduled()) if scheduled else float(learning_rate),
        "warmup": warmup,
        "clip_norm": clip_norm,
        "accumulate": accumulate,
        "seed": seed,
        "scaling": repr(scaling),
        "interpolation": interpolation,
        "patience": patience,
        "images": len(images),
    }
    if checkpoint:  # of the images, which may be very many, the first alone: the same whether they are streamed or not
        about["data"] = fingerprint.of_arrays(np.asarray(images[:PROBED]), labels)
        if validation:
            about["validation"] = fingerprint.of_arrays(np.asarray(validation[0][:PROBED]), validation[1])
    looks = Looks(model, optimizer, images, validating, patience, checkpoint, about, logs, description)
    looks.resume()
    progress = Progress(steps, looks.done, description, accumulate)
    watching = [*callbacks, *([progress] if looks.any or description else [])]
    with progress.listening(checkpoint):
        while looks.done < steps and not looks.enough:
            # Looks that count are at multiples of `every`, whenever others come.
            last = min((looks.done // every + 1) * every, steps) if looks.any else steps
            progress.seconds = max(LOOK_SECONDS, looks.took / LOOKING) if looks.any else float("inf")
            part = slice(looks.done * batch_size, last * batch_size)
            began = time.perf_counter()
            with feed.reading():
                told = feed.model.fit(
                    **feed.batches(index[part], None if matrices is None else matrices[part], size),
                    shuffle=False,
                    verbose=0,
                    callbacks=watching,
                ).history
            terminated = devices.anyone_says(progress.terminated)
            done = progress.done if progress in watching else last
            looks.take(
                done,
                {name: float(values[-1]) for name, values in told.items()},
                images_per_second=round((done - looks.done) * batch_size / (time.perf_counter() - began), 1),
                counts=done == last,
            )
            if terminated:
                raise Terminated(f"kept after {looks.done} of {steps} steps")
    return looks.end()


def accuracy(model: keras.Model, images: Images, labels: ArrayLike, batch_size: int = 500) -> float:
    """The share of images whose most probable class is their label."""
    # Whole batches only, filled up from the front: an odd last one would have the network traced anew.
    filled = np.arange(-(-len(images) // batch_size) * batch_size) % len(images)
    probabilities = model.predict(images[filled], batch_size=batch_size, verbose=0)[: len(images)]
    return float(np.mean(np.argmax(probabilities, axis=-1) == labels))


def _check(
    images: Images,
    labels: Any,
    steps: int,
    batch_size: int,
    accumulate: int,
    steps_per_call: int,
    every: int,
    validation: tuple | None,
    patience: int | None,
) -> None:
    if keras.config.floatx() == "float16":
        raise ValueError(
            "Keras's `floatx` is 'float16' (in keras.json, or by keras.config.set_floatx): losses are computed in it "
            "and overflow. Training needs 'float32'; for half precision choose the policy \"mixed_float16\" instead."
        )
    if steps < 1 or batch_size < 1 or every < 1:
        raise ValueError(
            f"`steps`, `batch_size` and `every` must be positive; received {steps}, {batch_size} and {every}."
        )
    if accumulate < 1 or batch_size % accumulate:
        raise ValueError(f"`accumulate` must divide `batch_size`, {batch_size}; received {accumulate}.")
    if steps_per_call != 1 and keras.backend.backend() == "torch":
        raise ValueError(
            f"`steps_per_call` must be 1 on PyTorch, which Keras calls step by step; received {steps_per_call}."
        )
    if accumulate > 1 and devices.count() > 1 and keras.backend.backend() == "tensorflow":
        raise ValueError(
            f"`accumulate` must be 1 with several devices on TensorFlow, where Keras cannot; received {accumulate}. "
            "JAX can (KERAS_BACKEND=jax)."
        )
    if batch_size // accumulate % devices.count():
        raise ValueError(
            f"Each of the {devices.count()} devices must have as many images of a step as the next; received "
            f"batch_size={batch_size}, accumulate={accumulate}."
        )
    if patience is not None and validation is None:
        raise ValueError("`patience` needs `validation`, whose loss it is about.")
    for pictures, names in ((images, labels), *([validation] if validation else [])):
        if not len(pictures) or len(pictures) != len(names):
            raise ValueError(
                f"`labels` must have one entry an image, for at least one; received {len(names)} for {len(pictures)} "
                "images."
            )


def _optimizer(
    model: keras.Model, learning_rate: Any, steps: int, warmup: int, clip_norm: float | None, accumulate: int
) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(
        EachBatch(schedule(learning_rate, steps, warmup), accumulate),
        global_clipnorm=clip_norm,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
    if model.dtype_policy.name == "mixed_float16":  # small gradients would be zero there
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _synchronize_batchnorm(model: keras.Model) -> None:
    """On TensorFlow each device would take statistics of its own share; on JAX a batch is one array, whoever has it."""
    if devices.count() > 1 and keras.backend.backend() == "tensorflow":
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
