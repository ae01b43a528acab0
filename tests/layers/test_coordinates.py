"""Coordinates have float32 at least, in every layer, under every policy and autocast: a table of errors in pixels.

Each layer is made to look at row 500.3 of an image that says, in its first channel, how far below row 500 a pixel lies:
there half precision holds it well, so what is missing from 0.3 is the error of the coordinate, in pixels. The second
channel is one everywhere, and of it the layer makes its coordinates, with factors that half precision does not hold.
"""

import keras
import numpy as np
import pytest
from as_used import as_used
from keras import ops

from deformconv import ConvOffset2D, DCNv3, DCNv4, DeformableConv2D, DeformableRoIPooling2D, SpatialTransformer
from deformconv.engines import native
from deformconv.operators.aggregate import deform_aggregate2d
from deformconv.sampling import affine_grid

ROWS, COLUMNS, FROM, TO = 600, 3, 400, 500.3
AWAY = TO - FROM  # bfloat16 makes 100.5 of it
FACTOR = 1.003  # and 1 of this
POLICIES = ["float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]
EPSILON = {"float16": 2**-10, "bfloat16": 2**-7}


def image(columns=COLUMNS):
    rows = np.broadcast_to(np.arange(ROWS)[:, None] - 500, (ROWS, columns))
    return np.stack([rows, np.ones_like(rows)], axis=-1)[None].astype("float32")


def with_weights(layer, *shapes, **values):
    """The layer, built, all weights zero but those whose paths end in `values`' names, `__` for a slash."""
    layer.build(*shapes)
    for weight in layer.weights:
        name = "__".join(weight.path.split("/")[-2:])
        value = np.zeros(weight.shape)
        for place, number in values.pop(name, {}).items():
            value[place] = number
        weight.assign(value)
    assert not values
    return layer


def deformable_conv(policy):
    layer = DeformableConv2D(1, 1, dtype=policy)
    kernels = {"offset_conv__kernel": {(0, 0, 1, 0): AWAY}, f"{layer.name}__kernel": {(0, 0, 0, 0): 1}}
    return as_used(with_weights(layer, image().shape, **kernels))(image())[0, FROM, 1, 0]


def conv_offset(policy):
    layer = ConvOffset2D(dtype=policy)
    with_weights(layer, image().shape, offset_conv__kernel={(1, 1, 1, 0): AWAY})
    return as_used(layer)(image())[0, FROM, 1, 0]


def conv_offset_2017(policy):
    """Scrambled over the image, but the same everywhere; it moves to the right as well."""
    inputs = image(columns=ROWS)
    layer = ConvOffset2D(layout="2017", dtype=policy)
    kernel = {(1, 1, 1, channel): AWAY for channel in range(4)}
    return as_used(with_weights(layer, inputs.shape, offset_conv__kernel=kernel))(inputs)[0, FROM, 1, 0]


def dcnv3(policy):
    layer = with_weights(
        DCNv3(1, groups=1, activation="linear", dtype=policy),
        image().shape,
        input_proj__kernel={(0, 0): 1, (1, 1): 1},
        output_proj__kernel={(0, 0): 1, (1, 1): 1},
        norm__beta={1: FACTOR},
        offset__kernel={(1, 1): AWAY / FACTOR},
    )
    return as_used(layer)(image())[0, FROM, 1, 0]


def dcnv4(policy):
    layer = with_weights(
        DCNv4(1, groups=1, dw_kernel_size=1, without_pointwise=True, dtype=policy),
        image().shape,
        offset_mask_dw__kernel={(0, 0, 1, 0): FACTOR},
        offset_mask__kernel={(1, 1): AWAY / FACTOR},
        offset_mask__bias={2: 1},
    )
    return as_used(layer)(image())[0, FROM, 1, 0]


def roi_pooling(policy):
    """The offset moves a box by a third of its height, to where its middle is at `TO`; edges are half a pixel off."""
    height, share = 100.7, 0.3
    middle = TO + 0.5 - share * height
    boxes = np.array([[[middle - height / 2, 0, middle + height / 2, COLUMNS]]], "float32")
    layer = with_weights(
        DeformableRoIPooling2D(1, offset_units=(1,), sampling_ratio=1, offset_scale=1.0, dtype=policy),
        image().shape,
        boxes.shape,
        offset_dense_0__kernel={(1, 0): FACTOR},
        offset_dense__kernel={(0, 0): share / FACTOR},
    )
    return as_used(layer)(image(), boxes)[0, 0, 0, 0, 0]


def spatial_transformer(policy):
    layers = keras.layers
    localisation = keras.Sequential(
        [
            layers.GlobalAveragePooling2D(data_format="channels_last", dtype=policy),
            layers.Dense(1, dtype=policy, name="says"),
        ]
    )
    layer = with_weights(
        SpatialTransformer(localisation, dtype=policy),
        image().shape,
        says__kernel={(1, 0): FACTOR},
        transform__kernel={(0, 2): AWAY / (ROWS / 2) / FACTOR},
    )
    return as_used(layer)(image())[0, FROM, 1, 0]


LAYERS = [deformable_conv, conv_offset, conv_offset_2017, dcnv3, dcnv4, roi_pooling, spatial_transformer]


def error_in_pixels(look, policy):
    return abs(float(ops.convert_to_numpy(ops.cast(look(policy), "float64"))) - (TO - 500))


@pytest.fixture(params=["kernels", "portable"])
def way(request, monkeypatch):
    """The compiled kernels, and the way without."""
    if request.param == "portable":
        monkeypatch.setattr(native, "_found", native.Unavailable("switched off for a test"))
    elif not native.kernels():
        pytest.skip(f"no compiled kernels: {native.status()}")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("look", LAYERS, ids=lambda look: look.__name__)
def test_a_layer_looks_where_float32_says(way, look, policy):
    # Of the number that is read, 0.3, and of the two factors that it is made with; and float32's at row 500.
    tolerance = 2e-4 + 4 * EPSILON.get(keras.DTypePolicy(policy).compute_dtype, 0)
    assert error_in_pixels(look, policy) < tolerance


@pytest.mark.parametrize("look", LAYERS, ids=lambda look: look.__name__)
def test_a_layer_looks_there_within_autocast(torch, way, look):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
        assert error_in_pixels(look, "float32") < 2e-4 + 4 * EPSILON["bfloat16"]
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16  # it is as on as before


def test_pytorchs_compiler_keeps_full_precision_within_autocast(torch):
    layer = with_weights(DeformableConv2D(1, 1), image().shape, offset_conv__kernel={(0, 0, 1, 0): AWAY})
    inputs = torch.from_numpy(image())

    def offsets(inputs):
        with torch.autocast("cpu", torch.bfloat16):
            return layer.offsets_and_mask(inputs)[0]

    compiled = torch.compile(offsets, backend="aot_eager", fullgraph=True)
    np.testing.assert_array_equal(compiled(inputs)[..., 0].detach(), np.float32(AWAY))


def test_boxes_pass_a_model_of_a_mixed_policy_and_its_file(tmp_path):
    maps, boxes = keras.Input((ROWS, COLUMNS, 2)), keras.Input((1, 4))
    layer = DeformableRoIPooling2D((2, 1), dtype="mixed_bfloat16", data_format="channels_last")
    model = keras.Model([maps, boxes], layer(maps, boxes))
    model.save(tmp_path / "model.keras")
    given = [image(), np.array([[[482.3, 0, 520.3, COLUMNS]]], "float32")]  # bins of 19 rows: means 491.3, 510.3
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        outputs = each.predict(given, verbose=0).astype("float32")
        np.testing.assert_allclose(outputs[0, 0, :, 0, 0], [-8.7, 10.3], atol=0.1)


def test_boxes_and_maps_of_other_types_become_the_layers_own(rng):
    layer = DeformableRoIPooling2D((3, 2), modulated=True, data_format="channels_last")
    outputs = layer(rng.normal(size=(2, 9, 6, 4)), np.array([[[0, 0, 9, 6]]] * 2))  # float64, ints
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_functions_make_float32_of_half_precision_before_they_add_to_it(dtype):
    """A pixel in the middle of 1201, and one in row 500, each with half a pixel more."""
    shift = ops.cast(np.array([[[1, 0, 0.5], [0, 1, 0]]], "float32"), dtype)
    assert float(affine_grid(shift, 1201, 1)[0, 500, 0, 0]) == 500.5
    offsets = ops.cast(np.broadcast_to(np.float32([0.5, 0]), (1, ROWS, COLUMNS, 2)), dtype)
    inputs = ops.cast(image(), dtype)
    sums = deform_aggregate2d(inputs, offsets, np.ones((1, ROWS, COLUMNS, 1)), kernel_size=1)
    assert keras.backend.standardize_dtype(sums.dtype) == dtype
    assert float(sums[0, 500, 1, 0]) == 0.5


def test_an_affine_grid_is_exact_within_autocast(torch):
    with torch.autocast("cpu", torch.bfloat16):
        grid = affine_grid(np.array([[[1.003, 0, 0], [0, 1, 0]]], "float32"), 1201, 1)
    np.testing.assert_allclose(grid[0, 1100, 0, 0], 600 + 500 * 1.003, rtol=1e-6)


@pytest.mark.parametrize("made_by", ["offset_conv", "offset", "offset_dense"])
def test_a_map_of_policies_says_nothing_of_what_makes_coordinates(made_by):
    policies = keras.dtype_policies.DTypePolicyMap("float32")
    policies["looks.*"] = keras.DTypePolicy("mixed_bfloat16")
    options = {"name": "looks", "dtype": policies, "data_format": "channels_last"}
    layer, shapes = {
        "offset_conv": (DeformableConv2D(1, 1, **options), [(1, 5, 4, 2)]),
        "offset": (DCNv3(3, groups=1, **options), [(1, 5, 4, 2)]),
        "offset_dense": (DeformableRoIPooling2D(1, **options), [(1, 5, 4, 2), (1, 1, 4)]),
    }[made_by]
    layer.build(*shapes)
    (maker,) = [each for each in layer._flatten_layers() if each.name == made_by]
    assert (layer.compute_dtype, maker.compute_dtype) == ("bfloat16", "float32")


def test_a_localisation_keeps_what_precision_its_weights_have_left():
    """Those of a file may be of pure half precision: float32 would not bring back what is gone."""
    layers = keras.layers
    built = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="bfloat16"), layers.Dense(2, dtype="float64")])
    mixed = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="mixed_float16")])
    assert [one.compute_dtype for one in SpatialTransformer(built).localisation.layers] == ["bfloat16", "float64"]
    assert [one.compute_dtype for one in SpatialTransformer(mixed).localisation.layers] == ["float32"]
