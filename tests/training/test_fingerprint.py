"""A digest that changes with the data, and with nothing else."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from deformconv.training import ImageFolder, fingerprint


def test_numbers_types_and_shapes_count_and_the_place_does_not(rng, tmp_path, monkeypatch):
    images, labels = rng.uniform(size=(7, 5, 4, 1)), np.arange(7) % 2
    digest = fingerprint.of_arrays(images, labels)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setattr(fingerprint, "AT_ONCE", 300)  # bytes; an image has 160
    assert fingerprint.of_arrays(np.load(tmp_path / "images.npy", mmap_mode="r"), labels) == digest
    assert fingerprint.of_arrays(np.asfortranarray(images), labels) == digest
    changed = images.copy()
    changed[6, 4, 3] += 1e-9
    others = [
        (changed, labels),
        (images, 1 - labels),
        (images, labels.astype("int32")),
        (images.reshape(7, 4, 5, 1), labels),
        (images.astype("float32"), labels),
        (images[:0], labels),
        (images,),
        (3.0,),
    ]
    found = {fingerprint.of_arrays(*arrays) for arrays in others}
    assert len(found) == len(others) and digest not in found


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (5, 4)).astype("uint8")).save(tmp_path / "own" / name / f"{i}.png")
    return tmp_path / "own"


def digest(folder, **options):
    images = ImageFolder(folder, **options)
    return fingerprint.of_images(images, images.labels)


def test_pictures_names_sizes_and_colours_count_and_dates_do_not(folder, tmp_path):
    first = digest(folder)
    shutil.copytree(folder, tmp_path / "copied")
    os.utime(tmp_path / "copied" / "a" / "0.png", (0, 0))
    assert digest(tmp_path / "copied") == first
    found = {first, digest(folder, size=(9, 9)), digest(folder, grey=False)}
    content = (folder / "a" / "0.png").read_bytes()
    stamps = os.stat(folder / "a" / "0.png")
    Image.fromarray(np.zeros((5, 4), "uint8")).save(folder / "a" / "0.png")
    os.utime(folder / "a" / "0.png", (stamps.st_atime, stamps.st_mtime))
    found.add(digest(folder))
    (folder / "a" / "0.png").write_bytes(content)
    assert digest(folder) == first
    (folder / "b").rename(folder / "c")
    found.add(digest(folder))
    assert len(found) == 5
