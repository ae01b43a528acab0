"""The compiled kernels on the engine at hand: against the portable engine, whatever the sizes, types and groups."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from deformconv.engines import columns, grouped, native, portable

binding = native.kernels()
if not binding:
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

TENSORS = ("inputs", "offsets", "kernel", "mask")


def convolution(rng, batch, size, channels, filters, offset_groups, groups, masked):
    """Arrays and options of one convolution with a 3 x 2 kernel, strides, dilation and padding; offsets reach out."""
    out_size = ((size[0] + 3 - 3) // 2 + 1, size[1] + 2 - 3 + 1)
    options = {"strides": (2, 1), "pads": (2, 1), "dilation_rate": (1, 2), "out_size": out_size, "bias": None}
    options |= {"groups": groups, "offset_groups": offset_groups}
    arrays = [
        rng.normal(size=(batch, *size, channels)),
        rng.normal(scale=2, size=(batch, *out_size, 12 * offset_groups)),
        rng.normal(size=(3, 2, channels // groups, filters)),
    ]
    if masked:
        arrays.append(rng.normal(size=(batch, *out_size, 6 * offset_groups)))

    def function(convolve):
        return lambda *tensors: convolve(**{"mask": None} | dict(zip(TENSORS, tensors, strict=False)), **options)

    return arrays, rng.normal(size=(batch, *out_size, filters)), function(binding.convolve), function(by_columns)


def by_columns(**arguments):
    return columns.convolve(portable.sample, **arguments)


def aggregation(rng, batch, size, channels, rows, groups, taps):
    arrays = [
        rng.normal(size=(batch, *size, channels)),
        rng.uniform(-2, max(size) + 1, size=(batch, rows, groups, taps, 2)),
        rng.normal(size=(batch, rows, groups, taps)),
    ]
    upstream = rng.normal(size=(batch, rows, channels))
    return arrays, upstream, binding.aggregate, lambda *tensors: grouped.aggregate(portable.sample, *tensors)


def sampling(rng, batch, size, channels, rows, groups):
    arrays = [rng.normal(size=(batch, *size, channels)), rng.uniform(-2, 8, size=(batch, rows, groups, 2))]
    upstream = rng.normal(size=(batch, rows, channels))
    return arrays, upstream, binding.sample, lambda *tensors: grouped.sample(portable.sample, *tensors)


# Channels and filters that fill vectors and tiles, and that leave some over; more threads than images and fewer; a
# kernel too large for the cache; groups of the kernel that share offsets and that do not; depthwise.
CONVOLUTIONS = [
    (1, (7, 5), 64, 64, 1, 1),
    (3, (7, 5), 37, 19, 1, 1),
    (1, (6, 9), 48, 130, 3, 1),
    (2, (30, 17), 16, 5, 2, 1),
    (5, (4, 3), 2, 1, 2, 1),
    (2, (9, 7), 170, 260, 1, 1),
    (2, (9, 7), 24, 20, 1, 4),
    (1, (9, 7), 24, 24, 3, 4),
    (1, (9, 7), 48, 6, 4, 3),
    (3, (5, 6), 12, 12, 1, 12),
    (1, (5, 6), 40, 80, 4, 40),
]
# A channel for each point, which has a way of its own; usual counts of channels and others.
AGGREGATIONS = [
    (1, (5, 4), 16, 7, 1, 1),
    (3, (5, 6), 12, 7, 3, 5),
    (2, (6, 7), 64, 40, 4, 9),
    (1, (6, 7), 37, 20, 37, 3),
]
SAMPLINGS = [(3, (5, 6), 4, 11, 1), (2, (5, 6), 24, 11, 24), (1, (5, 6), 48, 11, 3)]
CASES = [
    *((convolution, *case, masked) for case, masked in itertools.product(CONVOLUTIONS, (False, True))),
    *((aggregation, *case) for case in AGGREGATIONS),
    *((sampling, *case) for case in SAMPLINGS),
]


def parametrize(cases):
    return pytest.mark.parametrize(
        "make, case", [pytest.param(make, case, id=f"{make.__name__} {case}") for make, *case in cases]
    )


def agree(got, expected, tolerance, name=""):
    got, expected = (ops.convert_to_numpy(ops.cast(tensor, "float64")) for tensor in (got, expected))
    np.testing.assert_allclose(got, expected, atol=tolerance * max(np.abs(expected).max(), 1e-3), err_msg=str(name))


@parametrize(CASES)
def test_values_and_gradients_in_float64_are_the_portable_ones(rng, gradients, make, case):
    arrays, upstream, native_function, portable_function = make(rng, *case)
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    agree(native_function(*tensors), portable_function(*tensors), 1e-13)
    pairs = zip(*(gradients(f, upstream, *arrays) for f in (native_function, portable_function)), strict=True)
    for number, (got, expected) in enumerate(pairs):
        agree(got, expected, 1e-13, number)


# Sums are in float32 whatever the images are: what is lost is in the numbers that go in and come out.
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 3e-3)])
@parametrize(CASES[1::3])
def test_other_types_are_read_and_written_as_they_are(rng, gradients, dtype, tolerance, make, case):
    arrays, upstream, native_function, portable_function = make(rng, *case)
    as_given = [ops.cast(array, "float32" if number == 1 else dtype) for number, array in enumerate(arrays)]
    made = native_function(*as_given)
    assert keras.backend.standardize_dtype(made.dtype) == dtype
    exact = [ops.convert_to_numpy(ops.cast(tensor, "float64")) for tensor in as_given]
    agree(made, portable_function(*map(ops.convert_to_tensor, exact)), tolerance)
    if dtype == "float32":
        upstream = upstream.astype("float32")
    upstream = ops.convert_to_numpy(ops.cast(ops.cast(upstream, dtype), "float64"))
    found = gradients.as_tensors(native_function, upstream, *as_given)
    for number, (got, expected) in enumerate(zip(found, gradients(portable_function, upstream, *exact), strict=True)):
        assert keras.backend.standardize_dtype(got.dtype) == ("float32" if number == 1 else dtype)
        agree(got, expected, tolerance, number)


@parametrize(
    [
        (convolution, 2, (5, 4), 4, 3, 2, 1, True),
        (convolution, 1, (5, 4), 4, 6, 1, 2, False),
        (convolution, 1, (5, 4), 4, 4, 2, 4, True),
        (aggregation, 2, (5, 4), 6, 5, 3, 2),
        (sampling, 2, (5, 4), 3, 5, 3),
    ]
)
def test_second_derivatives_are_the_portable_ones(rng, gradients, make, case):
    arrays, upstream, native_function, portable_function = make(rng, *case)
    directions = [ops.convert_to_tensor(rng.normal(size=array.shape)) for array in arrays]

    def second(function):
        def along(*tensors):
            first = gradients.as_tensors(function, upstream, *tensors)
            return sum(ops.sum(gradient * direction) for gradient, direction in zip(first, directions, strict=True))

        return gradients(along, np.ones(()), *arrays)

    for number, (got, expected) in enumerate(zip(second(native_function), second(portable_function), strict=True)):
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(got, expected, atol=1e-11, err_msg=str(number))


def test_what_lies_outside_is_zero_even_beside_what_is_not_finite(rng):
    """An infinite coordinate reads 0, an undefined one NaN, and an undefined pixel is seen by its neighbours alone."""
    images = rng.normal(size=(1, 4, 5, 3)).astype("float32")
    images[0, 0, 0] = np.inf
    places = np.array([[np.inf, 1], [1, -np.inf], [np.nan, 1], [-7, 2], [2.5, 3.5], [0.5, 0.5]], "float32")
    for groups in (1, 3):
        coords = np.repeat(places[None, :, None], groups, axis=2)
        got = ops.convert_to_numpy(binding.sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords)))[0]
        assert (got[[0, 1, 3]] == 0).all() and np.isnan(got[2]).all() and np.isinf(got[5]).all()
        np.testing.assert_allclose(got[4], images[0, 2:4, 3:5].mean(axis=(0, 1)), rtol=1e-5)
