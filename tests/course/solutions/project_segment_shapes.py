"""Project 1's tasks, solved."""

import keras
import numpy as np

from deformconv import DeformableConv2D
from deformconv.course import exercises
from deformconv.course.exercises import project_segment_shapes as checks
from solutions.solved import Solved


def shape_mask(kind, middle, size, angle, image):
    """Pixel by pixel, in the shape's own frame."""
    mask = np.zeros(image, bool)
    for y, x in np.ndindex(*image):
        down, right = y - middle[0], x - middle[1]
        turned = (right + 1j * down) * np.exp(-1j * angle)
        u, v = abs(turned.real) / (size[0] / 2), abs(turned.imag) / (size[1] / 2)
        radius = np.hypot(u, v)
        mask[y, x] = {
            "disc": radius <= 1,
            "ring": 0.5 <= radius <= 1,
            "bar": u <= 1 and v <= 0.25,
            "cross": (u <= 1 and v <= 0.25) or (v <= 1 and u <= 0.25),
        }[kind]
    return mask


def mean_iou(predicted, labels, classes):
    """From the table of how often each pair of classes meets."""
    table = np.bincount((labels * classes + predicted).ravel(), minlength=classes**2).reshape(classes, classes)
    both, union = np.diag(table), table.sum(axis=0) + table.sum(axis=1) - np.diag(table)
    return (both[union > 0] / union[union > 0]).mean()


def middle(width, name):
    plain = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name)
    return DeformableConv2D.from_conv2d(plain)


def control_width(inputs, width, depth):
    """By asking Keras."""

    def weights(kind, width):
        model = keras.Sequential([keras.Input((5, 4, inputs)), *(kind(width, 3) for _ in range(depth))])
        return model.count_params()

    def padded(kind):
        return lambda width, size: kind(width, size, padding="same")

    want = weights(padded(DeformableConv2D), width)
    wider = next(w for w in range(width, 9 * width) if weights(padded(keras.layers.Conv2D), w) >= want)
    return wider, weights(padded(keras.layers.Conv2D), wider), want


def tap_places(offsets, pixel, scale):
    """Tap by tap."""
    places = []
    for tap in range(9):
        y = pixel[0] + tap // 3 - 1 + offsets[2 * tap]
        x = pixel[1] + tap % 3 - 1 + offsets[2 * tap + 1]
        places.append(((y + 0.5) * scale - 0.5, (x + 0.5) * scale - 0.5))
    return np.array(places)


def along_and_across(places, angle):
    """From the covariance."""
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    return np.sqrt(np.diag(axes @ np.cov(places.T, ddof=0) @ axes.T))


EXERCISES = {
    "P1.1": Solved(
        exercises.check_shape_mask,
        shape_mask,
        checks.SHAPE_MISTAKES,
        slips=(
            (lambda kind, middle, size, angle, image: shape_mask(kind, middle, size, -angle, image), "wrong way"),
            (
                lambda kind, middle, size, angle, image: shape_mask(kind, middle, np.array(size) * 2, angle, image),
                "half a length",
            ),
        ),
        draws=True,
    ),
    "P1.2": Solved(
        exercises.check_mean_iou,
        mean_iou,
        checks.IOU_MISTAKES,
        slips=(
            (lambda p, t, c: np.mean([mean_iou(p[i], t[i], c) for i in range(len(p))]), "over the pictures"),
            (lambda p, t, c: mean_iou(p, t, c) * len(np.unique([p, t])) / c, "counts as 0"),
        ),
    ),
    "P1.3": Solved(
        exercises.check_deformable_middle,
        middle,
        checks.MIDDLE_MISTAKES,
        slips=((lambda width, name: DeformableConv2D(width, 3, activation="relu", name=name), "smaller"),),
    ),
    "P1.4": Solved(
        exercises.check_control_width,
        control_width,
        checks.CONTROL_MISTAKES,
        slips=((lambda inputs, width, depth: control_width(width, width, depth), "the others `width`"),),
    ),
    "P1.5": Solved(
        exercises.check_tap_places,
        tap_places,
        checks.TAP_MISTAKES,
        slips=(
            (lambda o, p, s: tap_places(o, p, s) - (s - 1) / 2, "half a pixel is missing"),
            (lambda o, p, s: tap_places(o, (p[0] + 1, p[1] + 1), s), "belongs on the pixel"),
        ),
        draws=True,
    ),
    "P1.6": Solved(
        exercises.check_along_and_across,
        along_and_across,
        checks.SPREADS_MISTAKES,
        slips=((lambda places, angle: along_and_across(places, -angle), "wrong sign"),),
    ),
}
