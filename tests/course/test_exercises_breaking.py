"""Chapter 1's exercises: the solution passes, each mistake is named."""

import numpy as np
import pytest

from deformconv.course import exercises
from deformconv.course.exercises import breaking


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


SOLUTIONS = {
    exercises.check_accuracy: lambda p, y: float(np.mean(np.argmax(p, axis=-1) == y)),
    exercises.check_receptive_field: receptive_field,
    exercises.check_zoom_about: zoom_about,
    exercises.check_confusion: confusion,
}
LISTED = {
    exercises.check_accuracy: breaking.ACCURACY_MISTAKES,
    exercises.check_receptive_field: breaking.FIELD_MISTAKES,
    exercises.check_zoom_about: breaking.ZOOM_ABOUT_MISTAKES,
    exercises.check_confusion: breaking.CONFUSION_MISTAKES,
}


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


# Written as a reader would write them, not by the module's own pieces.
BY_A_READER = [
    (exercises.check_accuracy, lambda p, y: np.mean(np.argmax(p, 1) != y), "share of wrong answers"),
    (exercises.check_accuracy, lambda p, y: 100 * np.mean(np.argmax(p, 1) == y), "no per cent"),
    (exercises.check_accuracy, lambda p, y: sum(np.argmax(p, 1) == y), "number of right answers"),
    (exercises.check_accuracy, lambda p, y: np.mean([p[i, y[i]] for i in range(len(y))]), "however sure"),
    (exercises.check_receptive_field, field_without_strides, "left out the strides"),
    (exercises.check_receptive_field, field_own_stride, "own stride"),
    (exercises.check_zoom_about, lambda z, c: [[z[0], 0, 0], [0, z[1], 0]], "top left pixel stays"),
    (exercises.check_zoom_about, lambda z, c: zoom_about((1 / z[0], 1 / z[1]), c), "it enlarges"),
    (exercises.check_zoom_about, lambda z, c: zoom_about(z[::-1], c[::-1]), "y comes before x"),
    (exercises.check_confusion, lambda y, a, n: np.transpose(confusion(y, a, n)), "transposed"),
    (exercises.check_confusion, confusion_forgets, "forgets repetitions"),
    (exercises.check_confusion, lambda y, a, n: np.array(confusion(y, a, n)) / len(y), "do not divide by the number"),
]


@pytest.mark.parametrize("check", SOLUTIONS, ids=lambda check: check.__name__)
def test_the_solution_passes(check, capsys):
    assert check(SOLUTIONS[check])
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [(check, wrong, message) for check, mistakes in LISTED.items() for wrong, message in mistakes],
)
def test_each_listed_mistake_gets_its_own_message(check, wrong, message, capsys):
    assert not check(wrong)
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(("check", "wrong", "words"), BY_A_READER)
def test_a_common_mistake_is_named(check, wrong, words, capsys):
    assert not check(wrong)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("check", SOLUTIONS, ids=lambda check: check.__name__)
def test_a_stub_is_told_so_and_nothing_is_raised(check, capsys):
    def stub(*_):
        raise NotImplementedError

    assert not check(stub)
    assert "not solved yet" in capsys.readouterr().out


@pytest.mark.parametrize("check", LISTED, ids=lambda check: check.__name__)
def test_no_two_mistakes_share_a_message(check):
    messages = [message for _, message in LISTED[check]]
    assert len(messages) == len(set(messages)) >= 5


def test_the_zoom_of_the_exercise_is_that_of_the_study():
    """About the middle of the image, the matrix does what `zoomed_copy` does."""
    from deformconv import reference
    from deformconv.study.scaling import zoomed_copy

    image = np.random.default_rng(0).uniform(size=(1, 28, 28, 1)).astype("float32")
    matrix = zoom_about((1.5, 1.5), (13.5, 13.5))
    p = np.indices((28, 28)).reshape(2, -1)
    coords = (matrix[:, :2] @ p + matrix[:, 2:]).T
    seen = reference.bilinear_sample(image, coords[None])[0].reshape(28, 28, 1)
    np.testing.assert_allclose(seen, zoomed_copy(image, 1.5)[0], atol=1e-4)
