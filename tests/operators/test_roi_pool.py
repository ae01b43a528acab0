"""Deformable RoI pooling, function and layer: against the reference, onnxruntime's RoiAlign, and hand-moved boxes."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import ops

from deformconv import DeformableRoIPooling2D, deform_roi_pool2d, reference

BATCH, BOXES, HEIGHT, WIDTH, CHANNELS, BINS = 3, 7, 9, 6, 4, (3, 2)


def maps(rng, dtype="float32"):
    return rng.normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype(dtype)


def boxes_within(rng, margin=0.5):
    """Boxes whose samples stay between the centres of the outermost pixels, with room of `margin` around the edges."""
    low, high = margin, np.array([HEIGHT, WIDTH]) - margin
    corners = np.sort(rng.uniform(low, high, size=(BATCH, BOXES, 2, 2)), axis=2)
    return corners.reshape(BATCH, BOXES, 4).astype("float32")


def pool(*args, **options):
    return ops.convert_to_numpy(deform_roi_pool2d(*args, output_size=BINS, **options))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("deformed", [False, True])
@pytest.mark.parametrize("options", [{}, {"sampling_ratio": 3, "offset_scale": 0.7, "spatial_scale": 0.6}], ids=str)
def test_it_is_the_reference(rng, dtype, tolerance, deformed, options):
    boxes = rng.uniform(-3, 12, size=(BATCH, BOXES, 4)).astype(dtype)  # some outside, some turned inside out
    offsets = rng.normal(size=(BATCH, BOXES, *BINS, 2)).astype(dtype) if deformed else None
    mask = rng.uniform(0, 2, size=(BATCH, BOXES, *BINS)).astype(dtype) if deformed else None
    inputs = maps(rng, dtype)
    expected = reference.deform_roi_pool2d(inputs, boxes, offsets, output_size=BINS, mask=mask, **options)
    np.testing.assert_allclose(pool(inputs, boxes, offsets, mask=mask, **options), expected, atol=tolerance)


@pytest.mark.parametrize("spatial_scale", [1.0, 0.25])
def test_without_offsets_it_is_roi_align_within_the_image(rng, spatial_scale):
    inputs, boxes = maps(rng), boxes_within(rng)
    node = onnx.helper.make_node(
        "RoiAlign",
        ["X", "rois", "image"],
        ["Y"],
        output_height=BINS[0],
        output_width=BINS[1],
        sampling_ratio=3,
        spatial_scale=spatial_scale,
        coordinate_transformation_mode="half_pixel",
    )
    make, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node],
        "one_node",
        [make("X", kinds.FLOAT, None), make("rois", kinds.FLOAT, None), make("image", kinds.INT64, None)],
        [make("Y", kinds.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 16)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    in_image = boxes / np.float32(spatial_scale)
    feed = {
        "X": np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)),
        "rois": in_image[..., [1, 0, 3, 2]].reshape(-1, 4),  # theirs are (x1, y1, x2, y2)
        "image": np.repeat(np.arange(BATCH), BOXES),
    }
    expected = session.run(None, feed)[0].transpose(0, 2, 3, 1).reshape(BATCH, BOXES, *BINS, CHANNELS)
    np.testing.assert_allclose(
        pool(inputs, in_image, sampling_ratio=3, spatial_scale=spatial_scale), expected, atol=1e-5
    )


def test_the_whole_image_in_one_bin_is_its_mean():
    """One point in each pixel's centre: `(0, 0, h, w)` are the edges of the image."""
    image = np.arange(20.0, dtype="float32").reshape(1, 5, 4, 1)
    outputs = deform_roi_pool2d(image, [[[0, 0, 4, 4]]], output_size=1, sampling_ratio=4)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs).item(), image[0, :4].mean(), rtol=1e-6)


def test_equal_offsets_of_all_bins_move_the_box_by_that_fraction_of_it(rng):
    inputs, boxes = maps(rng), boxes_within(rng)
    box_size = boxes[..., 2:] - boxes[..., :2]
    offset = np.array([1.5, -2.0], "float32")
    moved = boxes + 0.1 * np.tile(offset * box_size, 2)
    offsets = np.broadcast_to(offset, (BATCH, BOXES, *BINS, 2))
    np.testing.assert_allclose(pool(inputs, boxes, offsets), pool(inputs, moved), atol=1e-5)


def test_gradients_are_central_differences(rng, gradients):
    given = [
        maps(rng, "float64"),
        boxes_within(rng).astype("float64"),
        rng.normal(size=(BATCH, BOXES, *BINS, 2)),
        rng.uniform(0.5, 2, size=(BATCH, BOXES, *BINS)),
    ]
    upstream = rng.normal(size=(BATCH, BOXES, *BINS, CHANNELS))

    def call(inputs, boxes, offsets, mask):
        return deform_roi_pool2d(inputs, boxes, offsets, output_size=BINS, mask=mask)

    for i, by_one in enumerate(gradients(call, upstream, *given)):
        # So small a step that no point crosses a pixel centre but with a probability of one in a million.
        step = 1e-9 * rng.uniform(-1, 1, size=given[i].shape)
        ahead, behind = (
            np.sum(upstream * ops.convert_to_numpy(call(*given[:i], given[i] + sign * step, *given[i + 1 :])))
            for sign in (1, -1)
        )
        np.testing.assert_allclose(np.sum(by_one * step), (ahead - behind) / 2, rtol=1e-4, err_msg=str(i))


@pytest.mark.parametrize("batch, number", [(0, 7), (3, 0)])
def test_no_image_and_no_box_work(batch, number):
    outputs = pool(np.ones((batch, HEIGHT, WIDTH, CHANNELS), "float32"), np.ones((batch, number, 4), "float32"))
    assert outputs.shape == (batch, number, *BINS, CHANNELS)


@pytest.mark.parametrize("modulated", [False, True])
def test_the_layer_starts_without_deformation_and_learns_one(rng, modulated):
    layer = DeformableRoIPooling2D(BINS, modulated=modulated, offset_units=(5,))
    inputs, boxes = maps(rng), boxes_within(rng)
    outputs = layer(inputs, boxes)
    assert layer.compute_output_shape(inputs.shape, boxes.shape) == tuple(outputs.shape)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), pool(inputs, boxes), atol=1e-6)

    feature_maps, some_boxes = keras.Input((None, None, CHANNELS)), keras.Input((BOXES, 4))
    model = keras.Model([feature_maps, some_boxes], layer(feature_maps, some_boxes))
    assert model.output.shape == (None, BOXES, *BINS, CHANNELS)
    before = [ops.convert_to_numpy(weight) for weight in layer.weights[-2:]]
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit([inputs, boxes], rng.normal(size=outputs.shape), verbose=0)
    for weight, old in zip(layer.weights[-2:], before, strict=True):
        assert weight.path.startswith(f"{layer.name}/offset_dense/")
        assert np.abs(ops.convert_to_numpy(weight) - old).max() > 1e-5


def test_the_layer_is_the_function_of_its_offsets_and_mask_and_survives_its_file(rng, tmp_path):
    options = {"sampling_ratio": 3, "offset_scale": 0.5, "spatial_scale": 0.8}
    layer = DeformableRoIPooling2D(BINS, modulated=True, offset_units=(5, 8), **options)
    inputs, boxes = maps(rng), boxes_within(rng)
    feature_maps, some_boxes = keras.Input(inputs.shape[1:]), keras.Input((BOXES, 4))
    model = keras.Model([feature_maps, some_boxes], layer(feature_maps, some_boxes))
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    offsets, mask = layer.offsets_and_mask(inputs, boxes)
    outputs = ops.convert_to_numpy(model([inputs, boxes]))
    np.testing.assert_allclose(outputs, pool(inputs, boxes, offsets, mask=mask, **options), atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(again([inputs, boxes])), outputs, atol=1e-6)


def test_offsets_of_a_subclass_count(rng):
    """The book's controls are made so: a layer that overrules what the offsets are."""
    from deformconv import DeformableRoIPooling2D

    class Moved(DeformableRoIPooling2D):
        def offsets_and_mask(self, inputs, boxes):
            offsets, mask = super().offsets_and_mask(inputs, boxes)
            return offsets + 2, mask

    maps, boxes = rng.normal(size=(1, 9, 7, 2)).astype("float32"), np.array([[[1, 1, 6, 5]]], "float32")
    plain, moved = (ops.convert_to_numpy(cls((3, 2))(maps, boxes)) for cls in (DeformableRoIPooling2D, Moved))
    assert np.abs(plain - moved).max() > 0.1
