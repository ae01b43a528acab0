"""Sizes that only the running graph knows: TensorFlow's alone, checked when it runs.

Where all is known beforehand, `arguments` has checked it with better words, and nothing is added here. Without these
checks a reshape would take height for width, and a sum would spread an axis of length one over all.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from deformconv.engines import exporting, switches
from deformconv.types import Tensor


def expect(name: str, tensor: Tensor, sizes: Sequence[Any], what: str) -> Tensor:
    """The argument `name` itself; the graph ends in an error if its first axes are not `sizes`, which are `what`.

    Of an empty batch it takes any empty tensor: oneDNN's convolutions give it the wrong shape.
    """
    received = ops.shape(tensor)
    if _known([*received[: len(sizes)], *sizes]):
        return tensor
    import tensorflow as tf

    expected, shape = tf.stack(list(sizes)), tf.shape(tensor)
    first = shape[: len(sizes)]
    if switches.within_xla():  # it drops an `Assert`, but compiles no `concat` of different sizes
        bare = [tf.zeros(tf.concat([size, [0]], axis=0)) for size in (expected, first)]
        label = "_".join(re.findall(r"\w+", f"{name} must have {what}"))
        return _after(tensor, lambda: tf.concat(bare, axis=-1, name=label))
    fit = tf.reduce_all(first == expected) | ((expected[0] == 0) & (tf.size(tensor) == 0))
    message = f"`{name}` must have {what},", expected, "; received shape", shape
    return _after(tensor, lambda: tf.debugging.Assert(fit, message, summarize=9))


def expect_an_output(inputs: Tensor, out_size: tuple[Any, ...]) -> tuple[Any, ...]:
    """`out_size` itself; the graph ends in an error if no kernel fits into the inputs, so that nothing is put out."""
    if _known(out_size):
        return out_size
    import tensorflow as tf

    output, size = tf.stack(list(out_size)), tf.shape(inputs)[1:3]

    def kept(checked: Tensor) -> tuple[Any, ...]:
        """One that is known stays so."""
        return tuple(n if isinstance(n, int) else one for n, one in zip(out_size, tf.unstack(checked), strict=True))

    if switches.within_xla():  # it knows no length below 0
        name = "inputs_must_be_at_least_as_large_as_the_dilated_kernel"
        return kept(_after(output, lambda: tf.zeros(output - 1, name=name)))
    message = (
        "`inputs` must be at least as large as the dilated kernel, padding included; received height and width",
        size,
        ", the output's would be",
        output,
        '. padding="same" takes any size.',
    )
    return kept(_after(output, lambda: tf.debugging.Assert(tf.reduce_all(output > 0), message)))


def _known(sizes: Sequence[Any]) -> bool:
    """Whether there is nothing to check when the graph runs, or no graph of TensorFlow."""
    if keras.backend.backend() != "tensorflow" or all(isinstance(size, int) for size in sizes):
        return True
    return exporting.for_another_runtime()  # which has no such operation


def _after(tensor: Tensor, check: Callable[[], Any]) -> Tensor:
    import tensorflow as tf

    with tf.control_dependencies([check()]):
        return tf.identity(tensor)
