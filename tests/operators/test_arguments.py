"""Bad input to `deform_conv2d` is refused at entry: the argument, what was expected, what came, the likely slip."""

import re

import numpy as np
import pytest
from keras import ops

from deformconv import deform_conv2d
from deformconv.arguments import output_size
from deformconv.operators.aggregate import deform_aggregate2d

# Fits: a 5 x 4 input, a 3 x 2 kernel, stride (2, 1) and dilation (1, 2) give a 2 x 2 output; see `test_operators`.
SHAPES = {"inputs": (3, 5, 4, 4), "offsets": (3, 2, 2, 12), "kernel": (3, 2, 4, 6)}
OPTIONS = {"strides": (2, 1), "dilation_rate": (1, 2)}
PLAIN = {"strides": 1, "dilation_rate": 1}


def call(**changes):
    """`deform_conv2d` of zeros with the shapes and options above, but for the changes: shapes of tensors, options."""
    tensors, options = dict(SHAPES), dict(OPTIONS)
    for name, value in changes.items():
        (tensors if name in (*SHAPES, "mask", "bias") else options)[name] = value
    return deform_conv2d(**{name: np.zeros(shape, "float32") for name, shape in tensors.items()}, **options)


def test_the_call_that_the_others_spoil_is_a_good_one():
    assert call(mask=(3, 2, 2, 6), bias=(6,)).shape == (3, 2, 2, 6)


@pytest.mark.parametrize(
    "changes, words",
    [
        # ranks
        ({"inputs": (5, 4, 4)}, r"`inputs` must have shape \(batch, height, width, channels\).*shape \(5, 4, 4\)"),
        ({"offsets": (2, 2, 12)}, r"`offsets` must have shape \(batch, out_height, .*shape \(2, 2, 12\)"),
        ({"kernel": (3, 2, 4)}, r"`kernel` must have shape \(kh, kw, channels // groups, filters\).*shape \(3, 2, 4\)"),
        # sizes
        ({"inputs": (3, 2, 4, 4), "offsets": (3, 0, 2, 12)}, r"at least as large as the dilated kernel.*\(2, 4\)"),
        ({"inputs": (3, 5, 2, 4), "offsets": (3, 2, 0, 12)}, r"at least as large as the dilated kernel.*\(5, 2\)"),
        # groups
        ({"groups": 4}, r"`groups` must be a positive int that divides the 6 filters.*received 4"),
        ({"groups": 0}, r"`groups` must be a positive int.*received 0"),
        ({"groups": 1.0}, r"`groups` must be a positive int.*received 1\.0"),
        # channels of the inputs
        (
            {"inputs": (3, 5, 4, 7)},
            r"`inputs` must have 4 channels.*groups=1.*received shape \(3, 5, 4, 7\)\. Was the kernel",
        ),
        ({"inputs": (3, 4, 5, 7)}, r"`inputs` must have 4 channels.*channels first\? Move the channels to the end"),
        ({"groups": 2}, r"`inputs` must have 8 channels.*\(3, 2, 4, 6\) with groups=2"),
        # channels of the offsets
        ({"offsets": (3, 2, 2, 13)}, r"`offsets` must have offset_groups \* kh \* kw \* 2.*of 12.*received 13\.$"),
        ({"offsets": (3, 2, 2, 0)}, r"`offsets`.*a multiple of 12 for a 3 x 2 kernel; received 0"),
        ({"offsets": (3, 12, 2, 2)}, r"`offsets`.*received 2\..*second axis.*channels first\?"),
        ({"offsets": (3, 2, 2, 6)}, r"`offsets`.*received 6\..*one value a tap: y and x are needed"),
        ({"offsets": (3, 2, 2, 18)}, r"`offsets`.*received 18\..*offsets and mask together.*`mask`"),
        ({"offsets": (3, 2, 2, 8)}, r"`offsets`.*received 8\. That would fit a 2 x 2 kernel"),
        ({"offsets": (3, 2, 2, 50)}, r"`offsets`.*received 50\. That would fit a 5 x 5 kernel"),
        (
            {"offsets": (3, 2, 2, 36)},
            r"`offsets`.*divide the 4 channels of `inputs`; received 36 channels.*3 offset groups",
        ),
        # sizes of the offsets
        (
            {"offsets": (1, 2, 2, 12)},
            r"`offsets` must have batch, height and width \(3, 2, 2\).*\(1, 2, 2, 12\)\. The batch",
        ),
        ({"offsets": (3, 3, 2, 12)}, r"`offsets` must have batch, height and width \(3, 2, 2\).*\(3, 3, 2, 12\)\.$"),
        ({"offsets": (3, 2, 3, 12), "strides": 1}, r"`offsets`.*\(3, 3, 2\).*Height and width look swapped"),
        ({"offsets": (3, 5, 4, 12)}, r"`offsets`.*\(3, 2, 2\).*size of `inputs`: check strides and padding"),
        (
            {"offsets": (1, 5, 4, 12), "padding": "same", **PLAIN},
            r"`offsets`.*\(3, 5, 4\).*\(1, 5, 4, 12\)\. The batch",
        ),
        # mask and bias
        ({"mask": (2, 2, 6)}, r"`mask` must have shape \(batch, out_height, out_width,.*received shape \(2, 2, 6\)"),
        ({"mask": (3, 2, 2, 12)}, r"`mask` must have.*channels, here 6, half those of `offsets`.*\(3, 2, 2, 12\)"),
        ({"mask": (3, 4, 2, 6)}, r"`mask` must have batch, height and width \(3, 2, 2\).*\(3, 4, 2, 6\)"),
        ({"mask": (1, 2, 2, 6)}, r"`mask` must have batch, height and width \(3, 2, 2\).*\(1, 2, 2, 6\)"),
        ({"bias": (4,)}, r"`bias` must have shape \(6,\), one value a filter; received shape \(4,\)"),
        ({"bias": ()}, r"`bias` must have shape \(6,\)"),
        # strides, dilation, padding
        ({"strides": 0}, r"`strides` must be a positive int or a pair \(y, x\).*received 0"),
        ({"strides": (1, 2, 1)}, r"`strides` must be.*received \(1, 2, 1\)"),
        ({"strides": 1.5}, r"`strides` must be.*received 1\.5"),
        ({"dilation_rate": (1, -2)}, r"`dilation_rate` must be.*received \(1, -2\)"),
        ({"padding": "full"}, r"`padding` must be \"valid\", \"same\", an int >= 0.*received 'full'"),
        ({"padding": -1}, r"`padding` must be.*received -1\. To cut"),
        ({"padding": (1, 2)}, r"`padding` must be.*\(\(top, bottom\), \(left, right\)\); received \(1, 2\)"),
        ({"padding": ((1, 0), (0, -2))}, r"`padding` must be.*received \(\(1, 0\), \(0, -2\)\)"),
        ({"padding": ((1, 0), (0, 1.5))}, r"`padding` must be.*received \(\(1, 0\), \(0, 1\.5\)\)"),
        ({"padding": ((1, 0, 0), (0, 1))}, r"`padding` must be.*received \(\(1, 0, 0\), \(0, 1\)\)"),
        ({"padding": None}, r"`padding` must be.*received None"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_with_its_reason(changes, words):
    with pytest.raises(ValueError, match=words):
        call(**changes)


@pytest.mark.parametrize("known", [(None, 4), (5, None), (None, None)])
def test_a_size_that_only_the_running_graph_knows_fits_anything_at_entry(tf, known):
    """5 x 4 gives 3 x 3 with this kernel: 3 x 3 offsets pass, whatever is known; 3 x 9 do where the width is not."""
    graph = tf.function(lambda inputs, offsets: deform_conv2d(inputs, offsets, np.zeros((3, 2, 4, 6), "float32")))
    inputs = tf.TensorSpec([None, *known, 4])
    assert graph.get_concrete_function(inputs, tf.TensorSpec([None, 3, 3, 12]))
    too_wide = tf.TensorSpec([None, 3, 9, 12])
    if known[1] is None:
        assert graph.get_concrete_function(inputs, too_wide)
    else:
        with pytest.raises(ValueError, match=r"`offsets` must have batch, height and width \(None, None, 3\)"):
            graph.get_concrete_function(inputs, too_wide)


@pytest.mark.parametrize("function", ["conv", "sum"])
def test_sizes_that_have_names_alone_are_compared_by_them(jax, function):
    """In a program that JAX exports: a reshape would take height for width."""

    def call(inputs, offsets, mask):
        if function == "sum":
            return deform_aggregate2d(inputs, offsets, mask, kernel_size=(3, 2), padding="same")
        return deform_conv2d(inputs, offsets, np.zeros((3, 2, 4, 6), "float32"), mask=mask, padding="same")

    def export(offsets, mask):
        shapes = jax.export.symbolic_shape(f"b, h, w, 4, {offsets}, 12, {mask}, 6")
        tensors = [jax.ShapeDtypeStruct(shapes[i : i + 4], "float32") for i in (0, 4, 8)]
        return jax.export.export(jax.jit(call))(*tensors)

    right = "b, h, w"
    assert str(export(right, right).out_avals[0].shape[:3]) == "(b, h, w)"
    for wrong in ("b, w, h", "b, 1, 1", "1, h, w", "b, h + 1, w", "b, h2, w2"):
        for name, sizes in (("offsets", (wrong, right)), ("mask", (right, wrong))):
            words = rf"`{name}` must have batch, height and width \(b, h, w\).*received shape \({re.escape(wrong)}, "
            with pytest.raises(ValueError, match=words):
                export(*sizes)


@pytest.mark.parametrize(
    "size, kernel_size, stride, dilation, padding, expected",
    [
        (5, 3, 1, 1, "valid", (3, 0)),
        (5, 3, 2, 1, "valid", (2, 0)),
        (6, 3, 2, 1, "same", (3, 0)),  # the odd zero goes after
        (5, 3, 2, 1, "same", (3, 1)),
        (5, 2, 1, 3, "same", (5, 1)),
        (8, 1, 3, 1, "same", (3, 0)),  # strides that outrun the kernel take no zeros away
        (5, 3, 2, 2, (1, 3), (3, 1)),
        (1, 3, 1, 1, "same", (1, 1)),
    ],
)
def test_the_output_size_and_the_zeros_before_the_input_are_those_of_keras(
    size, kernel_size, stride, dilation, padding, expected
):
    assert output_size(size, kernel_size, stride, dilation, padding) == expected
    of_tensor = output_size(ops.convert_to_tensor(size), kernel_size, stride, dilation, padding)
    assert tuple(map(int, of_tensor)) == expected
