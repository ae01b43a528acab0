"""What does not learn still does not after the layer or model has travelled, whichever way it went."""

import copy
import pickle

import keras
import numpy as np
import pytest

from deformconv import (
    ConvOffset2D,
    DCNv3,
    DCNv4,
    DeformableConv2D,
    DeformableRoIPooling2D,
    SpatialTransformer,
    diagnostics,
    training,
)

SHAPE = (7, 5, 4)


def only_offsets(layer):
    layer.train_only_offsets()


def without_offsets(layer):
    layer.offset_conv.trainable = False


def all_but_one_bias(layer):
    for weight in layer.weights:
        weight.trainable = weight.path.endswith("offset_conv/bias")


def altogether(layer):
    layer.trainable = False


def by_file(ending):
    def travel(model, folder):
        model.save(folder / f"model.{ending}")
        return keras.saving.load_model(folder / f"model.{ending}")

    travel.__name__ = ending
    return travel


def clone_model(model, folder):
    return keras.models.clone_model(model)


def deepcopy(model, folder):
    return copy.deepcopy(model)


def pickled(model, folder):
    return pickle.loads(pickle.dumps(model))


def from_config(model, folder):
    return type(model).from_config(model.get_config())


WAYS = [by_file("keras"), by_file("h5"), clone_model, deepcopy, pickled, from_config]
HOLDS = [only_offsets, without_offsets, all_but_one_bias, altogether]


def learning(model):
    """What the optimizer changes: the names of the weights and of the layers that they belong to."""
    return sorted("/".join(weight.path.split("/")[-2:]) for weight in model.trainable_weights)


def batch(model, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(3, *SHAPE)).astype("float32")
    return inputs, rng.normal(size=model(inputs).shape).astype("float32")


def one_layer(**options):
    return keras.Sequential([keras.Input(SHAPE), DeformableConv2D(6, (3, 2), name="deformed", **options)])


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("travel", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("hold", HOLDS, ids=lambda hold: hold.__name__)
def test_a_frozen_part_stays_frozen(tmp_path, hold, travel):
    model = one_layer(modulated=True)
    hold(model.layers[0])
    arrived = travel(model, tmp_path)
    assert learning(arrived) == learning(model)
    assert arrived.layers[0].frozen == model.layers[0].frozen
    if travel not in (clone_model, from_config):
        inputs, _ = batch(model)
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(inputs)) for m in (model, arrived)))


# Keras restores no optimizer from `.h5`, whatever the layers: findings/keras-h5-loses-the-optimizer.sh.
@pytest.mark.parametrize("travel", [by_file("keras"), pickled, deepcopy], ids=lambda way: way.__name__)
def test_training_goes_on_bit_by_bit(tmp_path, travel):
    model = one_layer()
    model.layers[0].train_only_offsets()
    model.layers[0].offset_conv.bias.assign(np.linspace(0.1, 0.4, 12))
    model.compile("adam", keras.losses.MeanSquaredError())
    inputs, targets = batch(model)
    model.fit(inputs, targets, epochs=2, shuffle=False, verbose=0)
    arrived = travel(model, tmp_path)
    assert len(arrived.optimizer.variables) == len(model.optimizer.variables) == 2 + 2 * 2
    kernel = keras.ops.convert_to_numpy(arrived.layers[0].kernel)
    for one in (model, arrived):
        one.fit(inputs, targets, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(kernel, keras.ops.convert_to_numpy(arrived.layers[0].kernel))
    for ours, theirs in zip(model.weights, arrived.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


def test_weights_alone_say_nothing_of_freezing_and_go_to_their_places(tmp_path):
    """`.weights.h5` holds numbers: the model that loads them keeps its own freezing, and every weight its place."""
    source = keras.Sequential([keras.Input(SHAPE), DeformableConv2D(12, (3, 2), name="deformed")])  # both kernels alike
    source.layers[0].train_only_offsets()
    source.save_weights(tmp_path / "one.weights.h5")
    for options in ({}, {"frozen": ("kernel", "bias")}, {"frozen": "offset_conv"}):
        target = keras.Sequential([keras.Input(SHAPE), DeformableConv2D(12, (3, 2), name="deformed", **options)])
        expected = learning(target)
        target.load_weights(tmp_path / "one.weights.h5")
        assert learning(target) == expected
        for ours, theirs in zip(source.weights, target.weights, strict=True):
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


def test_an_exported_model_says_what_learns(tf, tmp_path):
    model = one_layer()
    model.layers[0].train_only_offsets()
    model.export(tmp_path / "saved", verbose=False)
    arrived = tf.saved_model.load(str(tmp_path / "saved"))
    assert len(arrived.trainable_variables) == 2 and len(arrived.variables) == 4


LAYERS = {
    "DeformableConv2D": (lambda **o: DeformableConv2D(6, (3, 2), modulated=True, **o), "offset_conv"),
    "ConvOffset2D": (ConvOffset2D, "offset_conv"),
    "DCNv3": (lambda **o: DCNv3((3, 2), center_feature_scale=True, **o), "offset"),
    "DCNv4": (lambda **o: DCNv4((3, 2), dw_kernel_size=3, center_feature_scale=True, **o), "value_proj"),
    "SpatialTransformer": (
        lambda **o: SpatialTransformer(keras.layers.GlobalAveragePooling2D(), **o),
        "transform",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_keeps_what_is_frozen_of_it(name, tmp_path):
    make, inner = LAYERS[name]
    for options in ({"frozen": inner}, {"frozen": f"{inner}/kernel"}, {"trainable": False}):
        model = keras.Sequential([keras.Input(SHAPE), make(**options)])
        frozen = {weight.path for weight in model.non_trainable_weights}
        assert frozen, "nothing was frozen"
        if "frozen" in options:
            assert all(inner in path for path in frozen)
        else:
            assert not model.trainable_weights
        model.save(tmp_path / "model.keras")
        arrived = keras.saving.load_model(tmp_path / "model.keras")
        assert learning(arrived) == learning(model)
        assert arrived.layers[0].get_config() == model.layers[0].get_config()


def test_pooling_keeps_what_is_frozen_of_it():
    layer = DeformableRoIPooling2D((3, 2), offset_units=(5,), frozen=("offset_dense_0",))
    layer.build((None, *SHAPE), (None, None, 4))
    copied = DeformableRoIPooling2D.from_config(layer.get_config())
    copied.build((None, *SHAPE), (None, None, 4))
    assert learning(copied) == learning(layer) and len(copied.trainable_weights) == 2


def test_a_layer_that_is_held_and_let_go_learns_altogether_as_everywhere_in_keras():
    layer = one_layer(frozen=("kernel", "bias")).layers[0]
    assert layer.frozen == ("kernel", "bias") and len(layer.trainable_weights) == 2
    layer.trainable = False
    layer.trainable = True
    assert layer.frozen == () and len(layer.trainable_weights) == 4


def test_one_weight_that_is_frozen_learns_again_with_the_offsets():
    layer = one_layer(frozen="offset_conv/bias").layers[0]
    layer.train_only_offsets()
    assert len(layer.trainable_weights) == 2


@pytest.mark.parametrize("activation", [keras.layers.LeakyReLU, keras.layers.PReLU])
def test_an_activation_that_is_a_layer_is_not_taken_for_frozen(activation):
    model = one_layer(activation=activation())
    assert model.layers[0].frozen == ()
    copied = keras.models.clone_model(model)
    for each in (model, copied):
        each(np.zeros((1, *SHAPE), "float32"))
    assert learning(copied) == learning(model)


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="'mine': kernel, bias, offset_conv, offset_conv/kernel, .*received 'weights'"):
        DeformableConv2D(6, 3, name="mine", frozen="weights").build((None, *SHAPE))


def test_a_configuration_from_before_has_nothing_frozen():
    config = DeformableConv2D(6, 3).get_config()
    del config["frozen"]
    assert DeformableConv2D.from_config(config).frozen == ()


# Models inside models, layers inside layers


def nested():
    backbone = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 1, name="plain"),
            DeformableConv2D(6, (3, 2), name="deformed"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="backbone",
    )
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(backbone(inputs)))


def shared():
    inputs = keras.Input((7, 5, 4))
    layer = DeformableConv2D(4, (3, 2), padding="same", name="deformed")
    return keras.Model(inputs, keras.layers.Conv2D(2, 1)(layer(layer(inputs))))


def in_a_wrapper():
    inputs = keras.Input((2, *SHAPE))
    return keras.Model(inputs, keras.layers.TimeDistributed(DeformableConv2D(6, (3, 2), name="deformed"))(inputs))


@keras.saving.register_keras_serializable(package="test_freezing")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [keras.layers.Conv2D(4, 1), DeformableConv2D(6, (3, 2), name="deformed")]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def subclassed():
    model = Subclassed()
    model(np.zeros((1, *SHAPE), "float32"))
    return model


MODELS = [nested, shared, in_a_wrapper, subclassed]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_layers_are_reached_wherever_they_are(make):
    model = make()
    assert [layer.name for layer in diagnostics.deformable_layers(model)] == ["deformed"]
    assert learning(training.train_only_offsets(model)) == sorted(f"offset_conv/{name}" for name in ("kernel", "bias"))
    images = np.random.default_rng(0).normal(size=(2, 2, *SHAPE) if make is in_a_wrapper else (2, *SHAPE))
    offsets = diagnostics.offsets_of(model, images.astype("float32"))
    assert list(offsets) == (["deformed", "deformed (2)"] if make in (shared, in_a_wrapper) else ["deformed"])
    for own in offsets.values():
        assert own.shape[0] == 2 and own.shape[3:] == (1, 3, 2, 2) and not own.any()
    statistics = diagnostics.offset_statistics(model, images.astype("float32"))
    assert all(told["largest"] == 0 for told in statistics.values())


@pytest.mark.parametrize("make", [nested, shared, in_a_wrapper], ids=lambda make: make.__name__)
def test_they_stay_frozen_in_a_file(make, tmp_path):
    model = training.train_only_offsets(make())
    model.save(tmp_path / "model.keras")
    arrived = keras.saving.load_model(tmp_path / "model.keras")
    assert learning(arrived) == learning(model)


def test_batchnorm_alone_is_reached_too():
    assert learning(training.train_only_batchnorm(nested())) == ["norm/beta", "norm/gamma"]


def test_a_model_with_nothing_to_train_is_refused():
    plain = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 1)], name="plain")
    with pytest.raises(ValueError, match="DeformableConv2D or ConvOffset2D, or nothing would learn; 'plain' has none"):
        training.train_only_offsets(plain)
    with pytest.raises(ValueError, match="BatchNormalization"):
        training.train_only_batchnorm(plain)


def test_the_check_for_diverged_offsets_reaches_a_model_inside():
    from deformconv.training import health

    model = nested()
    (layer,) = diagnostics.deformable_layers(model)
    layer.offset_conv.bias.assign(np.full(12, 99.0))
    with pytest.raises(health.Diverged, match="offsets of 'deformed'.* 7 x 5"):
        health.check(model, np.zeros((2, *SHAPE), "float32"), 3, 1.0)
