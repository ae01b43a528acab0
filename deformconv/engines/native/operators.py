"""`sample` and `convolve` by the compiled kernels, with derivatives of any order."""

import itertools

import tensorflow as tf

from deformconv.engines import columns, native, portable


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    dtype = _computed_in(images)
    values = _sample(tf.cast(images, dtype), tf.cast(coords, dtype)[:, :, None, None])
    values.set_shape([images.shape[0], coords.shape[1], 1, images.shape[3]])
    return tf.cast(values[:, :, 0], images.dtype)


def convolve(inputs, offsets, kernel, *, mask, bias, strides, pads, out_size, dilation_rate, groups, offset_groups):
    """The deformable convolution of checked arguments, as `engines.convolve`."""
    options = {"strides": strides, "pads": pads, "out_size": out_size, "dilation_rate": dilation_rate}
    if groups > 1:  # the fused kernel multiplies all channels by all filters
        grouped = {"groups": groups, "offset_groups": offset_groups}
        return columns.convolve(sample, inputs, offsets, kernel, mask=mask, bias=bias, **options, **grouped)
    dtype = _computed_in(inputs)
    tensors = [tf.cast(tensor, dtype) for tensor in (inputs, offsets, kernel)]
    weights = tf.zeros([0], dtype) if mask is None else tf.cast(mask, dtype)
    outputs = _fused(options, mask is not None)(*tensors, weights)
    outputs.set_shape([inputs.shape[0], *(n if isinstance(n, int) else None for n in out_size), kernel.shape[3]])
    outputs = tf.cast(outputs, inputs.dtype)
    return outputs if bias is None else outputs + bias


def _computed_in(images):
    return tf.float64 if images.dtype == tf.float64 else tf.float32


@tf.custom_gradient
def _sample(images, coords):
    values = native.kernels().deform_sample(images=images, coords=coords)

    def by_points(images, coords):
        batch, points = tf.shape(coords)[0], tf.shape(coords)[1]
        return portable.sample(images, tf.reshape(coords, tf.stack([batch, points, 2])))[:, :, None]

    gradient = _once_more(native.kernels().deform_sample_grad, by_points)
    return values, lambda upstream: gradient(images, coords, upstream)


def _fused(options, masked):
    """The kernel for these options: a function of `(images, offsets, kernel, weights)`."""
    made = native.kernels()

    def portably(images, offsets, kernel, weights):
        taps = kernel.shape[0] * kernel.shape[1]
        return columns.convolve(
            portable.sample,
            images,
            offsets,
            kernel,
            mask=weights if masked else None,
            bias=None,
            groups=1,
            offset_groups=offsets.shape[-1] // (2 * taps),
            **options,
        )

    def arguments(images, offsets, kernel, weights):
        numbers = [options[name] for name in ("strides", "pads", "dilation_rate")]
        numbers = [*itertools.chain(*numbers), kernel.shape[1], *options["out_size"]]
        geometry = tf.stack([tf.cast(number, tf.int64) for number in numbers])
        flat = tf.reshape(kernel, [-1, kernel.shape[3]])
        return {"images": images, "offsets": offsets, "kernel": flat, "weights": weights, "geometry": geometry}

    # Two kernels: with a frozen kernel nobody asks for the second, and a graph leaves it out.
    def native_points_gradient(images, offsets, kernel, weights, upstream):
        by_images, by_offsets, by_weights = made.deform_conv_points_grad(
            upstream=upstream, **arguments(images, offsets, kernel, weights)
        )
        return by_images, by_offsets, by_weights

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


def _once_more(native, portably, of=(0, 1)):
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
