"""MNIST-scale: a public protocol for classifiers under change of scale (Sosnovik et al. 2020, arXiv 1910.11093).

All 70,000 digits of MNIST in one pool; six realisations, each a stratified draw of 10,000 images for training, 2,000
for validation and 50,000 for the test, every image shrunk once by a factor between 0.3 and 1. Networks train from
scratch on those 10,000 images as they are, without further scaling.
"""

import numpy as np
from PIL import Image
from sklearn.model_selection import train_test_split

SCALES = (0.3, 1.0)
REALISATIONS = 6


def realisation(data, number, settings) -> dict:
    """One realisation of a data set: `{"training": (images, labels), "validation": ..., "test": ...}`.

    Raises:
        ValueError: if the data set has fewer images than are asked for.
    """
    images = np.concatenate([data.x_train, data.x_test])
    labels = np.concatenate([data.y_train, data.y_test])
    sizes = {name: getattr(settings, f"{name}_images") for name in ("training", "validation", "test")}
    if sum(sizes.values()) > len(images):
        raise ValueError(f"{data.name} has {len(images):,} images; received settings that ask for {sizes}.")
    rng = np.random.default_rng(number)
    left, sets = np.arange(len(images)), {}
    for name, size in sizes.items():
        own, left = _stratified(left, labels, size, int(rng.integers(2**31)))
        sets[name] = np.stack([_shrunk(images[i], rng.uniform(*SCALES)) for i in own]), labels[own]
    return sets


def _stratified(indices, labels, size, seed):
    """`size` of the indices with every label in its share, and the others."""
    if size == len(indices):
        return indices, indices[:0]
    return train_test_split(indices, train_size=size, stratify=labels[indices], random_state=seed)


def _shrunk(image, scale):
    """An image `(h, w, 1)` in [0, 1] made smaller about its middle, bicubic, as 8-bit images were in the protocol."""
    height, width, _ = image.shape
    # Pillow's map from output to input has its origin at the image's corner, half a pixel before the first centre.
    matrix = (1 / scale, 0, width / 2 * (1 - 1 / scale), 0, 1 / scale, height / 2 * (1 - 1 / scale))
    picture = Image.fromarray(np.round(255 * image[..., 0]).astype("uint8"))
    smaller = picture.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(smaller, "float32")[..., None] / 255
