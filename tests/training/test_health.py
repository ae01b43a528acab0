"""A training that has lost its way stops, with the name of the layer and advice; what is logged on the way."""

import json
import re
import warnings

import keras
import numpy as np
import pytest

from deformconv import training
from deformconv.layers import ConvOffset2D, DCNv4, DeformableConv2D
from deformconv.training import health
from deformconv.training.logs import Logs


@pytest.fixture
def images(rng):
    return rng.uniform(size=(40, 9, 7, 1)).astype("float32")


def network(**options):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((9, 7, 1))
    x = DeformableConv2D(4, (3, 2), name="first", **options)(inputs)
    x = DeformableConv2D(4, 3, strides=2, name="second", **options)(x)
    return keras.Model(inputs, keras.layers.Dense(10, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))


def test_offsets_are_measured_in_pixels_layer_by_layer(images):
    model = network()
    assert health.check(model, images, 5, loss=1.0) == {"first": 0, "second": 0}
    model.get_layer("second").offset_conv.bias.assign(np.tile([3.0, -4.0], 9))
    assert health.check(model, images, 5, loss=1.0) == pytest.approx({"first": 0, "second": 5})


def test_offsets_that_have_left_the_picture_are_named_with_their_layer(images):
    """The second layer's input is 7 x 6: offsets of 13 pixels are the last that may be."""
    model = network()
    model.get_layer("second").offset_conv.bias.assign(np.tile([5.0, -12.0], 9))
    assert health.check(model, images, 5, loss=1.0)["second"] == pytest.approx(13)
    model.get_layer("second").offset_conv.bias.assign(np.tile([5.0, -12.1], 9))
    words = (
        r"After step 5 the offsets of 'second' are 13.09 pixels long on average, in an input of 7 x 6: .* Try a lower"
    )
    with pytest.raises(health.Diverged, match=words):
        health.check(model, images, 5, loss=1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(images, bad):
    model = network()
    kernel = model.get_layer("second").kernel
    kernel.assign(np.full(kernel.shape, bad))
    with pytest.raises(health.Diverged, match="After step 7 the weight 'second/kernel' has numbers .* `max_offset`"):
        health.check(model, images, 7, loss=1.0)
    model.get_layer("first").bias.assign(np.full(4, bad))
    with pytest.raises(health.Diverged, match="the weight 'first/bias' and 1 more has numbers"):
        health.check(model, images, 7, loss=1.0)


def test_a_loss_that_is_not_finite_is_told_apart(images):
    with pytest.raises(health.Diverged, match="After step 7 the loss is nan; all weights are finite still"):
        health.check(network(), images, 7, loss=float("nan"))


def test_a_training_whose_offsets_explode_stops_and_a_bound_keeps_it(images, rng, tmp_path):
    labels = rng.integers(0, 10, size=40)
    options = {"steps": 12, "batch_size": 8, "learning_rate": 20.0, "every": 4}
    with pytest.raises(health.Diverged, match="After step 4 the offsets of '(first|second)' are .* pixels long"):
        training.fit(network(), images, labels, logs=tmp_path / "free", **options)
    training.fit(network(max_offset=2), images, labels, logs=tmp_path / "bound", **options)
    lines = (tmp_path / "bound" / "log.jsonl").read_text().splitlines()
    lengths = [json.loads(line)["offset_norm"] for line in lines]
    assert len(lengths) == 3 and all(0 < one[name] < 3 for one in lengths for name in ("first", "second"))


STILL = (
    "11 of 14 trainable weights have not moved in 20 steps, 'first/value_proj/kernel' for one: no gradient reaches "
    "them. DCNv4 starts at zero: two in a row, .* Add a shortcut or give `mask_bias_initializer`"
)


def deaf(first, second):
    inputs = keras.Input((7, 7, 1))
    x = second(first(keras.layers.Conv2D(4, 1, trainable=False)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(10, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture
def told(images, rng, tmp_path):
    """`told(model, **options)`: what 20 steps of training, and a look at the end of every ten, warn of."""

    def tell(model, **options):
        labels = rng.integers(0, 10, size=40)
        how = {"batch_size": 8, "logs": tmp_path}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            training.fit(model, images[:, :7], labels, **{"steps": 20, "every": 10, **options}, **how)
        return [str(one.message) for one in caught if "moved" in str(one.message)]

    return tell


def test_weights_that_do_not_move_are_told_of_once(told):
    (message,) = told(deaf(DCNv4(name="first"), DCNv4(name="second")), steps=30)
    assert re.fullmatch(f"{STILL}.*", message)


def test_weights_that_a_relu_hides_are_told_of_too(told):
    (message,) = told(deaf(keras.layers.Conv2D(4, 1, bias_initializer="ones"), keras.layers.ReLU(threshold=1e9)))
    assert re.fullmatch("3 of 4 trainable weights have not moved .*: no gradient reaches them.", message)


def test_nothing_is_said_of_what_learns_is_frozen_or_is_dead_by_design(told):
    model = deaf(DCNv4(mask_bias_initializer="ones"), DCNv4(mask_bias_initializer="ones"))
    assert told(model) == []
    for layer in model.layers[2:4]:
        layer.trainable = False
    assert told(model) == []
    assert told(deaf(ConvOffset2D("2017"), DCNv4())) == []


def test_nothing_is_said_too_early_or_without_a_learning_rate(told):
    assert told(deaf(DCNv4(), DCNv4()), steps=19) == []
    assert told(deaf(DCNv4(), DCNv4()), learning_rate=0.0) == []


def scalars(folder):
    """What TensorBoard reads there: `{tag: [(step, value), ...]}`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_each_look_is_a_line_and_a_point_for_tensorboard(images, rng, tmp_path):
    labels = rng.integers(0, 10, size=40)
    options = {"steps": 6, "batch_size": 8, "every": 2, "validation": (images[:9], labels[:9]), "learning_rate": 0.01}
    told = training.fit(network(), images, labels, logs=tmp_path, **options)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    numbers = {"loss", "accuracy", "validation_loss", "validation_accuracy"}
    assert records[0].keys() == numbers | {"step", "learning_rate", "offset_norm", "images_per_second", "seconds"}
    assert {name: records[-1][name] for name in numbers} == {name: told[name] for name in numbers}
    expected = [0.01 * (1 + np.cos(np.pi * step / 6)) / 2 for step in (2, 4, 6)]
    np.testing.assert_allclose([record["learning_rate"] for record in records], expected, atol=1e-6)
    assert records[-1]["offset_norm"].keys() == {"first", "second"} and records[-1]["offset_norm"]["second"] > 0
    drawn = scalars(tmp_path)
    for tag in ("validation_loss", "images_per_second"):
        assert drawn[tag] == [(record["step"], pytest.approx(record[tag], rel=1e-6)) for record in records]
    assert [value for _, value in drawn["offset_norm/second"]] == pytest.approx(
        [record["offset_norm"]["second"] for record in records]
    )


def test_lines_of_what_was_cut_off_go_when_a_training_is_taken_up(tmp_path):
    log = Logs(tmp_path, 0)
    for step in (2, 4, 6):
        log.write({"step": step, "loss": 1.0 / step})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    Logs(tmp_path, 4).close()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [2, 4]


def test_the_log_of_another_training_is_set_aside(tmp_path):
    for step in (1, 2, 3):
        if step == 1:
            log = Logs(tmp_path, 0)
        else:
            with pytest.warns(
                UserWarning, match=rf"log.jsonl is of an earlier start; it is .*log.jsonl.{step - 1} now"
            ):
                log = Logs(tmp_path, 0)
        log.write({"step": step})
        log.close()
    found = {path.name: path.read_text() for path in tmp_path.glob("log.jsonl*")}
    names = {"log.jsonl.1": 1, "log.jsonl.2": 2, "log.jsonl": 3}
    assert found == {name: f'{{"step": {step}}}\n' for name, step in names.items()}
