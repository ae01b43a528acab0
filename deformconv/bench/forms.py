"""What other forms than the plain one cost on TensorFlow, each beside Keras's own layer of that form, in one process.

All read 8 images of 56 x 56 with 64 channels through 3 x 3 taps, as the reference case does.
"""

import time
from typing import NamedTuple

import keras
import numpy as np

from deformconv import ConvOffset2D, DCNv3, DCNv4, deform_conv2d

BATCH, SIZE, CHANNELS = 8, 56, 64
CALLS = 3  # of each in a round


class Form(NamedTuple):
    """A function of tensors, and the name of the yardstick that it is held against; None for a yardstick."""

    function: object
    tensors: list
    against: str | None = None


def forms(seed=0) -> dict[str, Form]:
    """The forms by their names."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0, dtype="float32"):
        return keras.ops.cast(scale * rng.standard_normal(shape, dtype="float32"), dtype)

    images, offsets = normal(BATCH, SIZE, SIZE, CHANNELS), normal(BATCH, SIZE, SIZE, 18, scale=2)
    mask = keras.ops.abs(normal(BATCH, SIZE, SIZE, 9))
    found = {}
    for name, groups, dtype in (
        ("float32", 1, "float32"),
        ("groups 2", 2, "float32"),
        ("groups 4", 4, "float32"),
        ("bfloat16", 1, "bfloat16"),
    ):
        kernel = normal(3, 3, CHANNELS // groups, CHANNELS, scale=0.04, dtype=dtype)
        own = keras.ops.cast(images, dtype)
        found[f"Conv2D, {name}"] = Form(
            lambda x, k: keras.ops.conv(x, k, padding="same", data_format="channels_last"), [own, kernel]
        )
        found[name] = Form(
            lambda x, o, k, groups=groups: deform_conv2d(x, o, k, padding="same", groups=groups),
            [own, offsets, kernel],
            f"Conv2D, {name}",
        )
        if name == "float32":
            found["float32, masked"] = Form(
                lambda x, o, k, m: deform_conv2d(x, o, k, mask=m, padding="same"),
                [own, offsets, kernel, mask],
                "Conv2D, float32",
            )
    found["DepthwiseConv2D"] = Form(
        lambda x, k: keras.ops.depthwise_conv(x, k, padding="same", data_format="channels_last"),
        [images, normal(3, 3, CHANNELS, 1)],
    )
    found["depthwise"] = Form(
        lambda x, o, k: deform_conv2d(x, o, k, padding="same", groups=CHANNELS),
        [images, offsets, normal(3, 3, 1, CHANNELS)],
        "DepthwiseConv2D",
    )
    for layer in (cls(data_format="channels_last") for cls in (DCNv3, DCNv4, ConvOffset2D)):
        layer.build(images.shape)
        for weight in layer.weights:  # away from zero, where nothing would have to be read between pixels
            if "offset" in weight.path or "mask" in weight.path:
                weight.assign(0.05 * rng.standard_normal(weight.shape))
        found[layer.__class__.__name__] = Form(layer, [images], "Conv2D, float32")
    return found


def run(rounds=9, seed=0, progress=None) -> list[dict]:
    """Times all forms in turn, forward, and then outputs with the gradients of all tensors and weights.

    Returns:
        For each form and direction: `form`, `direction`, `median`, `low` and `high` (the quartiles) in milliseconds,
        `calls`, and, unless it is one itself, its yardstick's name `against` and `times` that.
    """
    results = []
    for direction in ("forward", "backward"):
        calls = {name: _compiled(form, direction) for name, form in forms(seed).items()}
        times = {name: [] for name in calls}
        for call in calls.values():
            call()
        for number in range(rounds):
            for name, call in calls.items():
                if progress:
                    progress(f"{direction}, round {number + 1} of {rounds}: {name}")
                for _ in range(CALLS):
                    start = time.perf_counter()
                    call()
                    times[name].append(time.perf_counter() - start)
        medians = {name: 1e3 * float(np.median(own)) for name, own in times.items()}
        for name, form in forms(seed).items():
            low, high = (round(1e3 * float(q), 3) for q in np.quantile(times[name], [0.25, 0.75]))
            row = {"form": name, "direction": direction, "median": round(medians[name], 3), "low": low, "high": high}
            row["calls"] = len(times[name])
            if form.against:
                row |= {"against": form.against, "times": round(medians[name] / medians[form.against], 3)}
            results.append(row)
    return results


def _compiled(form, direction):
    import tensorflow as tf

    function, tensors = form.function, form.tensors
    if direction == "forward":
        compiled = tf.function(function)
        return lambda: compiled(*tensors)
    weights = [weight.value for weight in getattr(function, "trainable_weights", ())]

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        return outputs, tape.gradient(outputs, [*tensors, *weights], output_gradients=tf.ones_like(outputs))

    return both


def table(results) -> str:
    """Milliseconds and times the yardstick, as Markdown."""
    found = {(one["form"], one["direction"]): one for one in results}
    lines = [
        "| form | held against | forward, ms | times | with gradients, ms | times |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(one["form"] for one in results if "times" in one):
        forward, backward = found[name, "forward"], found[name, "backward"]
        cells = [f"{one['median']:.1f} | {one['times']:.2f}" for one in (forward, backward)]
        lines.append(f"| {name} | {forward['against']} | {' | '.join(cells)} |")
    return "\n".join(lines)
