"""Weights of other people's modules give what those modules give: torchvision's run, the others by their definition."""

import importlib.util
import math

import dcn_oracle
import numpy as np
import pytest
from keras import ops

from deformconv import DeformableConv2D, import_dcnv3, import_dcnv4, import_mmcv, import_torchvision

HEIGHT, WIDTH, CHANNELS, FILTERS = 7, 6, 4, 6
KERNEL_SIZE = KH, KW = 3, 2
TAPS = KH * KW
TOLERANCE = 1e-10

GEOMETRIES = {
    "plain": {},
    "strides and padding": {"strides": (2, 1), "padding": ((1, 1), (2, 2))},
    "dilation": {"dilation_rate": (1, 2), "padding": ((2, 2), (1, 1))},
    "padding by side": {"strides": (1, 2), "padding": ((1, 0), (0, 2))},
    "all": {"strides": (2, 3), "dilation_rate": (2, 1), "padding": ((0, 3), (2, 1))},
}
GROUPS = [(1, 1), (2, 1), (1, 2), (2, 4)]  # groups, offset groups
symmetric = [name for name, g in GEOMETRIES.items() if all(a == b for a, b in g.get("padding", ((0, 0), (0, 0))))]


# What the modules compute, from its definition: channels first, the input padded before it is read.


def windows(size, geometry):
    """Rows, or columns, of the padded image under each tap at each output: `(outputs, taps)`, for both axes."""
    strides, dilation = (geometry.get(name, (1, 1)) for name in ("strides", "dilation_rate"))
    pads = geometry.get("padding", ((0, 0), (0, 0)))
    for length, taps, stride, rate, pad in zip(size, KERNEL_SIZE, strides, dilation, pads, strict=True):
        out = (length + sum(pad) - rate * (taps - 1) - 1) // stride + 1
        yield stride * np.arange(out)[:, None] + rate * np.arange(taps)


def padded(images, geometry):
    return np.pad(images, ((0, 0), (0, 0), *geometry.get("padding", ((0, 0), (0, 0)))))


def plain_conv(images, weight, bias, geometry):
    rows, columns = windows(images.shape[2:], geometry)
    patches = padded(images, geometry)[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return np.einsum("bchwij,fcij->bfhw", patches, weight) + bias[:, None, None]


def read(image, y, x):
    """The image `(channels, height, width)` between pixels, 0 outside."""
    value = 0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                value = value + (1 - abs(y - row)) * (1 - abs(x - column)) * image[:, row, column]
    return value


def deform_conv(images, offset, mask, weight, bias, geometry):
    """`offset` `(b, groups * taps * 2, h, w)`, each tap's y before its x; `mask` `(b, groups * taps, h, w)` or None."""
    rows, columns = windows(images.shape[2:], geometry)
    images = padded(images, geometry)
    batch, channels = images.shape[:2]
    filters, per_group = weight.shape[:2]
    offset_groups = offset.shape[1] // (2 * TAPS)
    seen = np.zeros((batch, channels, *KERNEL_SIZE, len(rows), len(columns)))
    for b, g, i, j, h, w in np.ndindex(batch, offset_groups, *KERNEL_SIZE, len(rows), len(columns)):
        own = slice(g * channels // offset_groups, (g + 1) * channels // offset_groups)
        at = g * TAPS + i * KW + j
        dy, dx = offset[b, 2 * at, h, w], offset[b, 2 * at + 1, h, w]
        factor = 1 if mask is None else mask[b, at, h, w]
        seen[b, own, i, j, h, w] = factor * read(images[b, own], rows[h, i] + dy, columns[w, j] + dx)
    outputs = []
    for f in range(filters):
        first = f // (filters * per_group // channels) * per_group
        outputs.append(np.einsum("bcijhw,cij->bhw", seen[:, first : first + per_group], weight[f]))
    return np.stack(outputs, axis=1) + (0 if bias is None else bias[:, None, None])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def torchvision_by_definition(state, images, geometry, factor=1):
    offset = plain_conv(images, state["offsets.weight"], state["offsets.bias"], geometry)
    mask = None
    if "mask.weight" in state:
        mask = factor * sigmoid(plain_conv(images, state["mask.weight"], state["mask.bias"], geometry))
    return deform_conv(images, offset, mask, state["conv.weight"], state.get("conv.bias"), geometry)


def mmcv_by_definition(state, images, geometry, modulated):
    made = plain_conv(images, state["conv2.conv_offset.weight"], state["conv2.conv_offset.bias"], geometry)
    if not modulated:
        return deform_conv(images, made, None, state["conv2.weight"], None, geometry)
    first, second, mask = np.split(made, 3, axis=1)
    offset = np.concatenate([first, second], axis=1)
    return deform_conv(images, offset, sigmoid(mask), state["conv2.weight"], state["conv2.bias"], geometry)


def drawn(rng, *shape):
    """Weights with which outputs, so offsets too, are a pixel or two."""
    return rng.normal(size=shape) * 1.5 / math.sqrt(np.prod(shape[1:]))


def torchvision_state(rng, groups=1, offset_groups=1, modulated=False):
    state = {
        "conv.weight": drawn(rng, FILTERS, CHANNELS // groups, *KERNEL_SIZE),
        "conv.bias": drawn(rng, FILTERS),
        "offsets.weight": drawn(rng, 2 * TAPS * offset_groups, CHANNELS, *KERNEL_SIZE),
        "offsets.bias": drawn(rng, 2 * TAPS * offset_groups),
    }
    if modulated:
        state["mask.weight"] = drawn(rng, TAPS * offset_groups, CHANNELS, *KERNEL_SIZE)
        state["mask.bias"] = drawn(rng, TAPS * offset_groups)
    return state


def mmcv_state(rng, groups=1, offset_groups=1, modulated=False):
    made = (3 if modulated else 2) * TAPS * offset_groups
    state = {
        "conv2.weight": drawn(rng, FILTERS, CHANNELS // groups, *KERNEL_SIZE),
        "conv2.conv_offset.weight": drawn(rng, made, CHANNELS, *KERNEL_SIZE),
        "conv2.conv_offset.bias": drawn(rng, made),
    }
    return state | ({"conv2.bias": drawn(rng, FILTERS)} if modulated else {})


def from_torchvision(state, **arguments):
    mask = "mask" if "mask.weight" in state else None
    return import_torchvision(state, "conv", offset_module="offsets", mask_module=mask, **arguments)


def draw_images(rng):
    return rng.normal(size=(3, CHANNELS, HEIGHT, WIDTH))


def run(layer, images):
    """The layer, channels last, on images with channels first."""
    outputs = ops.convert_to_numpy(layer(images.transpose(0, 2, 3, 1)))
    return outputs.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("groups, offset_groups", GROUPS)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("modulated", [False, True])
def test_torchvisions_module_by_its_definition(rng, geometry, groups, offset_groups, modulated):
    state, images = torchvision_state(rng, groups, offset_groups, modulated), draw_images(rng)
    layer = from_torchvision(state, dtype="float64", **geometry)
    assert (layer.groups, layer.offset_groups, layer.modulated) == (groups, offset_groups, modulated)
    expected = torchvision_by_definition(state, images, geometry)
    np.testing.assert_allclose(run(layer, images), expected, atol=TOLERANCE)
    offsets, _ = layer.offsets_and_mask(images.transpose(0, 2, 3, 1))
    assert np.abs(ops.convert_to_numpy(offsets)).max() > 2


@pytest.mark.parametrize("groups, offset_groups", GROUPS)
@pytest.mark.parametrize("name", symmetric)
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_torchvisions_module_run(rng, name, groups, offset_groups, modulated, bias):
    torch, torchvision = (pytest.importorskip(name) for name in ("torch", "torchvision"))
    geometry = GEOMETRIES[name]
    pads = tuple(pad for pad, _ in geometry.get("padding", ((0, 0), (0, 0))))
    there = {"stride": geometry.get("strides", 1), "padding": pads, "dilation": geometry.get("dilation_rate", 1)}
    conv2d = torch.nn.Conv2d
    model = torch.nn.ModuleDict(
        {
            "conv": torchvision.ops.DeformConv2d(CHANNELS, FILTERS, KERNEL_SIZE, groups=groups, bias=bias, **there),
            "offsets": conv2d(CHANNELS, 2 * TAPS * offset_groups, KERNEL_SIZE, bias=bias, **there),
        }
    )
    if modulated:
        model["mask"] = conv2d(CHANNELS, TAPS * offset_groups, KERNEL_SIZE, bias=bias, **there)
    model = model.to("cpu", torch.float64)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.as_tensor(drawn(rng, *weight.shape), device="cpu"))
        images = draw_images(rng)
        given = torch.as_tensor(images, device="cpu")
        mask = torch.sigmoid(model["mask"](given)) if modulated else None
        expected = model["conv"](given, model["offsets"](given), mask).numpy()
    layer = from_torchvision(model.state_dict(), dtype="float64", **geometry)
    np.testing.assert_allclose(run(layer, images), expected, atol=TOLERANCE)


def test_a_mask_that_starts_at_one_there_leaves_the_kernel(rng):
    state, images = torchvision_state(rng, modulated=True), draw_images(rng)
    layer = from_torchvision(state, mask_factor=2, dtype="float64")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), state["conv.weight"].transpose(2, 3, 1, 0))
    expected = torchvision_by_definition(state, images, {}, factor=2)
    np.testing.assert_allclose(run(layer, images), expected, atol=TOLERANCE)
    with pytest.raises(ValueError, match="`mask_factor` must be a number > 0; received 0"):
        from_torchvision(state, mask_factor=0)


@pytest.mark.parametrize("groups, offset_groups", GROUPS)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("modulated", [False, True])
def test_mmcvs_packs_by_their_definition(rng, geometry, groups, offset_groups, modulated):
    state, images = mmcv_state(rng, groups, offset_groups, modulated), draw_images(rng)
    layer = import_mmcv(state, "conv2", offset_groups=offset_groups, dtype="float64", **geometry)
    assert (layer.groups, layer.modulated, layer.use_bias) == (groups, modulated, modulated)
    expected = mmcv_by_definition(state, images, geometry, modulated)
    np.testing.assert_allclose(run(layer, images), expected, atol=TOLERANCE)


def test_the_names_of_older_files(rng):
    state = {f"layer1.{key}": value for key, value in mmcv_state(rng, modulated=True).items()}
    expected = import_mmcv(state, "layer1.conv2.").get_weights()
    for new, prefix in {"conv2_offset": "layer1.conv2", "conv2.conv_offset_mask": "layer1.conv2"}.items():
        old = {key.replace("conv2.conv_offset", new): value for key, value in state.items()}
        for ours, theirs in zip(import_mmcv(old, prefix).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert import_mmcv(old, "layer1.conv2", dilation_rate=(1, 1)).dilation_rate == (1, 1)
    with pytest.raises(ValueError, match="`dilation_rate` must be 1 for `layer1.conv2.conv_offset_mask.weight`"):
        import_mmcv(old, "layer1.conv2", dilation_rate=2)


def test_a_learning_rate_of_the_offsets_own_changes_no_offset(rng):
    state, images = mmcv_state(rng, modulated=True), draw_images(rng)
    layer = import_mmcv(state, "conv2", offset_lr_multiplier=0.1, dtype="float64")
    # On PyTorch Keras multiplies by a number of Python's in float32.
    np.testing.assert_allclose(run(layer, images), mmcv_by_definition(state, images, {}, True), atol=1e-5)


def test_arguments_that_are_not_weights_reach_the_layer(rng):
    layer = import_mmcv(mmcv_state(rng), "conv2", name="mine", activation="relu", frozen="offset_conv", strides=2)
    assert (layer.name, layer.frozen, layer.strides) == ("mine", ("offset_conv",), (2, 2))
    assert run(layer, draw_images(rng).astype("float32")).min() == 0
    assert isinstance(DeformableConv2D.from_config(layer.get_config()), DeformableConv2D)


def test_a_layer_with_channels_first_has_the_same_weights(rng):
    last, first = (
        import_mmcv(mmcv_state(np.random.default_rng(0)), "conv2", data_format=order)
        for order in ("channels_last", "channels_first")
    )
    images = draw_images(rng).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(first(images)), run(last, images), atol=1e-6)


def test_half_precision_and_tensors_of_pytorch_are_taken(rng):
    state = mmcv_state(rng)
    expected = import_mmcv({key: value.astype("float16") for key, value in state.items()}, "conv2").get_weights()
    torch = pytest.importorskip("torch")
    tensors = {key: torch.as_tensor(value, device="cpu").half() for key, value in state.items()}
    for ours, theirs in zip(import_mmcv(tensors, "conv2").get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    brain = {key: value.bfloat16() for key, value in tensors.items()}
    with pytest.raises(ValueError, match=r"`state\['conv2.weight'\]` must be an array that .*\.float\(\) gives one"):
        import_mmcv(brain, "conv2")


def test_errors_name_the_key(rng):
    state = mmcv_state(rng, groups=2)
    key = "conv2.conv_offset.bias"
    lacking = {name: value for name, value in state.items() if name != key}
    with pytest.raises(ValueError, match=f"must have '{key}'; with 'conv2.' it has 'conv2.weight', 'conv2.conv_off"):
        import_mmcv(lacking, "conv2")
    with pytest.raises(ValueError, match="must have 'conv3.weight'; it has no key that starts with 'conv3.'"):
        import_mmcv(state, "conv3")
    with pytest.raises(ValueError, match="meant the one in state\\['state_dict'\\]"):
        import_mmcv({"state_dict": state}, "conv2")
    with pytest.raises(ValueError, match="must be a dictionary of arrays; received a list"):
        import_mmcv([state], "conv2")
    with pytest.raises(ValueError, match=r"`state\['conv2.weight'\]` must be an array of floats; received dtype int"):
        import_mmcv(state | {"conv2.weight": np.ones((6, 2, 3, 2), int)}, "conv2")
    with pytest.raises(ValueError, match=rf"`state\['{key}'\]` must have shape \(12,\); received \(11,\)"):
        import_mmcv(state | {key: np.ones(11)}, "conv2")
    with pytest.raises(ValueError, match=r"shape \(any, any, 3, 2\); received \(12, 4, 1, 1\). The layer's own"):
        import_mmcv(state | {"conv2.conv_offset.weight": np.ones((12, 4, 1, 1))}, "conv2")
    with pytest.raises(ValueError, match="a multiple of 2, the input channels of a group; received shape .12, 3, 3, 2"):
        import_mmcv(state | {"conv2.conv_offset.weight": np.ones((12, 3, 3, 2))}, "conv2")
    with pytest.raises(ValueError, match=r"must have 24 \(DCN\) or 36 \(DCNv2\) channels for offset_groups=2;"):
        import_mmcv(state, "conv2", offset_groups=2)
    with pytest.raises(ValueError, match="`offset_groups` must be a positive int; received 0"):
        import_mmcv(state, "conv2", offset_groups=0)
    for argument in ("filters", "kernel_size", "groups", "modulated", "use_bias"):
        with pytest.raises(ValueError, match=f"`{argument}` must be left out: it is read from `state`"):
            import_mmcv(state, "conv2", **{argument: 1})


def test_errors_of_torchvisions_modules(rng):
    state = torchvision_state(rng, modulated=True)
    with pytest.raises(ValueError, match="`offsets.weight` must have 2 . 6 channels for each group"):
        from_torchvision(state | {"offsets.weight": np.ones((18, 4, 3, 2)), "offsets.bias": np.ones(18)})
    with pytest.raises(ValueError, match=r"`state\['mask.weight'\]` must have shape \(6, 4, 3, 2\); received"):
        from_torchvision(state | {"mask.weight": np.ones((12, 4, 3, 2)), "mask.bias": np.ones(12)})
    with pytest.raises(ValueError, match="must have 'mask_conv.weight'"):
        import_torchvision(state, "conv", offset_module="offsets", mask_module="mask_conv")
    with pytest.raises(ValueError, match="`offset_groups` must be left out"):
        from_torchvision(state, offset_groups=1)


# The authors' modules of DCNv3 and DCNv4, in the names of their checkpoints.

AUTHORS_SIZE = 3, 6, 9, 6
AUTHORS_CHANNELS, AUTHORS_GROUPS = 6, 2


def linear(rng, name, units, bias=True):
    state = {f"{name}.weight": drawn(rng, units, AUTHORS_CHANNELS)}
    return state | ({f"{name}.bias": drawn(rng, units)} if bias else {})


def scale_state(rng, has):
    name = "center_feature_scale_proj"
    shapes = {f"{name}_weight": (AUTHORS_GROUPS, AUTHORS_CHANNELS), f"{name}_bias": (AUTHORS_GROUPS,)}
    return {key: drawn(rng, *shape) for key, shape in shapes.items()} if has else {}


def dcnv3_state(rng, taps, dw_kernel_size, scaled=False):
    state = {
        "dw_conv.0.weight": drawn(rng, AUTHORS_CHANNELS, 1, *dw_kernel_size),
        "dw_conv.0.bias": drawn(rng, AUTHORS_CHANNELS),
        "dw_conv.1.1.weight": drawn(rng, AUTHORS_CHANNELS),
        "dw_conv.1.1.bias": drawn(rng, AUTHORS_CHANNELS),
    }
    for name in ("input_proj", "output_proj"):
        state |= linear(rng, name, AUTHORS_CHANNELS)
    points = AUTHORS_GROUPS * taps
    return state | linear(rng, "offset", 2 * points) | linear(rng, "mask", points) | scale_state(rng, scaled)


def dcnv4_state(rng, taps, dw_kernel_size=None, scaled=False, pointwise=True, output_bias=True):
    state = linear(rng, "offset_mask", math.ceil(AUTHORS_GROUPS * taps * 3 / 8) * 8) | scale_state(rng, scaled)
    if dw_kernel_size:
        state["offset_mask_dw.weight"] = drawn(rng, AUTHORS_CHANNELS, 1, *dw_kernel_size)
        state["offset_mask_dw.bias"] = drawn(rng, AUTHORS_CHANNELS)
    if pointwise:
        state |= linear(rng, "value_proj", AUTHORS_CHANNELS)
        state |= linear(rng, "output_proj", AUTHORS_CHANNELS, output_bias)
    return state


def check_authors(rng, imported, oracle, state, kernel_size, pads, dilation=(1, 1), **options):
    named = {f"levels.0.dcn.{key}": value for key, value in state.items()}
    layer = imported(
        named,
        "levels.0.dcn",
        kernel_size=kernel_size,
        groups=AUTHORS_GROUPS,
        padding=pads,
        dilation_rate=dilation,
        dtype="float64",
        **options,
    )
    inputs = rng.normal(size=AUTHORS_SIZE)
    expected = oracle(state, inputs, kernel_size, (1, 1), pads, dilation, AUTHORS_GROUPS, **options)
    # Keras takes the root of 2 of GELU in float32, and on PyTorch all of `matmul`.
    np.testing.assert_allclose(ops.convert_to_numpy(layer(inputs)), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_authors_dcnv3(rng, scaled):
    state = dcnv3_state(rng, TAPS, (5, 3), scaled)
    check_authors(rng, import_dcnv3, dcn_oracle.dcnv3, state, KERNEL_SIZE, ((2, 1), (1, 2)), (2, 3), offset_scale=1.5)
    state = dcnv3_state(rng, 14, (3, 5), scaled)
    check_authors(rng, import_dcnv3, dcn_oracle.dcnv3, state, (3, 5), ((1, 1), (2, 2)), remove_center=True)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"dw_kernel_size": (5, 3), "scaled": True},
        {"pointwise": False, "scaled": True},
        {"output_bias": False},
    ],
    ids=str,
)
def test_the_authors_dcnv4(rng, parts):
    state = dcnv4_state(rng, TAPS, **parts)
    check_authors(rng, import_dcnv4, dcn_oracle.dcnv4, state, KERNEL_SIZE, ((2, 1), (1, 2)), (2, 3), offset_scale=0.5)
    state = dcnv4_state(rng, 14, **parts)
    check_authors(rng, import_dcnv4, dcn_oracle.dcnv4, state, (3, 5), ((1, 1), (2, 2)), remove_center=True)


def test_errors_of_the_authors_modules(rng):
    third, fourth = dcnv3_state(rng, TAPS, (5, 3), scaled=True), dcnv4_state(rng, TAPS)
    given = {"kernel_size": KERNEL_SIZE, "groups": AUTHORS_GROUPS}
    with pytest.raises(ValueError, match=r"`state\['offset.weight'\]` must have shape \(36, 6\); received \(24, 6\)"):
        import_dcnv3(third, kernel_size=3, groups=2)
    with pytest.raises(ValueError, match="groups=3 and remove_center=False, which `state` does not hold"):
        import_dcnv4(fourth, kernel_size=KERNEL_SIZE, groups=3)
    for imported, state, read in ((import_dcnv3, third, "dw_kernel_size"), (import_dcnv4, fourth, "output_bias")):
        imported(state, **given)
        with pytest.raises(ValueError, match=f"`{read}` must be left out"):
            imported(state, **given, **{read: 3})
        for key in state:
            # Those by which a part is known to be there, or to have a bias.
            if key in ("center_feature_scale_proj_weight",) or (state is fourth and key == "output_proj.bias"):
                continue
            lacking = {name: value for name, value in state.items() if name != key}
            with pytest.raises(ValueError, match=f"`state` must have '{key}'"):
                imported(lacking, **given)
    with pytest.raises(ValueError, match="`dw_conv.1` must be a layer normalisation"):
        import_dcnv3(third | {"dw_conv.1.0.running_mean": np.ones(6)}, **given)


@pytest.mark.skipif(importlib.util.find_spec("safetensors") is None, reason="no safetensors")
def test_a_file_of_safetensors(rng, tmp_path):
    from safetensors import numpy as safetensors

    state = mmcv_state(rng)
    safetensors.save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, tmp_path / "model")
    assert import_mmcv(safetensors.load_file(tmp_path / "model"), "conv2").filters == FILTERS
