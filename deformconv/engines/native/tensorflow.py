"""The kernels on TensorFlow: its operators, and their derivatives of any order."""

import functools
import itertools

import tensorflow as tf

from deformconv.engines import columns, grouped, portable
from deformconv.engines.native.library import Unavailable, loaded


@functools.cache
def _operators():
    """The compiled operators, loaded into TensorFlow."""
    if tf.config.list_physical_devices("GPU"):
        raise Unavailable("TensorFlow uses a GPU")
    flags = [*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]

    def load(path):
        try:
            return tf.load_op_library(str(path))
        except tf.errors.NotFoundError as error:  # a symbol that this TensorFlow lacks
            raise OSError(error.message) from error

    return loaded("tensorflow.cc", [tf.__version__], flags, load)


prepare = _operators


def serves(images):
    """Whether the kernels take such images."""
    return images.dtype in (tf.float32, tf.float64, tf.bfloat16, tf.float16)


def sample(images, coords):
    """Values at points, as `engines.sample`."""
    if len(coords.shape) == 3:
        coords = coords[:, :, None]
    return aggregate(images, coords[:, :, :, None], _none(images))


def aggregate(images, coords, weights):
    """The weighted sum of what points read, as `engines.aggregate`."""
    values = _aggregate(images, _in_sums(coords, images), weights)
    values.set_shape([images.shape[0], coords.shape[1], images.shape[3]])
    return values


def _in_sums(coords, images):
    """Coordinates in the type that the kernels compute in."""
    return tf.cast(coords, tf.float64 if images.dtype == tf.float64 else tf.float32)


def convolve(inputs, offsets, kernel, *, mask, bias, strides, pads, out_size, dilation_rate, groups, offset_groups):
    """The deformable convolution of checked arguments, as `engines.convolve`."""
    options = {"strides": strides, "pads": pads, "out_size": out_size, "dilation_rate": dilation_rate, "groups": groups}
    weights = _none(inputs) if mask is None else mask
    outputs = _convolve(options, mask is not None)(inputs, _in_sums(offsets, inputs), kernel, weights)
    outputs.set_shape([inputs.shape[0], *(n if isinstance(n, int) else None for n in out_size), kernel.shape[3]])
    return outputs if bias is None else outputs + bias


def _none(images):
    """In place of weights: all are one."""
    return tf.zeros([0], images.dtype)


@tf.custom_gradient
def _aggregate(images, coords, weights):
    values = _operators().deform_aggregate(images=images, points=coords, weights=weights)

    def portably(images, coords, weights):
        if weights.shape == [0]:
            return grouped.sample(portable.sample, images, coords[:, :, :, 0])
        return grouped.aggregate(portable.sample, images, coords, weights)

    def native(images, coords, weights, upstream):
        return tuple(
            _operators().deform_aggregate_grad(images=images, points=coords, weights=weights, upstream=upstream)
        )

    gradient = _once_more(native, portably, of=(0, 1, 2))
    return values, lambda upstream: gradient(images, coords, weights, upstream)


def _convolve(options, masked):
    """The kernel for these options: a function of `(images, offsets, kernel, weights)`."""
    made = _operators()

    def portably(images, offsets, kernel, weights):
        return columns.convolve(
            portable.sample,
            images,
            offsets,
            kernel,
            mask=weights if masked else None,
            bias=None,
            offset_groups=offsets.shape[-1] // (2 * kernel.shape[0] * kernel.shape[1]),
            **options,
        )

    def arguments(images, offsets, kernel, weights):
        numbers = [options[name] for name in ("strides", "pads", "dilation_rate")]
        numbers = [*itertools.chain(*numbers), kernel.shape[1], *options["out_size"]]
        geometry = tf.stack([tf.cast(number, tf.int64) for number in numbers])
        flat = tf.reshape(kernel, [-1, kernel.shape[3]])
        tensors = {"images": images, "points": offsets, "weights": weights, "kernel": flat}
        return {**tensors, "geometry": geometry, "groups": options["groups"]}

    # Two kernels: with a frozen kernel nobody asks for the second, and a graph leaves it out.
    def native_points_gradient(images, offsets, kernel, weights, upstream):
        return tuple(made.deform_conv_points_grad(upstream=upstream, **arguments(images, offsets, kernel, weights)))

    def native_kernel_gradient(images, offsets, kernel, weights, upstream):
        by_kernel = made.deform_conv_kernel_grad(upstream=upstream, **arguments(images, offsets, kernel, weights))
        return (tf.reshape(by_kernel, tf.shape(kernel)),)

    points_gradient = _once_more(native_points_gradient, portably, of=(0, 1, 3))
    kernel_gradient = _once_more(native_kernel_gradient, portably, of=(2,))

    @tf.custom_gradient
    def convolve(images, offsets, kernel, weights):
        outputs = made.deform_conv(**arguments(images, offsets, kernel, weights))

        def gradient(upstream):
            by_images, by_offsets, by_weights = points_gradient(images, offsets, kernel, weights, upstream)
            (by_kernel,) = kernel_gradient(images, offsets, kernel, weights, upstream)
            return by_images, by_offsets, by_kernel, by_weights

        return outputs, gradient

    return convolve


def _once_more(native, portably, of):
    """`native`, which gives the gradients of `portably` by its arguments `of`, made differentiable in turn.

    Its own derivative is the portable one's second: slow, exact, and rarely asked for.
    """

    @tf.custom_gradient
    def first(*tensors_and_upstream):
        *tensors, upstream = tensors_and_upstream

        def second(*upstreams):
            with tf.GradientTape() as outer:
                outer.watch(tensors_and_upstream)
                with tf.GradientTape() as inner:
                    inner.watch(tensors)
                    values = portably(*tensors)
                    total = tf.reduce_sum(values * upstream)
                wanted = [tensors[i] for i in of]
                gradients = inner.gradient(total, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return outer.gradient(
                gradients,
                tensors_and_upstream,
                output_gradients=list(upstreams),
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        return native(*tensors, upstream), second

    return first
