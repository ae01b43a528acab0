"""Chapter 1's exercises: an accuracy, a receptive field, the matrix of a zoom, a confusion matrix."""

import numpy as np

from deformconv.course.exercises.checker import check


def check_accuracy(function) -> bool:
    """Exercise 1.1: `function(probabilities, labels)` -> the share of right answers, in [0, 1]."""
    rng = np.random.default_rng(0)
    cases = []
    # (images, classes, right answers): nothing square; in the first, each mistake has a result of its own
    for n, classes, right in ((12, 5, 7), (7, 10, 2), (20, 3, 13)):
        probabilities = rng.dirichlet(np.ones(classes), size=n)
        labels = probabilities.argmax(axis=1)
        labels[right:] = (labels[right:] + 1) % classes
        order = rng.permutation(n)
        cases.append((probabilities[order], labels[order]))
    return check("1.1", function, _accuracy, cases, ACCURACY_MISTAKES)


def _right(probabilities, labels):
    return probabilities.argmax(axis=1) == labels


def _accuracy(probabilities, labels):
    return _right(probabilities, labels).mean()


def _down_the_columns(probabilities, labels):
    answers = probabilities.argmax(axis=0)
    shared = min(len(answers), len(labels))
    return np.mean(answers[:shared] == labels[:shared])


ACCURACY_MISTAKES = (
    (lambda p, y: 1 - _accuracy(p, y), "that is the share of wrong answers; the right ones are asked for."),
    (lambda p, y: 100 * _accuracy(p, y), "a share between 0 and 1, please: no per cent."),
    (lambda p, y: _right(p, y).sum(), "that is the number of right answers: divide it by the number of images."),
    (lambda p, y: _right(p, y).sum() / p.shape[1], "divide by the number of images, not by the number of classes."),
    (lambda p, y: _right(p, y).sum() / p.size, "divide by the number of images, not by that of all probabilities."),
    (_down_the_columns, "the classes are along axis 1: `argmax` ran down the images."),
    (lambda p, y: np.mean(p.argmin(axis=1) == y), "the answer is the most probable class; `argmin` takes the least."),
    (
        lambda p, y: p[np.arange(len(y)), y].mean(),
        "that is the mean probability of the right class: an answer is right or wrong, however sure.",
    ),
)


def check_receptive_field(function) -> bool:
    """Exercise 1.2: `function(layers)`, a list of `(kernel, stride, dilation)`, first layer first -> pixels."""
    cases = [
        ([(2, 1, 1), (4, 3, 2), (2, 3, 1), (2, 1, 1)],),  # here every mistake of the list has a result of its own
        ([(3, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1)],),
        ([(7, 3, 1), (3, 2, 3)],),
        ([(4, 1, 2)],),
    ]
    return check("1.2", function, _field, cases, FIELD_MISTAKES)


def _field(layers, strided=True, span=lambda kernel, dilation: (kernel - 1) * dilation, jump_first=False, start=1):
    """The keywords make mistakes: `span` is what a layer adds, in pixels of its own input."""
    field, jump = start, 1
    for kernel, stride, dilation in layers:
        if jump_first and strided:
            jump *= stride
        field += span(kernel, dilation) * jump
        if strided and not jump_first:
            jump *= stride
    return field


def _field_added_strides(layers):
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * jump
        jump += stride - 1
    return field


def _field_last_stride(layers):
    field, before = 1, 1
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * before
        before = stride
    return field


FIELD_MISTAKES = (
    (lambda n: _field(n, strided=False), "you left out the strides: after a stride of 2, a step is two pixels wide."),
    (lambda n: _field(n, jump_first=True), "a layer's own stride counts only for the layers after it."),
    (lambda n: _field(n, span=lambda k, d: k * d), "a kernel of k taps reaches over k - 1 steps, not k."),
    (lambda n: _field(n, start=0), "begin with 1: before any layer, a pixel sees itself."),
    (lambda n: _field(n, span=lambda k, d: k - 1), "you left out the dilation: it spreads the taps of a kernel."),
    (lambda n: _field(n, span=lambda k, d: k - 1 + d - 1), "dilation multiplies the steps between taps: (k - 1) * d."),
    (lambda n: _field(n[::-1]), "the layers come first layer first; you went through them from the last."),
    (_field_added_strides, "strides multiply: two strides of 2 make steps of four pixels. In yours they add up."),
    (_field_last_stride, "the strides of all layers before count, not that of the last one alone."),
)


def check_zoom_about(function) -> bool:
    """Exercise 1.3: `function(zoom, centre)`, both `(y, x)` -> the `(2, 3)` matrix that zooms about a point."""
    cases = (((2.0, 1.25), (13.5, 9.0)), ((0.5, 3.0), (4.0, 17.5)), ((1.0, 2.5), (20.0, 3.0)))
    return check("1.3", function, _zoom_about, cases, ZOOM_ABOUT_MISTAKES)


def _zoom_about(zoom, centre):
    zoom, centre = np.asarray(zoom, float), np.asarray(centre, float)
    return _matrix(zoom, centre - zoom * centre)


def _matrix(diagonal, last):
    return np.concatenate([np.diag(diagonal), np.reshape(last, (2, 1))], axis=1)


def _slip(build):
    return lambda zoom, centre: build(np.asarray(zoom, float), np.asarray(centre, float))


ZOOM_ABOUT_MISTAKES = (
    (
        _slip(lambda z, c: _zoom_about(1 / z, c)),
        "it enlarges: the matrix acts on coordinates, so zoom multiplies them.",
    ),
    (_slip(lambda z, c: _matrix(z, 0 * c)), "the top left pixel stays in its place, and the centre should."),
    (_slip(lambda z, c: _matrix(z, c)), "take the centre's own product off again: zoom * (p - centre) + centre."),
    (_slip(lambda z, c: _matrix(z, z * c - c)), "the sign of the last column is wrong: at p = centre you want centre."),
    (_slip(lambda z, c: _matrix(z, -z * c)), "add the centre again: zoom * (p - centre) + centre."),
    (_slip(lambda z, c: _zoom_about(z[::-1], c[::-1])), "y comes before x: the first row makes y."),
    (
        _slip(lambda z, c: _matrix(z, (c - z * c)[::-1])),
        "the last column is mixed up: y in the first row, x in the second.",
    ),
    (_slip(lambda z, c: _zoom_about(z, c)[:, [2, 0, 1]]), "what is added stands in the last column."),
    (_slip(lambda z, c: _zoom_about(np.repeat(z[:1], 2), c)), "y and x have a zoom each."),
)


def check_confusion(function) -> bool:
    """Exercise 1.4: `function(labels, answers, classes)` -> counts `(classes, classes)`, a row for each true class."""
    rng = np.random.default_rng(14)
    cases = []
    for n, classes in ((40, 4), (60, 7)):
        labels = rng.integers(0, classes, size=n)
        answers = np.where(rng.uniform(size=n) < 0.5, labels, np.minimum(labels, rng.integers(0, classes, size=n)))
        cases.append((labels, answers, classes))
    cases.append((np.array([2, 2, 0]), np.array([0, 0, 0]), 5))  # classes that nobody is, and that nobody says
    return check("1.4", function, _confusion, cases, CONFUSION_MISTAKES)


def _confusion(labels, answers, classes):
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, answers), 1)
    return counts


def _wrong_only(labels, answers, classes):
    counts = _confusion(labels, answers, classes)
    return counts - np.diag(np.diag(counts))


CONFUSION_MISTAKES = (
    (lambda *a: _confusion(*a).T, "it is transposed: a row for each true class, a column for each answer."),
    (lambda *a: _confusion(*a) / np.maximum(_confusion(*a).sum(1, keepdims=True), 1), "counts, please: do not divide."),
    (lambda *a: _confusion(*a) / len(a[0]), "counts, please: do not divide by the number of images."),
    (lambda *a: np.minimum(_confusion(*a), 1), "each pair is counted once only: `a[i, j] += 1` forgets repetitions."),
    (_wrong_only, "right answers count, too: they stand on the diagonal."),
    (lambda *a: np.diag(np.diag(_confusion(*a))), "only the right answers are there: count the wrong ones, too."),
)
