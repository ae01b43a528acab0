"""The classifier, transplants, what is frozen; that frozen means frozen is seen on weights that were trained."""

import functools

import keras
import numpy as np
import pytest

from deformconv import training
from deformconv.study.digits import models
from deformconv.study.digits.variants import VARIANTS

BATCHNORM = {
    f"{name}_bn/{weight}"
    for name in models.CONVOLUTIONS
    for weight in ("gamma", "beta", "moving_mean", "moving_variance")
}
PLAIN = BATCHNORM | {f"{layer}/{weight}" for layer in (*models.CONVOLUTIONS, "fc1") for weight in ("kernel", "bias")}
OFFSETS = {f"{name}/offset_conv/{weight}" for name in models.DEFORMED for weight in ("kernel", "bias")}
CONV_OFFSETS = {f"{name}_offset/offset_conv/kernel" for name in models.DEFORMED}

ADAPTERS = {f"{name}_adapter/{weight}" for name in models.DEFORMED for weight in ("kernel", "bias")}
conv_offset_2017 = functools.partial(models.conv_offset, layout="2017")

MAKERS = {
    "rigid": (models.rigid, PLAIN),
    "deformable": (models.deformable, PLAIN | OFFSETS),
    "conv_offset": (models.conv_offset, PLAIN | CONV_OFFSETS),
    "conv_offset_2017": (conv_offset_2017, PLAIN | CONV_OFFSETS),
    "adapted": (models.adapted, PLAIN | ADAPTERS),
}


def values(model):
    return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}


# Their form


@pytest.mark.parametrize("convolution, paths", MAKERS.values(), ids=MAKERS)
def test_weights_have_their_names(convolution, paths):
    model = models.digit_classifier(convolution)
    assert {weight.path for weight in model.weights} == paths
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 10))


@pytest.mark.parametrize("front", [list, models.spatial_transformer])
@pytest.mark.parametrize("convolution", [maker for maker, _ in MAKERS.values()], ids=MAKERS)
def test_a_setting_of_channels_first_makes_the_same_network(channels_first_setting, convolution, front):
    made = models.digit_classifier(convolution, front=front)
    keras.config.set_image_data_format("channels_last")
    usual = models.digit_classifier(convolution, front=front)
    assert made.get_layer("conv11").output.shape == (None, 28, 28, 32)
    assert [layer.output.shape for layer in made.layers] == [layer.output.shape for layer in usual.layers]
    usual.set_weights(made.get_weights())
    images = np.random.default_rng(0).uniform(size=(2, 28, 28, 1)).astype("float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(model(images)) for model in (made, usual)))


def test_the_rigid_classifier_has_the_242_954_parameters_of_2017():
    assert models.digit_classifier().count_params() == 242_954


def test_an_answer_is_ten_probabilities(study):
    answer = study.model("regular", 0).predict(study.data.x_test[:3], verbose=0)
    assert answer.shape == (3, 10) and answer.min() > 0
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


def test_batchnorm_follows_at_the_asked_momentum():
    momenta = [
        {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
        for model in (models.digit_classifier(), models.digit_classifier(batchnorm_momentum=0.9))
    ]
    assert momenta == [{0.99}, {0.9}]


# Transplants


@pytest.mark.parametrize("convolution", [models.deformable, conv_offset_2017])
def test_with_zero_offsets_a_transplanted_classifier_answers_as_the_rigid_one(study, convolution):
    regular = study.model("regular", 0)
    target = models.digit_classifier(convolution)
    assert training.transplant(regular, target) is target
    images = study.data.x_test[:7]
    np.testing.assert_allclose(target(images), regular(images), atol=2e-6)


def test_a_target_without_a_weight_of_the_source_is_refused_untouched():
    source, target = models.digit_classifier(models.deformable), models.digit_classifier()
    before = values(target)
    with pytest.raises(ValueError, match="it has no 'conv12/offset_conv/kernel'"):
        training.transplant(source, target)
    assert all(np.array_equal(before[path], value) for path, value in values(target).items())


def test_a_target_with_another_shape_is_refused_untouched():
    def narrower(name, filters, strides):
        return models.rigid(name, 5 if name == "conv22" else filters, strides)

    source, target = models.digit_classifier(), models.digit_classifier(narrower)
    before = values(target)
    with pytest.raises(ValueError, match=r"'conv22/kernel' is \(3, 3, 128, 128\) in `source` and \(3, 3, 128, 5\)"):
        training.transplant(source, target)
    assert all(np.array_equal(before[path], value) for path, value in values(target).items())


# Frozen means frozen


@pytest.mark.parametrize(
    "convolution, freeze, trained, count",
    [
        (models.deformable, training.train_only_offsets, OFFSETS, 36_342),
        (models.rigid, training.train_only_batchnorm, {path for path in BATCHNORM if "moving" not in path}, 704),
        (
            conv_offset_2017,
            models.freeze_as_in_2017,
            CONV_OFFSETS | {path for path in BATCHNORM if "moving" not in path},
            18_432 + 73_728 + 294_912 + 704,
        ),
        (conv_offset_2017, training.train_only_offsets, CONV_OFFSETS, 18_432 + 73_728 + 294_912),
        (models.rigid, lambda model: model, {path for path in PLAIN if "moving" not in path}, 242_250),
    ],
)
def test_the_optimizer_is_left_these_weights(convolution, freeze, trained, count):
    model = models.digit_classifier(convolution)
    assert freeze(model) is model
    assert {weight.path for weight in model.trainable_weights} == trained
    assert training.count_trained(model) == count


CHANGED = {
    "batchnorm-only": BATCHNORM,
    "conv-offset-2017": BATCHNORM,  # the offsets are not among them
    "conv-offset": CONV_OFFSETS,
    "deformable": OFFSETS,
    "deformable-all-layers": OFFSETS | {"conv11/offset_conv/kernel", "conv11/offset_conv/bias"},
    "deformable-groups": OFFSETS | {"conv11/offset_conv/kernel", "conv11/offset_conv/bias"},
    "modulated": OFFSETS,
    "equal-parameters": ADAPTERS,
}


@pytest.mark.parametrize("variant", [name for name, kind in VARIANTS.items() if kind.frozen])
def test_a_fine_tune_changes_these_weights_and_no_bit_of_any_other(study, variant):
    """BatchNorm's statistics are among the weights."""
    start = VARIANTS[variant].network(batchnorm_momentum=0.9)
    before = values(training.transplant(study.model("regular", 0), start))
    after = values(study.model(variant, 0))
    assert after.keys() == before.keys()
    changed = {path for path, value in after.items() if value.tobytes() != before[path].tobytes()}
    if variant == "spatial-transformer":
        assert changed == after.keys() - PLAIN
    else:
        assert changed == CHANGED[variant]


@pytest.mark.parametrize("name", [name for name, kind in VARIANTS.items() if kind.start_trained])
def test_before_its_training_a_variant_is_the_classifier_that_it_starts_from(study, name):
    """Also the warped one: its warp is the identity, but for the rounding of coordinates."""
    regular, images = study.model("regular", 0), study.data.x_test[:3]
    start = training.transplant(regular, VARIANTS[name].network(batchnorm_momentum=0.9))
    np.testing.assert_allclose(start(images), regular(images), atol=1e-5)


@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_is_described_and_makes_a_classifier(kind):
    assert kind.description.endswith(".")
    assert (kind.network().input_shape, kind.network().output_shape) == ((None, 28, 28, 1), (None, 10))


def test_the_control_of_equal_parameters_has_at_least_as_many():
    trained = {}
    for name in ("deformable", "equal-parameters"):
        trained[name] = training.count_trained(VARIANTS[name].train_only(VARIANTS[name].network()))
    assert 1 <= trained["equal-parameters"] / trained["deformable"] < 1.05


def test_2017s_offsets_are_exactly_zero_after_training(study):
    trained = values(study.model("conv-offset-2017", 0))
    assert [int(np.count_nonzero(trained[path])) for path in sorted(CONV_OFFSETS)] == [0, 0, 0]
