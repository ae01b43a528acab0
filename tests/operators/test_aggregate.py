"""`deform_aggregate2d`: a deformable convolution with a depthwise kernel of ones, and nothing else."""

import numpy as np
import pytest
from as_used import as_used
from keras import ops

from deformconv import deform_conv2d
from deformconv.operators.aggregate import deform_aggregate2d

ARGUMENTS = [
    {"kernel_size": (3, 2), "strides": (2, 1), "padding": "same", "dilation_rate": (1, 2)},
    {"kernel_size": (2, 3), "strides": 1, "padding": ((1, 0), (2, 1)), "dilation_rate": 1},
]


@pytest.mark.parametrize("arguments, out_size", zip(ARGUMENTS, [(3, 4), (5, 5)], strict=True))
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("batch", [0, 2])
def test_it_is_a_depthwise_convolution_with_a_kernel_of_ones(rng, gradients, arguments, out_size, groups, batch):
    inputs = rng.normal(size=(batch, 5, 4, 6))
    offsets = rng.normal(size=(batch, *out_size, groups * 12))
    mask = rng.normal(size=(batch, *out_size, groups * 6))
    options = {name: value for name, value in arguments.items() if name != "kernel_size"}
    kernel = np.ones((*arguments["kernel_size"], 1, 6))

    def by_convolution(inputs, offsets, mask):
        return deform_conv2d(inputs, offsets, kernel, mask=mask, groups=6, **options)

    def aggregate(inputs, offsets, mask):
        return deform_aggregate2d(inputs, offsets, mask, **arguments)

    tensors = [ops.convert_to_tensor(array) for array in (inputs, offsets, mask)]
    got, expected = (as_used(function)(*tensors) for function in (aggregate, by_convolution))
    assert got.shape == expected.shape == (batch, *out_size, 6)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    upstream = rng.normal(size=got.shape)
    by_each = (gradients(function, upstream, inputs, offsets, mask) for function in (aggregate, by_convolution))
    for one, other in zip(*by_each, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


SHAPES = {"inputs": (3, 5, 4, 6), "offsets": (3, 3, 4, 36), "mask": (3, 3, 4, 18)}


@pytest.mark.parametrize(
    "name, shape, words",
    [
        ("inputs", (5, 4, 6), r"`inputs` must have shape \(batch, height, width, channels\).*\(5, 4, 6\).*batch axis"),
        (
            "inputs",
            (3, 5, 4, 4),
            r"`offsets` must have as many offset groups as divide the 4 channels.*3 offset groups",
        ),
        ("inputs", (2, 5, 4, 6), r"`offsets` must have batch, height and width \(2, 3, 4\).*The batch differs"),
        ("offsets", (3, 4, 36), r"`offsets` must have shape \(batch, out_height.*received shape \(3, 4, 36\)"),
        ("offsets", (3, 3, 4, 35), r"`offsets` must have offset_groups \* kh \* kw \* 2.*of 12.*received 35"),
        ("offsets", (3, 5, 4, 36), r"`offsets` must have batch.*\(3, 3, 4\).*size of `inputs`"),
        (
            "mask",
            (3, 3, 4, 6),
            r"`mask` must have.*here 18.*received shape \(3, 3, 4, 6\).*Each of the 3 offset groups",
        ),
        ("mask", (3, 4, 3, 18), r"`mask` must have batch.*\(3, 3, 4\).*look swapped"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, shape, words):
    tensors = {each: np.zeros(shape if each == name else own) for each, own in SHAPES.items()}
    with pytest.raises(ValueError, match=words):
        deform_aggregate2d(**tensors, **ARGUMENTS[0])
