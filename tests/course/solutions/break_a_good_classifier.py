"""Chapter 1's exercises, solved."""

import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import break_a_good_classifier as checks
from solutions.solved import Solved


def receptive_field(layers):
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * jump
        jump *= stride
    return field


def zoom_about(zoom, centre):
    return np.array([[zoom[0], 0, centre[0] * (1 - zoom[0])], [0, zoom[1], centre[1] * (1 - zoom[1])]])


def confusion(labels, answers, classes):
    return [[int(np.sum((labels == i) & (answers == j))) for j in range(classes)] for i in range(classes)]


def confusion_forgets(labels, answers, classes):
    counts = np.zeros((classes, classes), int)
    counts[labels, answers] += 1
    return counts


def field_without_strides(layers):
    return 1 + sum((kernel - 1) * dilation for kernel, _, dilation in layers)


def field_own_stride(layers):
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        jump *= stride
        field += (kernel - 1) * dilation * jump
    return field


EXERCISES = {
    "1.1": Solved(
        exercises.check_accuracy,
        lambda p, y: float(np.mean(np.argmax(p, axis=-1) == y)),
        checks.ACCURACY_MISTAKES,
        slips=(
            (lambda p, y: np.mean(np.argmax(p, 1) != y), "share of wrong answers"),
            (lambda p, y: 100 * np.mean(np.argmax(p, 1) == y), "no per cent"),
            (lambda p, y: sum(np.argmax(p, 1) == y), "number of right answers"),
            (lambda p, y: np.mean([p[i, y[i]] for i in range(len(y))]), "however sure"),
        ),
    ),
    "1.2": Solved(
        exercises.check_receptive_field,
        receptive_field,
        checks.FIELD_MISTAKES,
        slips=((field_without_strides, "left out the strides"), (field_own_stride, "own stride")),
    ),
    "1.3": Solved(
        exercises.check_zoom_about,
        zoom_about,
        checks.ZOOM_ABOUT_MISTAKES,
        slips=(
            (lambda z, c: [[z[0], 0, 0], [0, z[1], 0]], "top left pixel stays"),
            (lambda z, c: zoom_about((1 / z[0], 1 / z[1]), c), "it enlarges"),
            (lambda z, c: zoom_about(z[::-1], c[::-1]), "y comes before x"),
        ),
    ),
    "1.4": Solved(
        exercises.check_confusion,
        confusion,
        checks.CONFUSION_MISTAKES,
        slips=(
            (lambda y, a, n: np.transpose(confusion(y, a, n)), "transposed"),
            (confusion_forgets, "forgets repetitions"),
            (lambda y, a, n: np.array(confusion(y, a, n)) / len(y), "do not divide by the number"),
        ),
    ),
}
