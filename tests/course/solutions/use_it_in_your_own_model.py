"""Chapter 12's exercises, solved."""

import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import use_it_in_your_own_model as checks
from solutions.solved import Solved


def rounded(coords, bits):
    """Among the whole multiples of its own spacing, by logarithms."""
    size = np.abs(coords)
    with np.errstate(divide="ignore"):
        spacing = np.where(size > 0, 2.0 ** (np.floor(np.log2(size)) - (bits - 1)), 1)
    return spacing * np.round(coords / spacing)


def bring(kernel, bias):
    """Tap by tap."""
    filters, channels, height, width = kernel.shape
    here = np.empty((height, width, channels, filters))
    for i, j, c, f in np.ndindex(here.shape):
        here[i, j, c, f] = kernel[f, c, i, j] / 2
    return here, bias


def clip_together(gradients, longest):
    length = np.linalg.norm(np.concatenate([gradient.ravel() for gradient in gradients]))
    return [gradient * longest / max(length, longest) for gradient in gradients]


def batchnorm_together(means, variances, counts):
    """By the sums of numbers and of squares, which add up over devices."""
    sums = counts @ means
    squares = counts @ (variances + means**2)
    mean = sums / counts.sum()
    return [mean, squares / counts.sum() - mean**2]


def stop(losses, patience):
    for look in range(len(losses)):
        at = int(np.argmin(losses[: look + 1]))
        if look - at == patience:
            return look, at
    return len(losses) - 1, at


EXERCISES = {
    "12.1": Solved(
        exercises.check_rounded,
        rounded,
        checks.ROUNDED_MISTAKES,
        slips=(
            (lambda x, bits: np.round(x * 2 ** (bits - 1)) / 2 ** (bits - 1), "equally far apart"),
            (
                lambda x, bits: (
                    np.trunc(x / (s := rounded(2.0 ** np.floor(np.log2(np.abs(x))), 1) / 2 ** (bits - 1))) * s
                ),
                "cut off",
            ),
        ),
        draws=True,
    ),
    "12.2": Solved(
        exercises.check_bring,
        bring,
        checks.BRING_MISTAKES,
        slips=(
            (lambda kernel, bias: (kernel.transpose(2, 3, 1, 0), bias), "counts twice as much"),
            (lambda kernel, bias: (kernel.T / 2, bias), "height and width of the kernel are swapped"),
        ),
    ),
    "12.3": Solved(
        exercises.check_clip_together,
        clip_together,
        checks.CLIP_MISTAKES,
        slips=(
            (lambda g, longest: [clip_together([each], longest)[0] for each in g], "clipped alone"),
            (lambda g, longest: [each * longest / np.sqrt(sum((e**2).sum() for e in g)) for each in g], "made longer"),
        ),
    ),
    "12.4": Solved(
        exercises.check_batchnorm_together,
        batchnorm_together,
        checks.TOGETHER_MISTAKES,
        slips=(
            (lambda m, v, c: [np.average(m, axis=0, weights=c), np.average(v, axis=0, weights=c)], "too small"),
            (lambda m, v, c: batchnorm_together(m, v, np.ones(len(c))), "weigh it by how many"),
        ),
    ),
    "12.5": Solved(
        exercises.check_patience,
        stop,
        checks.PATIENCE_MISTAKES,
        slips=(
            (lambda losses, patience: stop(losses, patience + 1), "too late"),
            (lambda losses, patience: (stop(losses, patience)[0], int(np.argmin(losses))), "future"),
        ),
    ),
}
