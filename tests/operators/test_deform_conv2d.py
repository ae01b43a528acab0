"""`deform_conv2d`, and the reference's: against Conv2D, ONNX and each other; offsets on and off the grid; gradients."""

import functools
import importlib
import itertools

import keras
import numpy as np
import pytest
from as_used import as_used
from keras import ops

from deformconv import deform_conv2d, reference

BATCH, HEIGHT, WIDTH, CHANNELS, FILTERS = 3, 5, 4, 4, 6
KERNEL_SIZE, STRIDES, DILATION = (3, 2), (2, 1), (1, 2)
# The output's size for these, worked out by hand.
OUT_SIZE = {"valid": (2, 2), "same": (3, 4), 1: (3, 4), (1, 0): (3, 2), ((1, 0), (0, 2)): (2, 4)}
PADDINGS = ["valid", "same", 1, ((1, 0), (0, 2))]


def package(inputs, offsets, kernel, mask=None, bias=None, **options):
    """`deform_conv2d`, as it is used."""
    return as_used(functools.partial(deform_conv2d, **options))(inputs, offsets, kernel, mask=mask, bias=bias)


IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation", [reference.deform_conv2d, package], ids=["reference", "package"]
)
# Where TensorFlow's kernels are not compiled, float32 runs its own one, float64 the portable engine.
DTYPES = pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])


def arrays(rng, dtype="float64", padding="same", offset_groups=1, groups=1, batch=BATCH):
    """The five tensors of one call, offsets up to two pixels; `offsets` and `mask` fit STRIDES and DILATION."""
    channels = offset_groups * KERNEL_SIZE[0] * KERNEL_SIZE[1]
    shapes = {
        "inputs": (batch, HEIGHT, WIDTH, CHANNELS),
        "offsets": (batch, *OUT_SIZE[padding], 2 * channels),
        "kernel": (*KERNEL_SIZE, CHANNELS // groups, FILTERS),
        "mask": (batch, *OUT_SIZE[padding], channels),
        "bias": (FILTERS,),
    }
    return {name: rng.uniform(-2, 2, size=shape).astype(dtype) for name, shape in shapes.items()}


def off_the_grid(rng, shape):
    """Offsets of up to three pixels that stay clear of integers, where the derivative jumps."""
    return rng.integers(-3, 3, size=shape) + rng.uniform(0.1, 0.9, size=shape)


def conv2d(inputs, kernel, **options):
    """What `keras.layers.Conv2D` makes of `inputs` with this kernel."""
    layer = keras.layers.Conv2D(
        kernel.shape[-1],
        kernel.shape[:2],
        use_bias=False,
        dtype=inputs.dtype.name,
        data_format="channels_last",
        **options,
    )
    layer.build(inputs.shape)
    layer.kernel.assign(kernel)
    return ops.convert_to_numpy(layer(inputs))


@IMPLEMENTATIONS
@DTYPES
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "strides, dilation_rate",
    [(s, d) for s in [1, 2, (2, 1), (1, 3), (3, 2)] for d in [1, 2, (1, 2), (2, 3)] if s == 1 or d == 1],
)
def test_zero_offsets_give_conv2d(rng, implementation, dtype, tolerance, padding, groups, strides, dilation_rate):
    given = arrays(rng, dtype, groups=groups)
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation_rate, "groups": groups}
    expected = conv2d(given["inputs"], given["kernel"], **options)
    outputs = implementation(given["inputs"], np.zeros((*expected.shape[:3], 12), dtype), given["kernel"], **options)
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@IMPLEMENTATIONS
@DTYPES
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation_rate", list(itertools.product([2, (2, 1), (1, 3)], [2, (1, 2)])))
def test_zero_offsets_with_strides_and_dilation_give_every_so_many_pixels_of_conv2d(
    rng, implementation, dtype, tolerance, padding, strides, dilation_rate
):
    """Keras refuses the two together; but strides only skip pixels of the dilated convolution of stride 1."""
    given = arrays(rng, dtype)
    (step_y, step_x), (rate_y, rate_x) = np.broadcast_to(strides, 2), np.broadcast_to(dilation_rate, 2)
    inputs = given["inputs"]
    if padding == "same":
        for axis, step, rate, taps in ((1, step_y, rate_y, KERNEL_SIZE[0]), (2, step_x, rate_x, KERNEL_SIZE[1])):
            size = inputs.shape[axis]
            missing = max((-(-size // step) - 1) * step + (taps - 1) * rate + 1 - size, 0)
            pads = [(0, 0)] * 4
            pads[axis] = (missing // 2, missing - missing // 2)
            inputs = np.pad(inputs, pads)
    expected = conv2d(inputs, given["kernel"], dilation_rate=dilation_rate)[:, ::step_y, ::step_x]
    outputs = implementation(
        given["inputs"],
        np.zeros((*expected.shape[:3], 12), dtype),
        given["kernel"],
        strides=strides,
        padding=padding,
        dilation_rate=dilation_rate,
    )
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@IMPLEMENTATIONS
@DTYPES
def test_strides_that_outrun_the_kernel_take_nothing_off_the_input(rng, implementation, dtype, tolerance):
    inputs = rng.normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype(dtype)
    kernel = rng.normal(size=(1, 1, CHANNELS, FILTERS)).astype(dtype)
    expected = conv2d(inputs, kernel, strides=3, padding="same")
    outputs = implementation(inputs, np.zeros((BATCH, 2, 2, 2), dtype), kernel, strides=3, padding="same")
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@IMPLEMENTATIONS
@DTYPES
@pytest.mark.parametrize("padding", [0, 1, 2, ((1, 0), (0, 2)), ((0, 3), (2, 1)), [[1, 2], [3, 0]]])
@pytest.mark.parametrize("options", [{}, {"strides": (2, 3)}, {"dilation_rate": (1, 2)}, {"groups": 2}], ids=str)
def test_explicit_padding_is_zeros_around_the_input(rng, implementation, dtype, tolerance, padding, options):
    given = arrays(rng, dtype, groups=options.get("groups", 1))
    rows, columns = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    padded = np.pad(given["inputs"], ((0, 0), rows, columns, (0, 0)))
    expected = conv2d(padded, given["kernel"], **options)
    offsets = np.zeros((*expected.shape[:3], 12), dtype)
    outputs = implementation(given["inputs"], offsets, given["kernel"], padding=padding, **options)
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@IMPLEMENTATIONS
@DTYPES
@pytest.mark.parametrize("dy, dx", [(1, 0), (0, 1), (-1, 2), (3, -2), (-4, 0), (0, 4), (-9, 1)])
def test_integer_offsets_shift_the_input(rng, implementation, dtype, tolerance, dy, dx):
    given = arrays(rng, dtype)
    margin = 10
    padded = np.pad(given["inputs"], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    shifted = padded[:, margin + dy :, margin + dx :][:, :HEIGHT, :WIDTH]
    expected = conv2d(shifted, given["kernel"])
    offsets = np.tile(np.array([dy, dx], dtype), (*expected.shape[:3], 6))
    outputs = implementation(given["inputs"], offsets, given["kernel"])
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("offset_groups", [1, 2, 4])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("extras", [(), ("mask", "bias")], ids=["plain", "mask and bias"])
def test_everything_at_once_is_what_the_reference_gives(rng, dtype, tolerance, padding, offset_groups, groups, extras):
    given = arrays(rng, dtype, padding, offset_groups, groups)
    options = {"strides": STRIDES, "padding": padding, "dilation_rate": DILATION, "groups": groups}
    options |= {name: given[name] for name in extras}
    outputs = package(given["inputs"], given["offsets"], given["kernel"], **options)
    assert outputs.shape == (BATCH, *OUT_SIZE[padding], FILTERS)
    assert dtype in str(outputs.dtype)
    expected = reference.deform_conv2d(given["inputs"], given["offsets"], given["kernel"], **options)
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("size", [(1, WIDTH), (HEIGHT, 1), (1, 1)])
@pytest.mark.parametrize("offset_groups", [1, 2])
def test_height_one_and_width_one_work(rng, dtype, tolerance, size, offset_groups):
    inputs = rng.normal(size=(BATCH, *size, CHANNELS)).astype(dtype)
    kernel = rng.normal(size=(*KERNEL_SIZE, CHANNELS, FILTERS)).astype(dtype)
    offsets = rng.uniform(-2, 2, size=(BATCH, *size, 12 * offset_groups)).astype(dtype)
    outputs = package(inputs, offsets, kernel, padding="same")
    expected = reference.deform_conv2d(inputs, offsets, kernel, padding="same")
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset_groups, groups", [(1, 1), (2, 2)])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_an_empty_batch_gives_an_empty_output_and_zero_gradients(
    request, rng, gradients, dtype, offset_groups, groups, graph
):
    given = arrays(rng, dtype, "valid", offset_groups, groups, batch=0)

    def call(inputs, offsets, kernel, mask):
        return deform_conv2d(inputs, offsets, kernel, mask=mask, strides=STRIDES, dilation_rate=DILATION, groups=groups)

    tensors = [given[name] for name in ("inputs", "offsets", "kernel", "mask")]
    if graph:
        tf = request.getfixturevalue("tf")
        signature = [tf.TensorSpec([None, *t.shape[1:]], dtype) for t in tensors]
        signature[2] = tf.TensorSpec(tensors[2].shape, dtype)
        call = tf.function(call, input_signature=signature)
    assert call(*tensors).shape == (0, 2, 2, FILTERS)
    by_kernel = gradients(call, np.zeros((0, 2, 2, FILTERS)), *tensors)[2]
    np.testing.assert_array_equal(by_kernel, np.zeros(by_kernel.shape))


@DTYPES
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_sizes_that_only_the_running_graph_knows_work(tf, rng, dtype, tolerance, padding):
    given = arrays(rng, dtype, padding, offset_groups=2)
    options = {"strides": STRIDES, "padding": padding, "dilation_rate": DILATION}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, CHANNELS], dtype),
            tf.TensorSpec([None, None, None, 24], dtype),
            tf.TensorSpec([None, None, None, 12], dtype),
        ]
    )
    def call(inputs, offsets, mask):
        return deform_conv2d(inputs, offsets, given["kernel"], mask=mask, **options)

    outputs = call(given["inputs"], given["offsets"], given["mask"])
    expected = reference.deform_conv2d(
        given["inputs"], given["offsets"], given["kernel"], mask=given["mask"], **options
    )
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coordinate", [0, 1], ids=["y", "x"])
def test_a_nan_offset_makes_nan_of_its_own_output_pixel_and_of_no_other(rng, dtype, coordinate):
    given = arrays(rng, dtype, "same")
    given["offsets"][1, 2, 0, 2 * 4 + coordinate] = np.nan
    outputs = np.asarray(
        deform_conv2d(
            given["inputs"], given["offsets"], given["kernel"], strides=STRIDES, padding="same", dilation_rate=DILATION
        )
    )
    spoilt = np.zeros(outputs.shape, bool)
    spoilt[1, 2, 0] = True
    np.testing.assert_array_equal(np.isnan(outputs), spoilt)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("far", [1e30, -1e30, np.inf, -np.inf])
@pytest.mark.parametrize("coordinate", [0, 1], ids=["y", "x"])
def test_a_far_out_or_infinite_offset_takes_its_tap_away_and_leaves_gradients_finite(
    rng, gradients, dtype, tolerance, far, coordinate
):
    given = arrays(rng, dtype, "same")
    tap = 4
    given["offsets"][1, 2, 0, 2 * tap + coordinate] = far
    options = {"strides": STRIDES, "padding": "same", "dilation_rate": DILATION}

    def call(inputs, offsets, kernel):
        return deform_conv2d(inputs, offsets, kernel, **options)

    tensors = [given[name] for name in ("inputs", "offsets", "kernel")]
    without_tap = np.ones(given["mask"].shape)
    without_tap[1, 2, 0, tap] = 0
    at_rest = np.where(np.isfinite(given["offsets"]) & (abs(given["offsets"]) < 9), given["offsets"], 0)
    expected = reference.deform_conv2d(given["inputs"], at_rest, given["kernel"], mask=without_tap, **options)
    np.testing.assert_allclose(as_used(call)(*tensors), expected, rtol=tolerance, atol=tolerance)

    by_all = gradients(call, rng.normal(size=expected.shape), *tensors)
    assert all(np.isfinite(by_one).all() for by_one in by_all)
    np.testing.assert_array_equal(by_all[1][1, 2, 0, 2 * tap : 2 * tap + 2], 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_finds_its_pixel_in_a_wide_image(dtype):
    """bfloat16 counts to 256, float16 to 2048: the taps' places are added up in float32."""
    columns = np.arange(2100)
    inputs = ops.cast((columns % 7).reshape(1, 1, -1, 1), dtype)
    offsets = ops.cast(np.tile([0, 0.25], (1, 1, 2100, 1)), dtype)
    outputs = deform_conv2d(inputs, offsets, np.ones((1, 1, 1, 1)))
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected = 0.75 * (columns % 7) + 0.25 * ((columns + 1) % 7) * (columns < 2099)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs).astype("float32").ravel(), expected, atol=0.02)


@functools.cache
def onnx_cases():
    """What `collect_testcases` keeps for this operator, without its seconds of work on all the others."""
    node = pytest.importorskip("onnx.backend.test.case.node")
    importlib.import_module("onnx.backend.test.case.node.deformconv")
    return {case.name: case for case in node._NodeTestCases if "deform_conv" in case.name}


@IMPLEMENTATIONS
@pytest.mark.parametrize(
    "name",
    [
        "test_basic_deform_conv_with_padding",
        "test_basic_deform_conv_without_padding",
        "test_deform_conv_with_mask_bias",
        "test_deform_conv_with_multiple_offset_groups",
    ],
)
def test_the_node_cases_of_onnx_agree(implementation, name):
    case = onnx_cases()[name]
    (node,) = case.model.graph.node
    attributes = {attribute.name: list(attribute.ints) or attribute.i for attribute in node.attribute}
    ((values, (expected,)),) = case.data_sets
    given = dict(zip(["X", "W", "offset", "B", "mask"], values, strict=False))
    top, left, bottom, right = attributes["pads"]
    outputs = implementation(
        np.moveaxis(given["X"], 1, -1),
        np.moveaxis(given["offset"], 1, -1),
        given["W"].transpose(2, 3, 1, 0),  # OIHW
        mask=np.moveaxis(given["mask"], 1, -1) if "mask" in given else None,
        bias=given.get("B"),
        padding=((top, bottom), (left, right)),
    )
    offset_groups = given["offset"].shape[1] // (2 * given["W"].shape[2] * given["W"].shape[3])
    assert offset_groups == attributes.get("offset_group", 1)
    np.testing.assert_allclose(outputs, np.moveaxis(expected, 1, -1), rtol=1e-5, atol=1e-6)


# Gradients


def call_with(padding, groups):
    """`deform_conv2d` of the five tensors in the order of `arrays`."""

    def call(inputs, offsets, kernel, mask, bias):
        return deform_conv2d(
            inputs,
            offsets,
            kernel,
            mask=mask,
            bias=bias,
            strides=STRIDES,
            padding=padding,
            dilation_rate=DILATION,
            groups=groups,
        )

    return as_used(call)


GROUPINGS = pytest.mark.parametrize("offset_groups, groups", [(1, 1), (2, 1), (1, 2), (4, 2)])


@GROUPINGS
@pytest.mark.parametrize("padding", ["same", ((1, 0), (0, 2))], ids=str)
def test_gradients_by_every_tensor_are_central_differences_off_the_grid(rng, gradients, padding, offset_groups, groups):
    """Each tensor is moved along random directions: a gradient with a wrong element agrees along none of them."""
    given = arrays(rng, "float64", padding, offset_groups, groups)
    given["offsets"] = off_the_grid(rng, given["offsets"].shape)
    call = call_with(padding, groups)
    upstream = rng.normal(size=(BATCH, *OUT_SIZE[padding], FILTERS))
    by_all = gradients(call, upstream, *given.values())
    for (name, tensor), by_one in zip(given.items(), by_all, strict=True):
        for _ in range(2):
            step = 1e-4 * rng.uniform(-1, 1, size=tensor.shape)
            ahead, behind = (
                np.sum(upstream * np.asarray(call(**(given | {name: moved}))))
                for moved in (tensor + step, tensor - step)
            )
            np.testing.assert_allclose(np.sum(by_one * step), (ahead - behind) / 2, rtol=1e-6, err_msg=name)


@GROUPINGS
@pytest.mark.parametrize("coordinate", [0, 1], ids=["by y", "by x"])
def test_on_the_grid_the_offset_derivative_is_the_right_hand_difference(
    rng, gradients, offset_groups, groups, coordinate
):
    """Integer offsets put taps on pixels, on -1 and on the border. To the right the output is linear in all y,
    and in all x: the difference is exact."""
    given = arrays(rng, "float64", "same", offset_groups, groups)
    given["offsets"] = rng.integers(-3, 4, size=given["offsets"].shape).astype("float64")
    call = call_with("same", groups)
    upstream = rng.normal(size=(BATCH, *OUT_SIZE["same"], FILTERS))
    by_offsets = gradients(call, upstream, *given.values())[1]
    step = np.zeros(given["offsets"].shape)
    step[..., coordinate::2] = rng.uniform(0.1, 0.9, size=step[..., coordinate::2].shape)
    ahead, here = map(np.asarray, (call(**(given | {"offsets": given["offsets"] + step})), call(**given)))
    np.testing.assert_allclose(np.sum(by_offsets * step), np.sum(upstream * (ahead - here)), rtol=1e-9)


@GROUPINGS
@pytest.mark.parametrize("kind", ["off the grid", "on the grid", "zero"])
def test_float32_gradients_are_the_float64_ones(rng, gradients, offset_groups, groups, kind):
    given = arrays(rng, "float32", "same", offset_groups, groups)
    shape = given["offsets"].shape
    offsets = {"off the grid": off_the_grid(rng, shape), "on the grid": rng.integers(-3, 4, size=shape)}
    given["offsets"] = offsets.get(kind, np.zeros(shape)).astype("float32")
    call = call_with("same", groups)
    upstream = rng.normal(size=(BATCH, *OUT_SIZE["same"], FILTERS)).astype("float32")
    in_float32 = gradients(call, upstream, *given.values())
    in_float64 = gradients(call, upstream, *(tensor.astype("float64") for tensor in given.values()))
    for name, got, expected in zip(given, in_float32, in_float64, strict=True):
        assert got.dtype == "float32"
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4, err_msg=name)
    assert np.abs(in_float32[1]).max() > 1  # alive, at zero offsets too
