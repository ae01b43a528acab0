"""A thousand random calls against onnxruntime's `DeformConv`: another team's code, in another language."""

from functools import partial

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import ops

from deformconv import deform_conv2d
from deformconv.engines import native

# JAX compiles anew for each shape, and takes its time over the portable layer: there a fifth of the calls.
COMPILES = keras.backend.backend() == "jax" and native.kernels() is None
BLOCKS, CALLS_A_BLOCK = (10 if COMPILES else 50), 20


def deform(call, options):
    """`deform_conv2d`; on JAX compiled as a whole, which takes less time than step by step."""
    function = partial(deform_conv2d, **options)
    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    return ops.convert_to_numpy(function(**call))


def random_call(rng):
    """Arguments of `deform_conv2d` that fit together, as float32 arrays and ints; nothing square."""
    while True:
        size, kernel_size = rng.integers(1, 9, size=2), rng.integers(1, 4, size=2)
        strides, dilation = rng.integers(1, 4, size=2), rng.integers(1, 4, size=2)
        pads = rng.integers(0, 4, size=(2, 2))
        out_size = (size + pads.sum(axis=1) - (kernel_size - 1) * dilation - 1) // strides + 1
        # A plain 1 x 1 kernel is square but welcome; otherwise height and width differ everywhere.
        if (out_size >= 1).all() and size[0] != size[1] and out_size[0] != out_size[1]:
            break
    batch, groups, offset_groups = rng.choice([0, 1, 3], p=[0.05, 0.45, 0.5]), *rng.integers(1, 4, size=2)
    channels, filters = np.lcm(groups, offset_groups) * rng.integers(1, 3), groups * rng.integers(1, 4)
    taps = offset_groups * kernel_size.prod()
    reach = rng.choice([0, 0.5, 3, 12, 1e6])
    offsets = rng.uniform(-reach, reach, size=(batch, *out_size, 2 * taps))
    if rng.random() < 0.25:
        offsets = np.round(offsets)
    call = {
        "inputs": rng.uniform(-1, 1, size=(batch, *size, channels)),
        "offsets": offsets,
        "kernel": rng.uniform(-1, 1, size=(*kernel_size, channels // groups, filters)),
        "mask": rng.uniform(0, 2, size=(batch, *out_size, taps)) if rng.random() < 0.5 else None,
        "bias": rng.uniform(-1, 1, size=filters) if rng.random() < 0.5 else None,
    }
    options = {
        "strides": tuple(map(int, strides)),
        "padding": tuple(tuple(map(int, pad)) for pad in pads),
        "dilation_rate": tuple(map(int, dilation)),
        "groups": int(groups),
    }
    return {name: None if array is None else array.astype("float32") for name, array in call.items()}, options


def by_onnxruntime(call, options):
    """The same call as a model of one `DeformConv` node; images first to channels first, then back."""
    channels_first = (0, 3, 1, 2)
    feed = {
        "X": call["inputs"].transpose(channels_first),
        "W": call["kernel"].transpose(3, 2, 0, 1),
        "offset": call["offsets"].transpose(channels_first),
        "B": call["bias"],
        "mask": None if call["mask"] is None else call["mask"].transpose(channels_first),
    }
    (top, bottom), (left, right) = options["padding"]
    node = onnx.helper.make_node(
        "DeformConv",
        [name if array is not None else "" for name, array in feed.items()],
        ["Y"],
        kernel_shape=call["kernel"].shape[:2],
        strides=options["strides"],
        dilations=options["dilation_rate"],
        pads=(top, left, bottom, right),
        group=options["groups"],
        offset_group=call["offsets"].shape[-1] // (2 * np.prod(call["kernel"].shape[:2])),
    )
    feed = {name: np.ascontiguousarray(array) for name, array in feed.items() if array is not None}
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "one_node",
        [make(name, onnx.TensorProto.FLOAT, array.shape) for name, array in feed.items()],
        [make("Y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), threads, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_calls_agree(block):
    rng = np.random.default_rng(block)
    for number in range(CALLS_A_BLOCK):
        call, options = random_call(rng)
        outputs = deform(call, options)
        expected = by_onnxruntime(call, options)
        shapes = {name: array.shape for name, array in call.items() if array is not None}
        assert outputs.shape == expected.shape, (number, shapes, options)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5, err_msg=f"{number}: {shapes} {options}")


def test_the_random_calls_reach_every_option():
    """The generator is worth what it covers: each option must be frequent enough to be met with each other one."""
    rng = np.random.default_rng(0)
    calls = [random_call(rng) for _ in range(1000)]
    seen = {
        "batch 0": [c["inputs"].shape[0] == 0 for c, _ in calls],
        "mask": [c["mask"] is not None for c, _ in calls],
        "bias": [c["bias"] is not None for c, _ in calls],
        "groups": [o["groups"] > 1 for _, o in calls],
        "offset groups": [c["offsets"].shape[-1] > 2 * np.prod(c["kernel"].shape[:2]) for c, _ in calls],
        "strides": [max(o["strides"]) > 1 for _, o in calls],
        "dilation": [max(o["dilation_rate"]) > 1 for _, o in calls],
        "asymmetric pads": [any(a != b for a, b in o["padding"]) for _, o in calls],
        "zero offsets": [not c["offsets"].any() and c["offsets"].size > 0 for c, _ in calls],
        "far out": [np.abs(c["offsets"]).max(initial=0) > 1e4 for c, _ in calls],
    }
    for option, met in seen.items():
        assert 30 < sum(met) < 970, option
    assert all(c["inputs"].shape[1] != c["inputs"].shape[2] for c, _ in calls)
