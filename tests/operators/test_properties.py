"""What must hold of any deformable convolution, whatever the numbers: hypothesis looks for ones that break it."""

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops

from deformconv import deform_conv2d

BATCH, HEIGHT, WIDTH, CHANNELS, FILTERS, KERNEL_SIZE, OUT_SIZE = 2, 5, 4, 4, 3, (3, 2), (3, 3)
OFFSET_GROUPS, TAPS = 2, 6

# The shapes never change, so that JAX compiles each step once; the numbers are hypothesis's.
PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)
reals = st.floats(-4, 4, width=32)
images = arrays("float64", (BATCH, HEIGHT, WIDTH, CHANNELS), elements=reals)
offsets = arrays("float64", (BATCH, *OUT_SIZE, OFFSET_GROUPS * TAPS * 2), elements=reals)
kernels = arrays("float64", (*KERNEL_SIZE, CHANNELS, FILTERS), elements=reals)
masks = arrays("float64", (BATCH, *OUT_SIZE, OFFSET_GROUPS * TAPS), elements=reals)
biases = arrays("float64", (FILTERS,), elements=reals)


def conv(inputs, offsets, kernel, **options):
    return ops.convert_to_numpy(deform_conv2d(inputs, offsets, kernel, **options))


def assert_equal(outputs, expected):
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


@PROPERTY
@given(images, offsets, kernels, kernels, reals, masks)
def test_it_is_linear_in_the_kernel(inputs, offsets, kernel, other, factor, mask):
    outputs = conv(inputs, offsets, kernel + factor * other, mask=mask)
    of_each = conv(inputs, offsets, kernel, mask=mask), conv(inputs, offsets, other, mask=mask)
    assert_equal(outputs, of_each[0] + factor * of_each[1])


@PROPERTY
@given(images, images, offsets, kernels, reals, masks)
def test_it_is_linear_in_the_image(inputs, other, offsets, kernel, factor, mask):
    outputs = conv(inputs + factor * other, offsets, kernel, mask=mask)
    of_each = conv(inputs, offsets, kernel, mask=mask), conv(other, offsets, kernel, mask=mask)
    assert_equal(outputs, of_each[0] + factor * of_each[1])


@PROPERTY
@given(images, offsets, kernels, reals, masks, masks)
def test_it_is_linear_in_the_mask(inputs, offsets, kernel, factor, mask, other):
    outputs = conv(inputs, offsets, kernel, mask=mask + factor * other)
    of_each = conv(inputs, offsets, kernel, mask=mask), conv(inputs, offsets, kernel, mask=other)
    assert_equal(outputs, of_each[0] + factor * of_each[1])


@PROPERTY
@given(images, offsets, kernels, biases)
def test_the_bias_is_added_and_nothing_else(inputs, offsets, kernel, bias):
    assert_equal(conv(inputs, offsets, kernel, bias=bias), conv(inputs, offsets, kernel) + bias)


@PROPERTY
@given(images, kernels, st.tuples(reals, reals), st.integers(0, 3), st.integers(0, 3))
def test_constant_offsets_commute_with_shifts(inputs, kernel, offset, down, right):
    """An image that moves within zeros takes its output along, where every tap has the same offset."""
    margin = 12  # more than a kernel, an offset and a shift
    wide = np.pad(inputs, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    moved = np.roll(wide, (down, right), axis=(1, 2))
    out_size = 2 * margin + HEIGHT - 2, 2 * margin + WIDTH - 1
    constant = np.tile(np.array(offset), (BATCH, *out_size, TAPS))
    outputs = conv(wide, constant, kernel)
    assert_equal(conv(moved, constant, kernel), np.roll(outputs, (down, right), axis=(1, 2)))


@PROPERTY
@given(images, offsets, kernels, masks, st.permutations(range(OFFSET_GROUPS)))
def test_offset_groups_may_be_permuted_with_their_channels(inputs, offsets, kernel, mask, order):
    def permuted(array, axis=-1):
        groups = np.stack(np.split(array, OFFSET_GROUPS, axis=axis))[list(order)]
        return np.concatenate(list(groups), axis=axis)

    outputs = conv(permuted(inputs), permuted(offsets), permuted(kernel, axis=2), mask=permuted(mask))
    assert_equal(outputs, conv(inputs, offsets, kernel, mask=mask))


@PROPERTY
@given(images, offsets, kernels, masks)
def test_equal_offsets_for_every_group_are_one_group(inputs, offsets, kernel, mask):
    offsets, mask = (np.split(array, OFFSET_GROUPS, axis=-1)[0] for array in (offsets, mask))
    twice = conv(inputs, np.tile(offsets, OFFSET_GROUPS), kernel, mask=np.tile(mask, OFFSET_GROUPS))
    assert_equal(twice, conv(inputs, offsets, kernel, mask=mask))


@PROPERTY
@given(images, offsets, kernels, masks)
def test_each_image_of_a_batch_is_on_its_own(inputs, offsets, kernel, mask):
    outputs = conv(inputs, offsets, kernel, mask=mask)
    assert_equal(conv(inputs[1:], offsets[1:], kernel, mask=mask[1:]), outputs[1:])


@PROPERTY
@given(images, offsets, kernels, masks)
def test_bfloat16_is_float32_to_one_part_in_fifty_of_the_sums_it_adds_up(inputs, offsets, kernel, mask):
    """Images, kernel and mask have eight bits each, coordinates do not: the bound is of the sum of absolute values."""
    exact = conv(*(array.astype("float32") for array in (inputs, offsets, kernel)), mask=mask.astype("float32"))
    half = deform_conv2d(ops.cast(inputs, "bfloat16"), offsets.astype("float32"), kernel, mask=mask)
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    scale = conv(np.abs(inputs), offsets, np.abs(kernel), mask=np.abs(mask))
    assert (np.abs(ops.convert_to_numpy(half).astype("float64") - exact) <= 0.02 * scale + 1e-6).all()
