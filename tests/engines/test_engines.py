"""The hot primitive: each engine against the reference, and the engines' gradients against each other."""

import keras
import numpy as np
import pytest
from as_used import as_used
from keras import ops

from deformconv import engines, reference
from deformconv.engines import portable
from deformconv.engines.switches import stock_operations

HEIGHT, WIDTH = 5, 4
SAMPLE = {"portable": as_used(portable.sample)}
if keras.backend.backend() == "tensorflow":
    from deformconv.engines import native
    from deformconv.engines import tensorflow as stock

    SAMPLE["stock"] = stock.sample
    if native.kernels():
        SAMPLE["compiled"] = native.kernels().sample
ENGINES = pytest.mark.parametrize("sample", SAMPLE.values(), ids=SAMPLE)


def points(rng, kind, number=200):
    """`(3, number, 2)` coordinates of one kind, around an image of HEIGHT x WIDTH."""
    size = np.array([HEIGHT, WIDTH])
    cell = rng.integers(-3, size + 3, size=(3, number, 2))
    if kind == "off the grid":
        return cell + rng.uniform(0.1, 0.9, size=cell.shape)
    if kind == "on the grid":
        return cell.astype("float64")
    if kind == "at the border":
        return rng.choice([-1, -1 + 2**-10, -0.5, 0, 0.5], size=cell.shape) + size * rng.integers(0, 2, size=cell.shape)
    return rng.choice([-np.inf, -1e30, -1e9, 1.25, 1e9, 1e30, np.inf], size=cell.shape)


KINDS = pytest.mark.parametrize("kind", ["off the grid", "on the grid", "at the border", "far out"])


@ENGINES
@KINDS
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1, WIDTH), (HEIGHT, 1), (1, 1)])
def test_values_are_those_of_the_reference(rng, sample, kind, size):
    images = rng.normal(size=(3, *size, 2)).astype("float32")
    coords = points(rng, kind, 60).astype("float32")
    values = sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords))
    np.testing.assert_allclose(values, reference.bilinear_sample(images, coords), atol=1e-5)


@pytest.mark.parametrize("native", [name for name in SAMPLE if name != "portable"])
@KINDS
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1, WIDTH), (HEIGHT, 1)])
def test_the_native_gradients_are_the_portable_ones(tf, rng, gradients, native, kind, size):
    images = rng.normal(size=(3, *size, 2)).astype("float32")
    coords = points(rng, kind).astype("float32")
    upstream = rng.normal(size=(3, coords.shape[1], 2))
    of_native = gradients(SAMPLE[native], upstream, images, coords)
    of_portable = gradients(portable.sample, upstream, images, coords)
    for got, expected in zip(of_native, of_portable, strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, expected, atol=3e-5)


def test_gradients_are_central_differences_off_the_grid(rng, gradients):
    images, coords = rng.normal(size=(3, HEIGHT, WIDTH, 2)), points(rng, "off the grid")
    upstream = rng.normal(size=(3, coords.shape[1], 2))
    by_images, by_coords = gradients(portable.sample, upstream, images, coords)

    def value(images, coords):
        return (upstream * reference.bilinear_sample(images, coords)).sum(axis=-1)

    direction = rng.normal(size=images.shape)  # the values are linear in the images: one difference is exact
    difference = (value(images + direction, coords) - value(images - direction, coords)).sum() / 2
    np.testing.assert_allclose((by_images * direction).sum(), difference, rtol=1e-10)
    for axis, step in enumerate(np.eye(2) / 1024):  # every point moves at once: none sees another's coordinate
        difference = (value(images, coords + step) - value(images, coords - step)) * 512
        np.testing.assert_allclose(by_coords[..., axis], difference, atol=1e-9)


@ENGINES
def test_the_border_rule_holds_for_each_corner_alone(sample):
    """Just inside the border a sample is a sliver of the pixels there are; on it, and beyond, nothing."""
    images = np.ones((1, HEIGHT, WIDTH, 1), "float32")
    near, sliver = 2**-10, 2**-10
    along_y = [(-1, 0), (-1 + near, sliver), (0, 1), (HEIGHT - 1, 1), (HEIGHT - near, sliver), (HEIGHT, 0)]
    along_x = [(-1, 0), (-1 + near, sliver), (0, 1), (WIDTH - 1, 1), (WIDTH - near, sliver), (WIDTH, 0)]
    coords = np.array([[(y, x) for y, _ in along_y for x, _ in along_x]], "float32")
    expected = np.outer([share for _, share in along_y], [share for _, share in along_x])
    np.testing.assert_allclose(
        np.reshape(sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords)), (6, 6)), expected, atol=1e-6
    )


@ENGINES
def test_a_nan_coordinate_gives_nan_at_its_own_point_and_nowhere_else(rng, sample):
    images = rng.normal(size=(3, HEIGHT, WIDTH, 2)).astype("float32")
    coords = points(rng, "off the grid", 8).astype("float32")
    coords[0, 3, 0] = coords[1, 0, 1] = coords[2, 7] = np.nan
    values = sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords))
    np.testing.assert_allclose(values, reference.bilinear_sample(images, coords), atol=1e-5)
    assert np.isnan(values).any(-1).sum() == 3


@ENGINES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_stays_in_its_own_image(rng, sample, bad):
    images = rng.normal(size=(3, HEIGHT, WIDTH, 2)).astype("float32")
    coords = points(rng, "off the grid", 60).astype("float32")
    clean = np.asarray(sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords)))
    images[0, 0, 0] = bad
    values = np.asarray(sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords)))
    np.testing.assert_array_equal(values[1:], clean[1:])
    touched = (np.abs(coords[0]) < 1).all(-1)
    assert touched.any()
    np.testing.assert_array_equal(values[0, ~touched], clean[0, ~touched])
    assert not np.isfinite(values[0, touched]).any()


@ENGINES
@pytest.mark.parametrize("batch, number", [(0, 7), (3, 0), (0, 0)])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_an_empty_batch_and_no_points_work(request, gradients, sample, batch, number, graph):
    if graph:
        tf = request.getfixturevalue("tf")
        signature = [tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([None, None, 2])]
        sample = tf.function(sample, input_signature=signature)
    images, coords = np.ones((batch, HEIGHT, WIDTH, 2), "float32"), np.ones((batch, number, 2), "float32")
    assert sample(images, coords).shape == (batch, number, 2)
    by_images, by_coords = gradients(sample, np.zeros((batch, number, 2)), images, coords)
    np.testing.assert_array_equal(by_images, np.zeros(images.shape))
    assert by_coords.shape == coords.shape


@ENGINES
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_images_give_half_precision_values(rng, sample, dtype):
    images = ops.cast(rng.normal(size=(3, HEIGHT, WIDTH, 2)), dtype)
    coords = points(rng, "off the grid", 20).astype("float32")
    values = sample(images, ops.convert_to_tensor(coords))
    assert keras.backend.standardize_dtype(values.dtype) == dtype
    images, values = (ops.convert_to_numpy(tensor).astype("float32") for tensor in (images, values))
    expected = reference.bilinear_sample(images, coords)
    np.testing.assert_allclose(values, expected, atol=0.03)  # values up to 3, 8 bits


def test_float64_is_computed_in_float64(rng):
    images, coords = rng.normal(size=(3, HEIGHT, WIDTH, 2)), points(rng, "off the grid", 20)
    values = engines.sample(ops.convert_to_tensor(images), ops.convert_to_tensor(coords))
    np.testing.assert_allclose(values, reference.bilinear_sample(images, coords), atol=1e-13)


def test_float32_is_computed_by_tensorflows_own_kernel_where_there_is_no_compiled_one(tf, rng, monkeypatch):
    images, coords = rng.normal(size=(3, HEIGHT, WIDTH, 2)), points(rng, "off the grid", 20)
    monkeypatch.setattr(stock, "sample", lambda *_: "stock")
    with stock_operations():
        assert engines.sample(tf.constant(images, tf.float32), tf.constant(coords, tf.float32)) == "stock"
        assert engines.sample(tf.constant(images), tf.constant(coords)).dtype == "float64"
    monkeypatch.setattr(native, "kernels", lambda: None)
    assert engines.sample(tf.constant(images, tf.float32), tf.constant(coords, tf.float32)) == "stock"


def test_the_portable_engine_compiles_with_xla_values_and_gradients(tf, rng, gradients):
    images = rng.normal(size=(3, HEIGHT, WIDTH, 2)).astype("float32")
    coords = np.concatenate([points(rng, kind, 20) for kind in ("on the grid", "far out")], axis=1).astype("float32")
    compiled = tf.function(portable.sample, jit_compile=True)
    np.testing.assert_allclose(compiled(images, coords), reference.bilinear_sample(images, coords), atol=1e-5)
    upstream = rng.normal(size=(3, 40, 2))
    of_compiled, of_eager = (gradients(sample, upstream, images, coords) for sample in (compiled, portable.sample))
    for got, expected in zip(of_compiled, of_eager, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_portable_engine_has_second_derivatives(gradients):
    """Inside a cell the value is bilinear, so the derivative by y and x is the cell's twist."""
    images = np.array([[0.0, 1.0], [2.0, 7.0]]).reshape(1, 2, 2, 1)

    def by_coords(coords):
        (first,) = gradients.as_tensors(lambda c: portable.sample(ops.convert_to_tensor(images), c), [[[1.0]]], coords)
        return first

    (second,) = gradients(by_coords, [[[1.0, 0.0]]], np.array([[[0.25, 0.5]]]))
    np.testing.assert_allclose(second, [[[0, 7 - 2 - 1 + 0]]], atol=1e-12)
