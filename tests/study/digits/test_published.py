"""The two weight files of 2017: what they hold, and that only the right files are taken for them."""

import hashlib
import os

import numpy as np
import pytest

from deformconv import training
from deformconv.study.digits import datasets, models, published
from deformconv.training.scaling import scaled_copy

KERNEL_SIZES = {"conv12_offset": 18_432, "conv21_offset": 73_728, "conv22_offset": 294_912}


@pytest.fixture(scope="module")
def files():
    found = published.weight_files()
    if found is None:
        pytest.skip("needs 2017's weight files: in $DEFORMCONV_DATA/deform-conv-2017 or downloaded")
    return found


@pytest.fixture(scope="module")
def weights(files):
    return {name: published.read(path) for name, path in files.items()}


# What they hold


def test_reading_gives_every_weight_of_the_classifier(weights):
    own = {weight.path: tuple(weight.shape) for weight in models.digit_classifier().weights}
    assert {name: value.shape for name, value in weights["cnn.h5"].items()} == own
    offsets = {f"{name}/kernel" for name in KERNEL_SIZES}
    assert weights["deform_cnn.h5"].keys() == own.keys() | offsets


def test_all_387_072_offset_weights_are_zero(weights):
    offsets = [weights["deform_cnn.h5"][f"{name}/kernel"] for name in KERNEL_SIZES]
    assert [offset.size for offset in offsets] == list(KERNEL_SIZES.values())
    assert sum(offset.size for offset in offsets) == 387_072
    assert not any(offset.any() for offset in offsets)


def test_only_batchnorm_differs_between_the_two_files(weights):
    plain, deform = weights["cnn.h5"], weights["deform_cnn.h5"]
    differing = {name for name in plain if plain[name].tobytes() != deform[name].tobytes()}
    assert differing == {name for name in plain if "_bn/" in name}


def test_assigned_weights_are_the_files(weights):
    model = models.digit_classifier()
    published.assign(model, weights["deform_cnn.h5"])
    for weight in model.weights:
        np.testing.assert_array_equal(weight.numpy(), weights["deform_cnn.h5"][weight.path])


@pytest.mark.skipif("DEFORMCONV_DATA" not in os.environ, reason="needs MNIST: $DEFORMCONV_DATA is not set")
@pytest.mark.parametrize("name, regular, scaled", [("cnn.h5", 0.9874, 0.5701), ("deform_cnn.h5", 0.9727, 0.9255)])
def test_a_classifier_without_any_offset_layer_has_2017s_accuracies(weights, name, regular, scaled):
    """On 1,000 images, so within three standard deviations of the share."""
    data = datasets.load("mnist")
    images, labels = data.x_test[::10], data.y_test[::10]
    model = models.digit_classifier()
    published.assign(model, weights[name])
    for seen, share in ((images, regular), (scaled_copy(images, 2017, interpolation="nearest"), scaled)):
        deviation = (share * (1 - share) / 1000) ** 0.5
        assert training.accuracy(model, seen, labels) == pytest.approx(share, abs=3 * deviation)


# Finding them


@pytest.fixture
def small_files(monkeypatch):
    """Two small files, which the package takes for 2017's."""
    contents = {"cnn.h5": b"plain", "deform_cnn.h5": b"deform"}
    monkeypatch.setattr(published, "SHA256", {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()})
    return contents


def place(folder, contents):
    folder = folder / "deform-conv-2017"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_absent_and_not_asked_for_they_are_none(nothing_cached, monkeypatch):
    monkeypatch.setattr(datasets, "download", None)
    assert published.weight_files() is None


def test_one_of_the_two_is_not_enough(nothing_cached, small_files):
    del small_files["cnn.h5"]
    place(nothing_cached, small_files)
    assert published.weight_files() is None


@pytest.mark.parametrize("places", [["data"], ["keras/datasets"], ["data", "keras/datasets"]])
def test_they_are_found_in_the_data_folder_then_in_the_cache(
    nothing_cached, monkeypatch, tmp_path, small_files, places
):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DEFORMCONV_DATA", str(tmp_path / "data"))
    first, *_ = [place(tmp_path / folder, small_files) for folder in places]
    assert published.weight_files() == {name: first / name for name in small_files}


@pytest.mark.parametrize("download", [False, True])
def test_a_damaged_file_is_refused(nothing_cached, small_files, download):
    folder = place(nothing_cached, {**small_files, "deform_cnn.h5": b"deforn"})
    with pytest.raises(ValueError, match="deform_cnn.h5 is damaged: its SHA-256"):
        published.weight_files(download)
    assert (folder / "deform_cnn.h5").read_bytes() == b"deforn"


def test_they_are_downloaded_if_asked_for_and_checked(nothing_cached, small_files, serve, whole_answer, monkeypatch):
    url, asked = serve(whole_answer(b"plain"))
    monkeypatch.setattr(published, "URL", url)
    with pytest.raises(ConnectionError, match="Could not download deform_cnn.h5 .* is damaged"):
        published.weight_files(download=True)
    assert [line.split()[1] for line in asked] == [b"/cnn.h5", b"/deform_cnn.h5"]
    assert os.listdir(nothing_cached / "deform-conv-2017") == ["cnn.h5"]
