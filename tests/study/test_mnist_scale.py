"""The MNIST-scale protocol: what is drawn, how it is shrunk, a tiny run of it."""

import dataclasses
import os

import numpy as np
import pytest

from deformconv import DeformableConv2D
from deformconv.study.digits import datasets, models
from deformconv.study.mnist_scale import experiment, protocol

SETTINGS = experiment.Settings(
    steps=3, batch_size=16, training_images=100, validation_images=20, test_images=50, batchnorm_momentum=0.9
)


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


def test_the_three_sets_are_drawn_without_repetition_each_label_in_its_share(data, monkeypatch):
    monkeypatch.setattr(protocol, "_shrunk", lambda image, scale: image)
    sets = protocol.realisation(data, 0, SETTINGS)
    assert {name: len(labels) for name, (_, labels) in sets.items()} == {"training": 100, "validation": 20, "test": 50}
    pool = {image.tobytes() for image in np.concatenate([data.x_train, data.x_test])}
    drawn = [image.tobytes() for images, _ in sets.values() for image in images]
    assert len(set(drawn)) == len(drawn) == 170 and set(drawn) < pool
    for _, labels in sets.values():
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 1


def test_realisations_differ_and_each_can_be_had_again(data):
    first, again, other = (protocol.realisation(data, number, SETTINGS)["test"][0] for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 0.1


def test_a_set_larger_than_the_pool_is_refused(data):
    with pytest.raises(ValueError, match="digits has 1,797 images; received settings that ask for"):
        protocol.realisation(data, 0, experiment.Settings())


def test_all_of_the_pool_may_be_taken(data):
    everything = experiment.Settings(training_images=1000, validation_images=300, test_images=497)
    assert sum(len(labels) for _, labels in protocol.realisation(data, 0, everything).values()) == 1797


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.8])
def test_an_image_shrinks_about_its_middle(scale):
    """A Gaussian, whose width says how much; its middle is off the centre, and moves towards it."""
    y, x = np.meshgrid(np.arange(28), np.arange(28), indexing="ij")
    image = np.exp(-((y - 17.5) ** 2 + (x - 11.5) ** 2) / (2 * 4.0**2)).astype("float32")[..., None]
    small = protocol._shrunk(image, scale)[..., 0]
    assert small.shape == (28, 28) and small.dtype == np.float32 and small.min() >= 0 and small.max() <= 1
    middle = [(small * axis).sum() / small.sum() for axis in (y, x)]
    np.testing.assert_allclose(middle, [13.5 + 4 * scale, 13.5 - 2 * scale], atol=0.1)
    width = np.sqrt((small * (y - middle[0]) ** 2).sum() / small.sum())
    assert width == pytest.approx(4 * scale, rel=0.06)


def test_an_unshrunk_image_is_itself(data):
    np.testing.assert_allclose(protocol._shrunk(data.x_test[0], 1.0), data.x_test[0], atol=0.5 / 255 + 1e-6)


def test_a_run_tells_its_errors_and_trains_everything(data, tmp_path, monkeypatch):
    queue = experiment.MnistScale(data, SETTINGS, tmp_path, "the command", progress=False)
    (run,) = queue.run_all(["modulated"], [2])
    assert (run["variant"], run["seed"], run["dataset"], run["command"]) == (
        "modulated",
        2,
        "mnist-scale",
        "the command",
    )
    assert run["trained_parameters"] == 242_250 + 54_513
    assert run["description"] == "The same with a learned weight for each tap as well (DCNv2)."
    assert 0 < run["error"] <= 1 and round(50 * run["error"]) == pytest.approx(50 * run["error"])
    assert sorted(os.listdir(tmp_path)) == ["results.json", "results.lock", "unfinished", "weights"]
    monkeypatch.setattr(experiment.MnistScale, "train", None)
    assert list(experiment.MnistScale(data, SETTINGS, tmp_path).run_all(["modulated"], [2])) == [run]


def test_offsets_learn_at_the_rate_of_the_settings_and_the_plain_network_has_none(data, tmp_path):
    slow = dataclasses.replace(SETTINGS, offset_lr_multiplier=0.1)
    queue = experiment.MnistScale(data, slow, tmp_path)
    for variant, modulated in (("deformable", False), ("modulated", True)):
        layers = [layer for layer in queue.network(variant).layers if isinstance(layer, DeformableConv2D)]
        assert [layer.name for layer in layers] == ["conv12", "conv21", "conv22"]
        assert all((layer.offset_lr_multiplier, layer.modulated) == (0.1, modulated) for layer in layers)
    assert queue.network("regular").count_params() == models.digit_classifier().count_params()
