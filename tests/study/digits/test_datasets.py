"""MNIST from a folder, a cache and a server, whole and damaged; the built-in digits."""

import hashlib
import io
import os
import pickle
import warnings

import numpy as np
import pytest

from deformconv.study import download
from deformconv.study.digits import datasets

needs_mnist = pytest.mark.skipif(
    "DEFORMCONV_DATA" not in os.environ, reason="needs MNIST: $DEFORMCONV_DATA names no folder with mnist.npz"
)


@pytest.fixture
def arrays(monkeypatch, nothing_cached):
    """Two training images and a test image in MNIST's form, which the package takes for MNIST."""
    blank = np.zeros((3, 28, 28), "uint8")
    blank[:, 4:9, 6:8] = [[[10]], [[128]], [[255]]]
    labels = np.array([3, 9, 4], "uint8")
    arrays = {"x_train": blank[:2], "y_train": labels[:2], "x_test": blank[2:], "y_test": labels[2:]}
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(datasets, "MNIST_SHA256", digests)
    return arrays


@pytest.fixture
def mnist_file(arrays, monkeypatch, tmp_path):
    """That MNIST's archive, where `$DEFORMCONV_DATA` says."""
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "mnist.npz", **arrays)
    monkeypatch.setenv("DEFORMCONV_DATA", str(folder))
    return folder / "mnist.npz"


def archive(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def assert_holds(data, arrays):
    for name in ("x_train", "x_test"):
        images = getattr(data, name)
        assert images.dtype == "float32"
        np.testing.assert_array_equal(images, arrays[name][..., None].astype("float32") / 255)
    for name in ("y_train", "y_test"):
        np.testing.assert_array_equal(getattr(data, name), arrays[name])


# Where it is found


@needs_mnist
def test_mnist_is_mnist():
    data = datasets.load("mnist")
    assert data.name == "mnist"
    assert (data.x_train.shape, data.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert (data.x_train.dtype, data.x_train.min(), data.x_train.max()) == ("float32", 0, 1)
    assert list(data.y_train[:5]) == [5, 0, 4, 1, 9] and list(data.y_test[:5]) == [7, 2, 1, 0, 4]
    assert list(np.bincount(data.y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_the_data_folder_comes_first(mnist_file, arrays, name):
    data = datasets.load(name)
    assert data.name == "mnist"
    assert_holds(data, arrays)


def test_keras_home_says_where_the_cache_is(arrays, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    folder = tmp_path / "elsewhere" / "datasets"
    assert download.cache_folder() == folder
    folder.mkdir(parents=True)
    np.savez(folder / "mnist.npz", **arrays)
    assert_holds(datasets.load("mnist"), arrays)


def test_without_keras_home_the_cache_is_that_of_keras(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / ".keras" / "datasets"


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_a_data_folder_without_data_is_refused(no_network, monkeypatch, tmp_path, name):
    monkeypatch.setenv("DEFORMCONV_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="a folder that holds mnist.npz; received .* which does not"):
        datasets.load(name)


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_a_data_folder_that_is_none_is_refused(mnist_file, monkeypatch, name):
    monkeypatch.setenv("DEFORMCONV_DATA", str(mnist_file))
    with pytest.raises(ValueError, match="DEFORMCONV_DATA must name a folder; received .*mnist.npz"):
        datasets.load(name)


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(ValueError, match="'auto', 'mnist', 'digits'; received 'fashion'"):
        datasets.load("fashion")


# Damaged files


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_flipped_bit_in_an_array_is_found_and_the_array_named(mnist_file, arrays, name):
    arrays[name].flat[-1] ^= 1
    np.savez(mnist_file, **arrays)
    with pytest.raises(ValueError, match=f"mnist.npz is damaged: `{name}` does not have MNIST's SHA-256"):
        datasets.load("mnist")


@pytest.mark.parametrize("save, step", [(np.savez, 7), (np.savez_compressed, 2)])
def test_no_flipped_bit_in_the_file_goes_unseen(mnist_file, arrays, save, step):
    """Wherever it is, the file is refused in words, or (a zip says some things twice) the data is right."""
    intact = archive(arrays, save)
    refused = 0
    places = range(0, len(intact), step)
    for number, place in enumerate(places):
        damaged = bytearray(intact)
        damaged[place] ^= 1 << number % 8
        mnist_file.write_bytes(damaged)
        try:
            data = datasets.load("mnist")
        except ValueError as error:
            assert str(mnist_file) in str(error)
            refused += 1
        else:
            assert_holds(data, arrays)
    assert refused > len(places) / 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"<html>moved</html>",
        lambda whole: pickle.dumps([1, 2]),
        lambda whole: archive({"x_train": np.zeros(2, "uint8")}),
    ],
    ids=["empty", "half a zip", "a zip without its last byte", "no zip", "a pickle", "a zip of something else"],
)
def test_what_is_not_a_whole_archive_is_refused(mnist_file, damage):
    mnist_file.write_bytes(damage(mnist_file.read_bytes()))
    with pytest.raises(ValueError, match="mnist.npz is not a whole MNIST archive .* Delete it"):
        datasets.load("mnist")


def test_a_lone_array_is_refused(mnist_file, arrays):
    with mnist_file.open("wb") as file:
        np.save(file, arrays["x_train"])
    with pytest.raises(ValueError, match="mnist.npz is not a whole MNIST archive"):
        datasets.load("mnist")


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("as_archive", [True, False], ids=["an object array in the archive", "a bare pickle"])
def test_pickles_are_refused_and_never_unpickled(mnist_file, arrays, tmp_path, as_archive):
    trap = Trap(tmp_path / "sprung")
    if as_archive:
        np.savez(mnist_file, **{**arrays, "x_train": np.array([trap], dtype=object)})
    else:
        mnist_file.write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match="not a whole MNIST archive"):
        datasets.load("mnist")
    assert not trap.path.exists()


# Downloads


def test_a_download_is_kept_and_not_repeated(serve, whole_answer, arrays, nothing_cached, monkeypatch):
    url, asked = serve(whole_answer(archive(arrays)))
    monkeypatch.setattr(datasets, "MNIST_URL", url + "mnist.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("mnist", "auto"):
            assert_holds(datasets.load(name), arrays)
    assert asked == [b"GET /mnist.npz HTTP/1.1\r\n"]
    assert os.listdir(nothing_cached) == ["mnist.npz"]


def test_without_a_network_mnist_names_three_ways_on(no_network):
    with pytest.raises(ConnectionError, match="Could not download mnist.npz") as error:
        datasets.load("mnist")
    for way in ("try again with a network", str(no_network / "mnist.npz"), "DEFORMCONV_DATA", 'name="digits"'):
        assert way in str(error.value)
    assert os.listdir(no_network) == []


def test_without_a_network_auto_is_digits_and_says_so(no_network):
    with pytest.warns(UserWarning, match="these are scikit-learn's digits. Could not download"):
        assert datasets.load("auto").name == "digits"


WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE_HEAD + b"PK" * 1250,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"PK" * 1250,
        WHOLE_HEAD + b"PK" * 2500,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"220 mail.example ready\r\n",
        b"",
        None,
    ],
    ids=["half the body", "half a chunk", "not MNIST", "404", "another protocol", "closed at once", "silence"],
)
def test_a_download_that_fails_leaves_nothing_behind(serve, nothing_cached, monkeypatch, answer):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3 if answer is None else 20)
    url, asked = serve(answer)
    monkeypatch.setattr(datasets, "MNIST_URL", url + "mnist.npz")
    with pytest.raises(ConnectionError, match="Three ways on"):
        datasets.load("mnist")
    assert len(asked) == 1
    assert os.listdir(nothing_cached) == []


def test_a_whole_download_with_wrong_arrays_is_not_kept(serve, whole_answer, arrays, nothing_cached, monkeypatch):
    arrays["y_test"][0] = 7
    url, _ = serve(whole_answer(archive(arrays)))
    monkeypatch.setattr(datasets, "MNIST_URL", url)
    with pytest.raises(ConnectionError, match="`y_test` does not have MNIST's SHA-256"):
        datasets.load("mnist")
    assert os.listdir(nothing_cached) == []


def test_an_interrupted_download_leaves_nothing_behind(serve, whole_answer, nothing_cached):
    def interrupted(part):
        assert part.read_bytes() == b"something"
        raise KeyboardInterrupt

    url, _ = serve(whole_answer(b"something"))
    with pytest.raises(KeyboardInterrupt):
        download.download(url, nothing_cached / "mnist.npz", interrupted)
    assert os.listdir(nothing_cached) == []


def test_a_cache_that_cannot_be_written_counts_as_no_download(no_network, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(ConnectionError, match="Three ways on"):
        datasets.load("mnist")
    with pytest.warns(UserWarning, match="these are scikit-learn's digits"):
        assert datasets.load("auto").name == "digits"


# The digits


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def test_digits_have_mnists_form(digits):
    assert digits.name == "digits"
    assert (digits.x_train.shape, digits.x_test.shape) == ((1440, 28, 28, 1), (357, 28, 28, 1))
    for images, labels in ((digits.x_train, digits.y_train), (digits.x_test, digits.y_test)):
        assert (images.dtype, images.min(), images.max()) == ("float32", 0, 1)
        assert labels.dtype == "int32"
        assert set(labels) == set(range(10))


def test_digits_lie_in_the_middle_as_mnists_do(digits):
    ink = digits.x_train.sum(axis=(0, 3))
    assert ink[:4].sum() == ink[-4:].sum() == ink[:, :4].sum() == ink[:, -4:].sum() == 0
    centre = [np.average(np.arange(28), weights=ink.sum(axis=axis)) for axis in (1, 0)]
    np.testing.assert_allclose(centre, 13.5, atol=0.5)


def test_digits_are_scikit_learns_enlarged_with_their_labels(digits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    images, labels = np.concatenate([digits.x_train, digits.x_test]), np.concatenate([digits.y_train, digits.y_test])
    np.testing.assert_array_equal(labels, bunch.target[order])
    # 5 x 5 large pixels cover 2 x 2 small ones
    large = images[:, 4:24, 4:24, 0].reshape(1797, 4, 5, 4, 5).mean(axis=(2, 4))
    small = bunch.images[order].reshape(1797, 4, 2, 4, 2).mean(axis=(2, 4)) / 16
    np.testing.assert_allclose(large, small, atol=0.15)


def test_digits_are_the_same_each_time(digits):
    again = datasets.load("digits")
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(digits, name), getattr(again, name))


def test_no_digit_is_in_both_sets(digits):
    train, test = ({image.tobytes() for image in images} for images in (digits.x_train, digits.x_test))
    assert len(train) + len(test) == 1797
    assert not train & test


def test_the_validation_set_is_the_last_part_of_the_training_set(digits):
    (x, y), (x_validation, y_validation) = digits.split()
    assert (len(x), len(x_validation)) == (1320, 120)
    np.testing.assert_array_equal(np.concatenate([x, x_validation]), digits.x_train)
    np.testing.assert_array_equal(np.concatenate([y, y_validation]), digits.y_train)
    assert len(digits.split(0.25)[1][0]) == 360
