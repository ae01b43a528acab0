"""Offsets, dilation and receptive fields of networks whose answer is known."""

import keras
import numpy as np
import pytest

from deformconv import DCNv4, diagnostics, training
from deformconv.study.digits import models


@pytest.fixture
def deformable(study):
    """The regular classifier as a deformable one: all offsets zero."""
    return training.transplant(study.model("regular", 0), models.digit_classifier(models.deformable))


def test_offsets_are_of_each_layer_and_each_tap(deformable, study):
    deformable.get_layer("conv12").offset_conv.bias.assign(np.arange(18.0))
    offsets = diagnostics.offsets_of(deformable, study.data.x_test[:3])
    assert {name: own.shape for name, own in offsets.items()} == {
        "conv12": (3, 14, 14, 1, 3, 3, 2),
        "conv21": (3, 14, 14, 1, 3, 3, 2),
        "conv22": (3, 7, 7, 1, 3, 3, 2),
    }
    np.testing.assert_allclose(offsets["conv12"][2, 5, 1, 0, 1, 0], [6, 7])  # the tap in row 1, column 0
    assert not offsets["conv21"].any()


def test_statistics_are_those_of_the_offsets(deformable, study):
    deformable.get_layer("conv21").offset_conv.bias.assign(np.tile([3, -4], 9))
    statistics = diagnostics.offset_statistics(deformable, study.data.x_test[:3])
    assert statistics["conv12"] == {"mean_length": 0, "deviation": 0, "largest": 0}
    assert statistics["conv21"] == pytest.approx({"mean_length": 5, "deviation": 3.5, "largest": 5})


def test_a_network_without_offsets_has_none(study):
    with pytest.raises(ValueError, match="'digit_classifier' has none"):
        diagnostics.offsets_of(study.model("regular", 0), study.data.x_test[:1])


def test_without_offsets_the_effective_dilation_is_the_dilation():
    assert diagnostics.effective_dilation(np.zeros((2, 5, 4, 3, 3, 2, 2))).tolist() == np.ones((2, 5, 4)).tolist()
    both = diagnostics.effective_dilation(np.zeros((1, 1, 1, 1, 3, 2, 2)), dilation_rate=(4, 2))
    assert both[0, 0, 0] == pytest.approx((4 * 4 + 3 * 2) / 7)  # four pairs down, three across


def test_taps_pushed_apart_have_a_larger_one():
    taps = np.stack(np.meshgrid([-1.0, 0, 1], [-0.5, 0.5], indexing="ij"), axis=-1)
    offsets = np.stack([0.5 * taps, -0.25 * taps])[:, None, None, None]
    np.testing.assert_allclose(diagnostics.effective_dilation(offsets)[:, 0, 0], [1.5, 0.75])


def test_dilation_is_told_apart_on_the_digit_and_beside_it(deformable):
    """A picture with light in its left half."""
    images = np.zeros((2, 28, 28, 1), "float32")
    images[:, :, :14] = 1
    assert diagnostics.dilation_on_digits(deformable, images)["conv22"] == {"digit": 1, "background": 1}
    taps = np.stack(np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"), axis=-1)
    deformable.get_layer("conv12").offset_conv.bias.assign(0.5 * taps.ravel())
    told = diagnostics.dilation_on_digits(deformable, images)
    assert told["conv12"] == pytest.approx({"digit": 1.5, "background": 1.5})
    assert diagnostics.dilation_on_digits(deformable, images * 0)["conv12"]["digit"] is None


def test_the_field_of_a_plain_network_is_inside_its_thirteen_pixels(study):
    field = diagnostics.effective_receptive_field(study.model("regular", 0), study.data.x_test[0], pixel=(2, 4))
    rows, columns = np.nonzero(field > 1e-6)
    # `same` with stride 2 pads one pixel after, none before: the middle is at 4 p + 3.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 17, 13, 25)
    assert field.sum() == pytest.approx(1, abs=1e-5) and field.min() >= 0


def test_offsets_move_the_field(deformable, study):
    image = study.data.x_test[0]
    before = diagnostics.effective_receptive_field(deformable, image)
    deformable.get_layer("conv12").offset_conv.bias.assign(np.tile([0, 3], 9))
    after = diagnostics.effective_receptive_field(deformable, image)
    columns = np.arange(28)
    assert (after.sum(axis=0) * columns).sum() - (before.sum(axis=0) * columns).sum() == pytest.approx(3, abs=1)


def test_the_reach_of_a_field_is_its_spread():
    field = np.zeros((5, 4))
    field[2, 1] = 0.5
    assert diagnostics.reach(field) == 0
    field[2, 3] = 0.5
    assert diagnostics.reach(field) == pytest.approx(1)


def v4_in_a_row(rng):
    """Two of them, the second of which hides the first."""
    layers = [DCNv4((3, 2), groups=2, name=name) for name in ("first", "second")]
    model = keras.Sequential([keras.Input((5, 4, 6)), *layers, keras.layers.Flatten(), keras.layers.Dense(2)])
    return model, rng.normal(size=(3, 5, 4, 6)).astype("float32"), rng.normal(size=(3, 2)).astype("float32")


def test_weights_that_no_gradient_reaches_are_named(rng):
    model, *batch = v4_in_a_row(rng)
    before = model.get_weights()
    dead = diagnostics.dead_weights(model, *batch, loss="mse")
    assert dead == [w.path for w in model.weights[:11]] and dead[10].endswith("second/output_proj/kernel")
    np.testing.assert_equal(model.get_weights(), before)
    assert not model.compiled


def test_a_weight_whose_turn_comes_later_is_not_dead_nor_is_one_that_is_frozen(rng):
    """The offsets wait for the mask; the first layer's, for that of the second."""
    model, *batch = v4_in_a_row(rng)
    model.compile("sgd", "mse")
    for name in ("first", "second"):
        bias = model.get_layer(name).offset_mask.bias
        bias.assign(np.ones(bias.shape))
    assert diagnostics.dead_weights(model, *batch) == []
    model.get_layer("second").output_proj.trainable = False
    assert diagnostics.dead_weights(model, *batch) == []


def test_what_is_frozen_stays_frozen_while_it_is_tried(rng):
    """A mask that is kept at zero: nothing that it hides can learn."""
    model, *batch = v4_in_a_row(rng)
    bias = model.get_layer("second").offset_mask.bias
    bias.assign(np.ones(bias.shape))
    model.get_layer("first").offset_mask.trainable = False
    dead = ["/".join(path.split("/")[-3:]) for path in diagnostics.dead_weights(model, *batch, loss="mse")]
    assert dead == ["first/value_proj/kernel", "first/value_proj/bias", "first/output_proj/kernel"]


def test_without_a_loss_nothing_learns(rng):
    model, *batch = v4_in_a_row(rng)
    with pytest.raises(ValueError, match="`loss` must be given, for `model` is not compiled with one"):
        diagnostics.dead_weights(model, *batch)
    with pytest.raises(ValueError, match="`steps` must be a positive int; received 0"):
        diagnostics.dead_weights(model, *batch, loss="mse", steps=0)
