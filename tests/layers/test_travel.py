"""Any layer, any policy, layout and path, frozen in any way: what arrives computes the same, and the same of it learns.

Each engine draws its own models. `DEFORMCONV_DRAWS=5000` asks for more of them.
"""

import copy
import os
import pickle
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from deformconv import ConvOffset2D, DCNv3, DCNv4, DeformableConv2D, DeformableRoIPooling2D, SpatialTransformer
from deformconv.engines.switches import stock_operations

ENGINE = keras.backend.backend()
# JAX compiles each model anew, step by step.
DRAWS = int(os.environ.get("DEFORMCONV_DRAWS", "60" if ENGINE == "jax" else "120"))
POLICIES = ["float32", "float64", "mixed_bfloat16", "mixed_float16"]
# What a policy's numbers are rounded to, and what two orders of the same sums may differ by.
TOLERANCES = {"float32": 2e-5, "float64": 1e-10, "mixed_bfloat16": 0.05, "mixed_float16": 0.01}


def pairs(largest=3):
    return st.tuples(st.integers(1, largest), st.integers(1, largest))


PADDING = st.one_of(
    st.sampled_from(["same", "valid"]),
    st.integers(0, 2),
    st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2))),
)


@st.composite
def deformable(draw, channels):
    groups = draw(st.sampled_from([1, 2]))
    return DeformableConv2D, {
        "filters": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(pairs()),
        "strides": draw(pairs(2)),
        "padding": draw(PADDING),
        "dilation_rate": draw(pairs(2)),
        "groups": groups,
        "offset_groups": draw(st.sampled_from([1, 2])),
        "modulated": draw(st.booleans()),
        "offset_lr_multiplier": draw(st.sampled_from([1.0, 0.1])),
        "max_offset": draw(st.sampled_from([None, 1.5])),
        "activation": draw(st.sampled_from([None, "relu"])),
        "use_bias": draw(st.booleans()),
        "kernel_regularizer": draw(st.sampled_from([None, "l2"])),
    }


@st.composite
def aggregation(draw, channels):
    size = draw(pairs())
    odd = all(length % 2 for length in size) and size != (1, 1)
    kind = draw(st.sampled_from([DCNv3, DCNv4]))
    options = {
        "kernel_size": size,
        "strides": draw(pairs(2)),
        "padding": draw(PADDING),
        "groups": draw(st.sampled_from([1, 2])),
        "offset_scale": draw(st.sampled_from([1.0, 0.5])),
        "dw_kernel_size": draw(st.sampled_from([None, 3])),
        "center_feature_scale": draw(st.booleans()),
        "remove_center": odd and draw(st.booleans()),
    }
    if kind is DCNv4:
        options["without_pointwise"] = draw(st.booleans())
    return kind, options


@st.composite
def pooling(draw, channels):
    return DeformableRoIPooling2D, {
        "output_size": draw(pairs()),
        "modulated": draw(st.booleans()),
        "offset_units": draw(st.sampled_from([(), (5,)])),
        "spatial_scale": draw(st.sampled_from([1.0, 0.5])),
    }


@st.composite
def transformer(draw, channels):
    return SpatialTransformer, {
        "output_size": draw(st.sampled_from([None, (3, 4)])),
        "padding": draw(st.sampled_from(["zeros", "edge"])),
    }


@st.composite
def situations(draw):
    channels = 2 * draw(st.integers(1, 2))
    kinds = [deformable(channels), aggregation(channels), pooling(channels), transformer(channels)]
    kind, options = draw(st.one_of(*kinds, st.just((ConvOffset2D, {}))))
    return {
        "kind": kind,
        "options": options,
        "policy": draw(st.sampled_from(POLICIES)),
        "layout": draw(st.sampled_from(["channels_last", "channels_last", "channels_first"])),
        "size": draw(st.sampled_from([(7, 9), (9, 7), (8, 11)])),
        "channels": channels,
        "known": draw(st.booleans()),
        "batch": draw(st.integers(1, 3)),
        "frozen": draw(st.sampled_from(["nothing", "altogether", "a part", "a part"])),
        "portable": draw(st.booleans()),
        "way": draw(st.sampled_from(sorted(WAYS))),
        "trained": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**16)),
    }


def made(situation, rng):
    """The model, with weights that leave nothing where it started, and its inputs."""
    options = {**situation["options"], "dtype": situation["policy"], "data_format": situation["layout"]}
    if situation["kind"] is SpatialTransformer:
        pool = keras.layers.GlobalAveragePooling2D(dtype=situation["policy"], data_format=situation["layout"])
        layer = SpatialTransformer(pool, **options)
    else:
        layer = situation["kind"](**options)

    def laid_out(size):
        return (
            (situation["channels"], *size)
            if situation["layout"] == "channels_first"
            else (*size, situation["channels"])
        )

    known = situation["known"] or situation["kind"] is SpatialTransformer
    inputs = [keras.Input(laid_out(situation["size"] if known else (None, None)))]
    arrays = [rng.normal(size=(situation["batch"], *laid_out(situation["size"])))]
    if situation["kind"] is DeformableRoIPooling2D:
        inputs.append(keras.Input((2, 4)))
        corners = np.sort(rng.uniform(0, 7, size=(situation["batch"], 2, 2, 2)), axis=2)
        arrays.append(corners.reshape(situation["batch"], 2, 4) + np.array([0, 0, 1, 1]))
    model = keras.Model(inputs, layer(*inputs))
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.3))
    if situation["frozen"] == "altogether":
        layer.trainable = False
    elif situation["frozen"] == "a part":
        for weight in model.weights:
            weight.trainable = bool(rng.random() < 0.5)
    return model, [array.astype("float32") for array in arrays]


def with_weights(source, target):
    target.set_weights(source.get_weights())
    return target


def by_file(ending):
    def travel(model, folder):
        model.save(folder / f"model.{ending}")
        return keras.saving.load_model(folder / f"model.{ending}")

    return travel


def by_weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    arrived = type(model).from_config(model.get_config())
    arrived.load_weights(folder / "model.weights.h5")
    return arrived


WAYS = {
    "a .keras file": by_file("keras"),
    "a .h5 file": by_file("h5"),
    "a .weights.h5 file": by_weights,
    "clone_model": lambda model, folder: with_weights(model, keras.models.clone_model(model)),
    "from_config": lambda model, folder: with_weights(model, type(model).from_config(model.get_config())),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "compiled": None,
}


def compiled(model, arrays):
    """What the model gives as its engine compiles it."""
    if ENGINE == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda *given: model(list(given)), jit_compile=True)(*arrays)
    if ENGINE == "jax":
        import jax

        return jax.jit(lambda *given: model(list(given)))(*arrays)
    return model.predict(arrays, verbose=0)


def learning(model):
    return ["/".join(w.path.split("/")[-2:]) for w in model.weights if any(w is one for one in model.trainable_weights)]


def step(model, arrays):
    """One step of training; the weights after it."""
    model.compile("sgd", keras.losses.MeanSquaredError(), jit_compile=False)
    model.train_on_batch(
        arrays if len(arrays) > 1 else arrays[0], np.zeros(model.compute_output_shape(_shapes(arrays)), "float32")
    )
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def _shapes(arrays):
    return [array.shape for array in arrays] if len(arrays) > 1 else arrays[0].shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("travel")


@pytest.mark.filterwarnings("ignore")
@given(situations())
@settings(
    max_examples=DRAWS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_arrives_is_what_left(folder, situation):
    rng = np.random.default_rng(situation["seed"])
    keras.utils.clear_session()
    if ENGINE == "jax" and situation["seed"] % 16 == 0:  # now and then: what was compiled takes gigabytes
        import jax

        jax.clear_caches()
    with stock_operations() if situation["portable"] else nullcontext():
        model, arrays = made(situation, rng)
        given = arrays if len(arrays) > 1 else arrays[0]
        outputs = ops.convert_to_numpy(ops.cast(model(given), "float64"))
        assert np.isfinite(outputs).all()
        tolerance = TOLERANCES[situation["policy"]] * max(1, np.abs(outputs).max(initial=0))
        if situation["way"] == "compiled":
            found = ops.convert_to_numpy(ops.cast(compiled(model, arrays), "float64"))
            assert found.shape == outputs.shape
            np.testing.assert_allclose(found, outputs, rtol=0, atol=tolerance)
            return
        arrived = WAYS[situation["way"]](model, folder)
        np.testing.assert_allclose(
            ops.convert_to_numpy(ops.cast(arrived(given), "float64")), outputs, rtol=0, atol=tolerance * 1e-3
        )
        assert learning(arrived) == learning(model)
        if situation["trained"] and learning(model):
            before = [ops.convert_to_numpy(weight) for weight in model.weights]
            for name, old, ours, theirs in zip(
                [weight.path for weight in model.weights],
                before,
                step(model, arrays),
                step(arrived, arrays),
                strict=True,
            ):
                np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6, err_msg=name)
                if not any(name == weight.path for weight in model.trainable_weights):
                    np.testing.assert_array_equal(ours, old, err_msg=name)
