"""The trained classifier that comes with the package."""

import os

import numpy as np
import pytest

from deformconv import training
from deformconv.study import results
from deformconv.study.digits import datasets, models, trained
from deformconv.training.scaling import scaled_copy


def test_both_come_out_of_one_set_of_weights_and_only_offsets_differ():
    regular, deformable = trained.load("regular"), trained.load("deformable")
    own = {weight.path: weight.numpy() for weight in deformable.weights}
    assert all(np.array_equal(own[weight.path], weight.numpy()) for weight in regular.weights)
    offsets = [path for path in own if path not in {weight.path for weight in regular.weights}]
    assert len(offsets) == 6 and all("offset_conv" in path and own[path].any() for path in offsets)
    assert trained.about()["trained_parameters"] == sum(own[path].size for path in offsets) == 36_342


def test_it_is_a_run_of_the_committed_results(request):
    committed = results.read(request.config.rootpath / "book/results/scaled_mnist_first.json")
    assert trained.about() in committed


@pytest.mark.skipif("DEFORMCONV_DATA" not in os.environ, reason="needs MNIST: $DEFORMCONV_DATA is not set")
def test_half_precision_costs_no_accuracy():
    """On the first test images; the run's own accuracies are of all 10,000."""
    data, said = datasets.load("mnist"), trained.about()
    images, labels = data.x_test[:2000], data.y_test[:2000]
    deformable = trained.load()
    assert training.accuracy(deformable, images, labels) == pytest.approx(said["zoom"]["1.0"], abs=0.0015)
    scaled = scaled_copy(images, 2017)
    assert (
        training.accuracy(deformable, scaled, labels)
        > training.accuracy(trained.load("regular"), scaled, labels) + 0.25
    )


def test_what_is_saved_is_loaded_to_half_a_unit_in_the_last_place(tmp_path, rng):
    model = models.digit_classifier(models.deformable)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    trained.save(model, {"seed": 3}, tmp_path / "own.npz")
    again = trained.load("deformable", tmp_path / "own.npz")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2**-11, atol=2**-25)
    assert trained.about(tmp_path / "own.npz") == {"seed": 3}


def test_a_weight_beyond_half_precision_is_refused_and_nothing_is_written(tmp_path):
    model = models.digit_classifier(models.deformable)
    model.get_layer("fc1").bias.assign([1e5] * 10)
    with pytest.raises(ValueError, match="fc1/bias is too large for half precision"):
        trained.save(model, {}, tmp_path / "own.npz")
    assert not list(tmp_path.iterdir())


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="`name` must be one of regular, deformable; received 'modulated'"):
        trained.load("modulated")
