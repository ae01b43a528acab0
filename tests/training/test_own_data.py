"""Images of one's own: what is read from a folder and from an .npz file, how it is split, what is refused and how."""

import numpy as np
import pytest
from PIL import Image

from deformconv.training import own_data
from deformconv.training.image_folder import ImageFolder


def save(folder, name, array, **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / name, **options)


@pytest.fixture
def pictures(tmp_path, rng):
    """A folder of two classes, three pictures of 5 x 4 in red, green and blue; and their bytes."""
    arrays = rng.integers(0, 256, size=(3, 5, 4, 3)).astype("uint8")
    save(tmp_path / "own" / "cat", "1.png", arrays[0])
    save(tmp_path / "own" / "cat", "2.png", arrays[1])
    save(tmp_path / "own" / "dog", "1.png", arrays[2])
    return tmp_path / "own", arrays


@pytest.fixture
def npz(tmp_path, rng):
    """`npz(...)`: a file with these arrays; without any, twelve images of 5 x 4 in three classes."""

    def write(save=np.savez, **arrays):
        x = rng.integers(0, 256, size=(12, 5, 4, 1)).astype("uint8")
        save(tmp_path / "own.npz", **{"x": x, "y": np.arange(12) % 3, **arrays})
        return tmp_path / "own.npz"

    return write


def test_a_folder_is_an_array_of_bytes_in_order_of_class_and_name(pictures):
    folder, arrays = pictures
    (folder / "cat" / "notes.txt").touch()
    (folder / ".hidden").mkdir()
    with pytest.warns(UserWarning, match="2 left out as no pictures of a class: .hidden, cat/notes.txt."):
        images = ImageFolder(folder)
    assert images.shape == (3, 5, 4, 3) and images.dtype == "uint8" and len(images) == 3
    assert images.classes == ["cat", "dog"] and images.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(images[:], arrays)
    np.testing.assert_array_equal(images[np.array([2, 0, 2])], arrays[[2, 0, 2]])


def test_pictures_are_read_when_they_are_asked_for(pictures):
    folder, arrays = pictures
    images = ImageFolder(folder)
    save(folder / "dog", "1.png", 255 - arrays[2])
    np.testing.assert_array_equal(images[[2]][0], 255 - arrays[2])


def test_all_grey_pictures_have_one_channel_and_one_in_colour_makes_it_three(tmp_path, rng):
    grey = rng.integers(0, 256, size=(5, 4)).astype("uint8")
    save(tmp_path / "a", "1.png", grey)
    save(tmp_path / "b", "1.png", grey)
    np.testing.assert_array_equal(ImageFolder(tmp_path)[:], np.stack([grey, grey])[..., None])
    save(tmp_path / "b", "2.png", np.stack([grey, 0 * grey, grey], -1))
    images = ImageFolder(tmp_path)
    np.testing.assert_array_equal(images[:2], np.repeat(grey[None, ..., None], 3, -1).repeat(2, 0))
    assert ImageFolder(tmp_path, grey=True)[:].shape == (3, 5, 4, 1)


def test_other_sizes_are_made_to_fit_with_nothing_cut_off_and_nothing_stretched(tmp_path):
    """A white picture of 20 x 10 in one of 10 x 10: it is 5 wide there, black on both sides."""
    save(tmp_path / "a", "1.png", np.full((20, 10), 255, "uint8"))
    save(tmp_path / "b", "1.png", np.full((10, 10), 255, "uint8"))
    tall, square = ImageFolder(tmp_path, size=(10, 10))[:,][..., 0]
    assert square.min() == 255
    lit = np.flatnonzero(tall.min(axis=0) == 255)
    assert len(lit) == 5 and tall.sum() == 5 * 10 * 255
    with pytest.raises(
        ValueError, match=r"one size.*a/1.png with height and width \(20, 10\).*b/1.png with \(10, 10\)"
    ):
        ImageFolder(tmp_path)


def test_a_camera_held_on_its_side_is_heeded(tmp_path, rng):
    array = rng.integers(0, 256, size=(4, 5)).astype("uint8")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, clockwise
    save(tmp_path / "a", "1.png", array, exif=turned)
    save(tmp_path / "b", "1.png", np.rot90(array, -1))
    images = ImageFolder(tmp_path)
    np.testing.assert_array_equal(images[:][0], images[:][1])


def broken(folder):
    (folder / "dog" / "2.png").write_bytes((folder / "dog" / "1.png").read_bytes()[:20])


def fractions(folder):
    save(folder / "dog", "2.tif", np.zeros((5, 4), "float32"))


def nested(folder):
    (folder / "fish" / "trout").mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (broken, "dog/2.png cannot be read as a picture"),
        (fractions, "dog/2.tif must have one of Pillow's modes .*; it has 'F'"),
        (nested, "fish must have pictures .* it has none. It has sub-folders: are they the classes. Then give .*fish"),
        (lambda folder: (folder / "ant").mkdir(), "ant must have pictures .*; it has none"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_refused(pictures, spoil, words):
    spoil(pictures[0])
    with pytest.raises(ValueError, match=words):
        own_data.load_images(pictures[0])


def test_a_picture_whose_end_is_missing_is_named_when_it_is_read(pictures):
    path = pictures[0] / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-30])
    images = ImageFolder(pictures[0])
    with pytest.raises(ValueError, match="dog/1.png cannot be read as a picture"):
        images[[2]]


def test_folders_without_classes_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match="cat must have a sub-folder.* The pictures lie in it directly"):
        own_data.load_images(pictures[0] / "cat")
    with pytest.raises(ValueError, match="must be there; received .*nowhere"):
        own_data.load_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="in an .npz file or in a folder; received the file .*1.png"):
        own_data.load_images(pictures[0] / "cat" / "1.png")
    (pictures[0] / "dog").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="two classes or more; it has one, 'cat'"):
        own_data.load_images(pictures[0])


@pytest.mark.parametrize("names", own_data.NAMES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("stream", [False, True])
def test_an_npz_file_gives_its_arrays_from_the_disk_if_they_are_not_compressed(tmp_path, rng, names, save, stream):
    x, y = rng.uniform(size=(6, 5, 4)), np.array([[0], [1], [1], [0], [1], [0]])
    save(tmp_path / "own.npz", **dict(zip(names, (x, y), strict=True)))
    data = own_data.load_images(tmp_path / "own.npz", stream=stream)
    np.testing.assert_array_equal(data.images, x[..., None])
    assert data.labels.tolist() == y[:, 0].tolist() and data.classes == ["0", "1"]
    assert isinstance(data.images, np.memmap) == (stream and save is np.savez)


def test_an_array_in_columns_is_mapped_as_one(tmp_path, rng):
    x = np.asfortranarray(rng.integers(0, 256, size=(6, 5, 4, 3)).astype("uint8"))
    np.savez(tmp_path / "own.npz", a=np.zeros(7), x=x, y=np.arange(6) % 2)
    np.testing.assert_array_equal(own_data.load_images(tmp_path / "own.npz", stream=True).images, x)


def test_large_sets_are_not_copied_whole(npz, monkeypatch):
    path = npz()
    assert not own_data.load_images(path).is_large
    monkeypatch.setattr(own_data, "LARGE", 200)
    data = own_data.load_images(path)
    assert data.is_large and isinstance(data.images, np.memmap)


ZEROS = np.zeros((12, 5, 4, 1), "uint8")


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x": np.array([np.zeros(3), np.zeros(4)], object)}, "cannot be read.*Python objects are never read"),
        ({"y": np.array([{}] * 12)}, "cannot be read.*Python objects are never read"),
        ({"x": np.zeros((12, 20))}, r"`x` of .* must have shape .*; received \(12, 20\)"),
        ({"x": np.zeros((12, 3, 5, 7))}, r"channels last; received shape \(12, 3, 5, 7\). Are they on the second axis"),
        ({"x": ZEROS.astype("int64")}, "must be uint8 or floats in .* received int64"),
        ({"x": ZEROS + 200.0}, "received values up to 200. Are they bytes"),
        ({"x": ZEROS + np.nan}, "must be finite"),
        ({"y": np.arange(11) % 3}, r"one label an image, shape \(12,\); received \(11,\)"),
        ({"y": np.eye(12)}, "Is it one-hot"),
        ({"y": np.arange(12) / 2}, "must be ints; received float64"),
        ({"y": np.arange(12) % 3 + 1}, "received 1 to 3 without 0. Do they count from 1"),
        ({"y": np.arange(12) % 3 - 1}, "received -1 to 1 without 2"),
        ({"y": np.arange(12) % 2 * 1000}, "received 0 to 1000 without 1"),
        ({"y": np.zeros(12, int)}, "two classes or more; it has one, '0'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_cannot_be_trained_on_are_refused(npz, arrays, words):
    for stream in (False, True):
        with pytest.raises(ValueError, match=words):
            own_data.load_images(npz(**arrays), stream=stream)


def test_files_that_are_none_are_refused(npz, tmp_path):
    path = npz()
    with pytest.raises(ValueError, match="Size and colours can be chosen for pictures in a folder"):
        own_data.load_images(path, size=(7, 7))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="own.npz cannot be read as an .npz file"):
        own_data.load_images(path)
    with pytest.raises(ValueError, match="must be there; received .*other.npz"):
        own_data.load_images(tmp_path / "other.npz")
    np.savez(path, images=ZEROS, y=np.zeros(12))
    with pytest.raises(ValueError, match="must have the arrays `x` and `y`; it has images, y"):
        own_data.load_images(path)


def test_a_split_takes_its_share_of_each_class_and_all_images_once():
    labels = np.repeat([0, 1, 2, 3], [100, 50, 2, 1])
    images = np.arange(153, dtype="float64").reshape(153, 1, 1, 1)
    data = own_data.OwnData(images, labels, list("abcd"))
    (x, y), (kept, kept_labels) = data.split(0.1)
    assert np.bincount(kept_labels, minlength=4).tolist() == [10, 5, 1, 0]
    assert np.bincount(y).tolist() == [90, 45, 1, 1]
    both = np.concatenate([x[:], kept[:]]).ravel()
    assert sorted(both) == list(range(153)) and both.dtype == "float32"
    np.testing.assert_array_equal(labels[x[:].ravel().astype(int)], y)
    np.testing.assert_array_equal(data.split(0.1)[1][0][:], kept[:])
    assert [len(part) for _, part in data.split(0)] == [153, 0]
