"""Project 2's tasks, solved."""

import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import project_read_slanted_lines as checks
from solutions.solved import Solved


def line_boxes(widths, height, middle, slope, gap):
    """Digit by digit, from left to right."""
    x = middle[1] - (sum(widths) + gap * (len(widths) - 1)) / 2
    boxes = []
    for width in widths:
        y = middle[0] + slope * (x + width / 2 - middle[1])
        boxes.append((y - height / 2, x, y + height / 2, x + width))
        x += width + gap
    return np.array(boxes)


def follow(box, slope, bins, offset_scale):
    """Bin by bin."""
    y1, x1, y2, x2 = box
    offsets = np.zeros((*bins, 2))
    for column in range(bins[1]):
        x = x1 + (column + 0.5) * (x2 - x1) / bins[1]
        offsets[:, column, 0] = slope * (x - (x1 + x2) / 2) / ((y2 - y1) * offset_scale)
    return offsets


def by_digit(pooled, digits):
    return np.stack([part.reshape(len(pooled), -1) for part in np.split(pooled, digits, axis=2)], axis=1)


def shares_right(scores, labels):
    """Line by line."""
    digits, whole = 0, 0
    for own, names in zip(scores, labels, strict=True):
        right = [max(range(len(each)), key=each.__getitem__) == name for each, name in zip(own, names, strict=True)]
        digits += sum(right)
        whole += all(right)
    return digits / labels.size, whole / len(labels)


def line_matrix(count):
    """The projection onto the space of lines."""
    lines = np.stack([np.ones(count), np.arange(count)], axis=1)
    return lines @ np.linalg.pinv(lines)


def line_slope(offsets, box, offset_scale):
    """NumPy's own fit."""
    down, across = offsets.shape[:2]
    size = box[2:] - box[:2]
    places = [
        box[:2] + size * (((i + 0.5) / down, (j + 0.5) / across) + offset_scale * offsets[i, j])
        for i, j in np.ndindex(down, across)
    ]
    y, x = np.transpose(places)
    return np.polyfit(x, y, 1)[0]


EXERCISES = {
    "P2.1": Solved(
        exercises.check_line_boxes,
        line_boxes,
        checks.LINE_MISTAKES,
        slips=(
            (lambda w, h, m, slope, gap: line_boxes(w, h, m, -slope, gap), "rises"),
            (lambda w, h, m, slope, gap: line_boxes(w, h, (m[0] + h / 2, m[1]), slope, gap), "tops"),
        ),
    ),
    "P2.2": Solved(
        exercises.check_follow,
        follow,
        checks.FOLLOW_MISTAKES,
        slips=(
            (lambda box, slope, bins, gamma: follow(box, slope, bins, 1), "`offset_scale` is missing"),
            (lambda box, slope, bins, gamma: follow(box, slope, bins, gamma)[..., ::-1], "along x"),
        ),
        draws=True,
    ),
    "P2.3": Solved(
        exercises.check_by_digit,
        by_digit,
        checks.DIGIT_MISTAKES,
        slips=((lambda pooled, digits: pooled.reshape(len(pooled), digits, -1), "above each other"),),
    ),
    "P2.4": Solved(
        exercises.check_shares_right,
        shares_right,
        checks.SHARES_MISTAKES,
        slips=((lambda scores, labels: np.array(shares_right(scores, labels)) * 100, "not per cent"),),
    ),
    "P2.5": Solved(
        exercises.check_line_matrix,
        line_matrix,
        checks.MATRIX_MISTAKES,
        slips=((lambda count: np.full((count, count), 1 / count), "the slope is missing"),),
        draws=True,
    ),
    "P2.6": Solved(
        exercises.check_line_slope,
        line_slope,
        checks.SLOPE_MISTAKES,
        slips=((lambda offsets, box, gamma: line_slope(offsets, box, 1), "`offset_scale` is missing"),),
    ),
}
