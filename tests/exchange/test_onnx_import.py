"""`import_onnx`: the layer computes what ONNX's own evaluator and onnxruntime make of the file."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

from deformconv import DeformableConv2D, export_onnx, import_onnx

onnx = pytest.importorskip("onnx")
evaluator = pytest.importorskip("onnx.reference")
helper = onnx.helper

HEIGHT, WIDTH, CHANNELS, FILTERS = 7, 6, 4, 6
KERNEL_SIZE = KH, KW = 3, 2
TAPS = KH * KW
GEOMETRIES = {
    "plain": {},
    "strides": {"strides": [2, 1], "pads": [1, 0, 0, 2]},
    "dilation": {"strides": [1, 2], "dilations": [2, 1], "pads": [0, 1, 3, 1]},
}


def drawn(rng, *shape):
    """Weights with which offsets are a pixel or two."""
    return (rng.normal(size=shape) * 1.5 / np.sqrt(max(np.prod(shape[1:]), 1))).astype("float32")


def conv(rng, name, made, given, **attributes):
    """A `Conv` node that makes `made` channels, and its weights."""
    weights = {f"{name}_w": drawn(rng, made, CHANNELS, *KERNEL_SIZE), f"{name}_b": drawn(rng, made)}
    return helper.make_node("Conv", ["x", *weights], [name], **given, **attributes), weights


def written(path, nodes, weights, image=("x", [None, CHANNELS, None, None])):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(image[0], onnx.TensorProto.FLOAT, image[1])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, path)
    return path


def deform(given, groups=1, offset_groups=1, mask=True, bias=True, image="x"):
    inputs = [image, "w", "offset", "b" if bias else "", *(["mask"] if mask else [])]
    return helper.make_node("DeformConv", inputs, ["y"], "deform", **given, group=groups, offset_group=offset_groups)


def kernel_and_bias(rng, groups=1):
    return {"w": drawn(rng, FILTERS, CHANNELS // groups, *KERNEL_SIZE), "b": drawn(rng, FILTERS)}


def check(path, rng, **arguments):
    """The layer of the file, after it has computed what others make of the file."""
    layer = import_onnx(path, **arguments)
    images = rng.normal(size=(3, CHANNELS, HEIGHT, WIDTH)).astype("float32")
    ours = ops.convert_to_numpy(layer(images.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    expected = [evaluator.ReferenceEvaluator(str(path)).run(None, {"x": images})]
    try:
        import onnxruntime
    except ImportError:
        pass
    else:
        expected.append(onnxruntime.InferenceSession(path).run(None, {"x": images}))
    for (theirs,) in expected:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    return layer


@pytest.mark.parametrize("groups, offset_groups", [(1, 1), (2, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("given", GEOMETRIES.values(), ids=GEOMETRIES)
def test_two_convolutions(rng, tmp_path, given, groups, offset_groups):
    offset, weights = conv(rng, "offset", 2 * TAPS * offset_groups, given)
    logits, more = conv(rng, "logits", TAPS * offset_groups, given)
    sigmoid = helper.make_node("Sigmoid", ["logits"], ["mask"])
    weights |= more | kernel_and_bias(rng, groups)
    path = written(tmp_path / "m", [offset, logits, sigmoid, deform(given, groups, offset_groups)], weights)
    layer = check(path, rng)
    assert (layer.groups, layer.offset_groups, layer.modulated, layer.use_bias) == (groups, offset_groups, True, True)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), weights["w"].transpose(2, 3, 1, 0) / 2)


@pytest.mark.parametrize("given", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("by_sizes", [False, True])
def test_one_convolution_in_three_parts(rng, tmp_path, given, by_sizes):
    """As MMCV's modules have it: two thirds are offsets, one third becomes the mask."""
    made, weights = conv(rng, "made", 6 * TAPS, given)
    sizes = ["sizes"] if by_sizes else []
    nodes = [
        made,
        helper.make_node("Split", ["made", *sizes], ["o1", "o2", "m"], axis=1, **({} if sizes else {"num_outputs": 3})),
        helper.make_node("Concat", ["o1", "o2"], ["offset"], axis=1),
        helper.make_node("Sigmoid", ["m"], ["mask"]),
        deform(given, offset_groups=2, bias=False),
    ]
    weights |= {"w": kernel_and_bias(rng)["w"], "sizes": np.array([2 * TAPS] * 3)}
    layer = check(written(tmp_path / "m", nodes, weights), rng)
    assert not layer.use_bias


def test_slices_numbers_and_constants_on_the_way(rng, tmp_path):
    given = {"pads": [1, 0, 1, 1]}
    made, weights = conv(rng, "made", 3 * TAPS, {}, auto_pad="SAME_UPPER")
    kernel = kernel_and_bias(rng)
    nodes = [
        made,
        helper.make_node("Slice", ["made", "from", "to", "axis"], ["o"]),
        helper.make_node("Mul", ["o", "tenth"], ["scaled"]),
        helper.make_node("Add", ["by_channel", "scaled"], ["offset"]),
        helper.make_node("Slice", ["made", "to", "end", "axis"], ["m"]),
        helper.make_node("Identity", ["m"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["sigmoid"]),
        helper.make_node("Constant", [], ["three"], value_float=3.0),
        helper.make_node("Mul", ["three", "sigmoid"], ["mask"]),
        helper.make_node("Transpose", ["turned"], ["w"], perm=[3, 2, 0, 1]),
        deform(given),
    ]
    weights |= {"b": kernel["b"], "turned": np.ascontiguousarray(kernel["w"].transpose(2, 3, 1, 0))}
    weights |= {"from": np.array([0]), "to": np.array([2 * TAPS]), "end": np.array([2**31]), "axis": np.array([1])}
    weights |= {"tenth": np.array(0.1, "float32"), "by_channel": drawn(rng, 2 * TAPS, 1, 1)}
    layer = check(written(tmp_path / "m", nodes, weights), rng)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), 1.5 * kernel["w"].transpose(2, 3, 1, 0), rtol=1e-6)


def simple(rng, path, given, of_offsets=None, **options):
    offset, weights = conv(rng, "offset", 2 * TAPS, given if of_offsets is None else of_offsets)
    return written(path, [offset, deform(given, mask=False, **options)], weights | kernel_and_bias(rng))


def test_no_mask_and_the_layers_other_arguments(rng, tmp_path):
    layer = check(simple(rng, tmp_path / "m", {}), rng, name="mine", offset_lr_multiplier=0.1)
    assert (layer.name, layer.modulated) == ("mine", False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports on TensorFlow")
@pytest.mark.parametrize(
    "options",
    [
        {"modulated": True, "padding": "same", "groups": 2, "offset_groups": 2},
        {"padding": ((1, 0), (0, 2)), "dilation_rate": (1, 2), "use_bias": False},
        {"modulated": True, "strides": (2, 1), "padding": "same"},
    ],
    ids=str,
)
def test_what_was_exported_comes_back(rng, tmp_path, options):
    pytest.importorskip("tf2onnx")
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, **options)
    model = keras.Sequential([keras.Input((HEIGHT, WIDTH, CHANNELS)), layer])
    layer.set_weights([drawn(rng, *weight.shape) for weight in layer.get_weights()])
    export_onnx(model, tmp_path / "m")
    back = import_onnx(tmp_path / "m")
    for ours, theirs in zip(back.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = rng.normal(size=(3, HEIGHT, WIDTH, CHANNELS)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(back(images)), ops.convert_to_numpy(layer(images)))


def test_one_of_several_nodes(rng, tmp_path):
    offset, weights = conv(rng, "offset", 2 * TAPS, {})
    weights |= kernel_and_bias(rng) | {"v": drawn(rng, FILTERS, CHANNELS, *KERNEL_SIZE)}
    second = helper.make_node("DeformConv", ["x", "v", "offset"], ["z"])
    path = written(tmp_path / "m", [offset, deform({}, mask=False), second], weights)
    for name, key in {"deform": "w", "y": "w", "z": "v"}.items():
        kernel = ops.convert_to_numpy(import_onnx(path, name).kernel)
        np.testing.assert_array_equal(kernel, weights[key].transpose(2, 3, 1, 0))
    for name in (None, "q"):
        with pytest.raises(ValueError, match=f"`node` must be one of 'deform', 'z', .* received {name!r}"):
            import_onnx(path, name)


def test_offsets_that_no_layer_makes_are_refused(rng, tmp_path):
    path = tmp_path / "m"
    with pytest.raises(ValueError, match=r"must have strides=\(2, 1\) as `DeformConv` 'y' has, .* it has \(1, 1\)"):
        import_onnx(simple(rng, path, {"strides": [2, 1]}, {}))
    with pytest.raises(ValueError, match=r"must have pads=\(1, 0, 1, 1\) .* has those of auto_pad=SAME_UPPER"):
        same = {"auto_pad": "SAME_UPPER", "strides": [2, 1]}
        import_onnx(simple(rng, path, {"pads": [1, 0, 1, 1], "strides": [2, 1]}, same))
    with pytest.raises(ValueError, match="must be that of `DeformConv` 'y', .* it is 'x', not 'other'"):
        offset, weights = conv(rng, "offset", 2 * TAPS, {})
        relu = helper.make_node("Relu", ["x"], ["other"])
        weights |= kernel_and_bias(rng)
        import_onnx(written(path, [offset, relu, deform({}, mask=False, image="other")], weights))
    with pytest.raises(ValueError, match="'offset' is an input or a constant, which is not followed"):
        import_onnx(written(path, [deform({}, mask=False)], kernel_and_bias(rng)))
    with pytest.raises(ValueError, match="'offset' comes from `Tanh`, which is not followed"):
        made, weights = conv(rng, "made", 2 * TAPS, {})
        tanh = helper.make_node("Tanh", ["made"], ["offset"])
        import_onnx(written(path, [made, tanh, deform({}, mask=False)], weights | kernel_and_bias(rng)))
    with pytest.raises(ValueError, match="'offset' comes from `Conv`, which is not followed"):
        grouped = helper.make_node("Conv", ["x", "offset_w"], ["offset"], group=2)
        weights = kernel_and_bias(rng) | {"offset_w": drawn(rng, 2 * TAPS, CHANNELS // 2, *KERNEL_SIZE)}
        import_onnx(written(path, [grouped, deform({}, mask=False)], weights))
    with pytest.raises(
        ValueError, match="The offset of `DeformConv` 'y' must have 24 channels, made of 4; received 12"
    ):
        import_onnx(simple(rng, path, {}, offset_groups=2))
    with pytest.raises(ValueError, match=r"`Conv` 'logits' must have kernel_shape=\(3, 2\) .* it has \(1, 1\)"):
        offset, weights = conv(rng, "offset", 2 * TAPS, {})
        weights |= kernel_and_bias(rng) | {"small": drawn(rng, TAPS, CHANNELS, 1, 1)}
        small = helper.make_node("Conv", ["x", "small"], ["logits"])
        sigmoid = helper.make_node("Sigmoid", ["logits"], ["mask"])
        import_onnx(written(path, [offset, small, sigmoid, deform({})], weights))
    with pytest.raises(ValueError, match="'offset' comes from `Concat`, which is not followed"):
        half, weights = conv(rng, "half", TAPS, {})
        weights |= kernel_and_bias(rng) | {"small": drawn(rng, TAPS, CHANNELS, 1, 1)}
        small = helper.make_node("Conv", ["x", "small"], ["other"])
        both = helper.make_node("Concat", ["half", "other"], ["offset"], axis=1)
        import_onnx(written(path, [half, small, both, deform({}, mask=False)], weights))
    with pytest.raises(ValueError, match="The mask of `DeformConv` 'y' must be made by a convolution and a sigmoid"):
        offset, weights = conv(rng, "offset", 2 * TAPS, {})
        mask, more = conv(rng, "mask", TAPS, {})
        import_onnx(written(path, [offset, mask, deform({})], weights | more | kernel_and_bias(rng)))


def test_other_errors(rng, tmp_path, monkeypatch):
    path = tmp_path / "m"
    with pytest.raises(ValueError, match="must be a file with a `DeformConv` node"):
        import_onnx(written(path, [helper.make_node("Relu", ["x"], ["y"])], {}))
    with pytest.raises(ValueError, match="The kernel of DeformConv 'y' must be in the file; 'w' is not"):
        offset, weights = conv(rng, "offset", 2 * TAPS, {})
        import_onnx(written(path, [offset, deform({}, mask=False, bias=False)], weights))
    for argument in ("filters", "strides", "padding", "modulated"):
        with pytest.raises(ValueError, match=f"`{argument}` must be left out: it is read from the file"):
            import_onnx(path, **{argument: 1})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        import_onnx(path)
