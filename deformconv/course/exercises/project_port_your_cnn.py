"""Project 3's tasks: what can be ported, the port, the test of its start, the freeze, which layers are worth it.

Models are slow to make, so the cases are their seeds, and what a known mistake says of a case is kept.
"""

import functools

import keras
import numpy as np
from keras import layers, ops

from deformconv import DeformableConv2D
from deformconv.course.exercises.checker import check
from deformconv.training.fine_tuning import train_only_offsets, transplant

LAYOUT = {"data_format": "channels_last"}  # Keras's own setting may be another


def somebodys_network(seed=0, size=(7, 5, 2)):
    """A small residual network with everything that trips a port up; its BatchNorm has seen data."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(size, name="picture")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem", **LAYOUT)(inputs)
    x = layers.BatchNormalization(name="stem_norm")(x)
    options = {"strides": (2, 1), "padding": "same", "groups": 2, "activation": "relu"}
    y = layers.Conv2D(6, (3, 2), name="branch", **options, **LAYOUT)(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise", **LAYOUT)(y)
    short = layers.Conv2D(6, 1, strides=(2, 1), name="short", **LAYOUT)(x)
    x = layers.Add(name="sum")([y, short])
    x = layers.GlobalAveragePooling2D(name="mean", **LAYOUT)(x)
    model = keras.Model(inputs, layers.Dense(3, name="classes")(x))
    rng = np.random.default_rng(seed + 1)
    for weight in model.weights:
        if "norm" in weight.path or "bias" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, size=weight.shape))
    return model


@functools.cache
def _kept_network(seed, size=(7, 5, 2)):
    return somebodys_network(seed, size)


def _known(encode, mistakes):
    """The mistakes, each encoded, with a memory."""
    return tuple((functools.cache(encode(wrong)), message) for wrong, message in mistakes)


LAYERS = ("stem", "branch", "depthwise", "short", "classes")


def check_inventory(function) -> bool:
    """Task P3.1: `function(model)` -> `{name of a layer that can be ported: weights of its offset convolution}`."""
    cases = [(0, (7, 5, 2)), (1, (4, 6, 4))]
    mistakes = [(_counted(wrong), message) for wrong, message in INVENTORY_MISTAKES]
    return check("P3.1", _counted(function), _counted(_inventory), cases, mistakes)


def _counted(function):
    """What `function` says as numbers, which `check` compares: for each layer its count, 0 where it is not named."""

    def counted(seed, size):
        said = function(_kept_network(seed, size))
        return None if said is None else [said.get(name, 0) for name in LAYERS]

    return counted


def _inventory(model, kinds=layers.Conv2D, smallest=2, channels=None, numbers=2, bias=1):
    """The keywords make mistakes."""
    said = {}
    for layer in model.layers:
        taps = np.prod(getattr(layer, "kernel_size", 0))
        if isinstance(layer, kinds) and taps >= smallest:
            seen = layer.input.shape[-1] if channels is None else channels(layer)
            said[layer.name] = int((taps * seen + bias) * numbers * taps)
    return said


INVENTORY_MISTAKES = (
    (
        lambda model: _inventory(model, smallest=1),
        "a 1 x 1 convolution has a single tap: leave it as it is, it is a change of channels and no look around.",
    ),
    (
        lambda model: _inventory(model, kinds=(layers.Conv2D, layers.DepthwiseConv2D)),
        "a depthwise convolution is no `Conv2D`: `from_conv2d` refuses it.",
    ),
    (
        lambda model: _inventory(model, channels=lambda layer: layer.kernel.shape[2]),
        "with groups, `kernel.shape[2]` is the channels of one group: the offset convolution reads all of them.",
    ),
    (
        lambda model: _inventory(model, channels=lambda layer: layer.filters),
        "the offset convolution reads what the layer reads: its channels in, not its filters.",
    ),
    (lambda model: _inventory(model, bias=0), "the offset convolution has a bias: one for each number that it makes."),
    (lambda model: _inventory(model, numbers=1), "each tap needs two numbers, y and x."),
    (lambda model: _inventory(model, numbers=3), "three numbers a tap are with a mask: here it is y and x."),
)


def check_port(function) -> bool:
    """Task P3.2: `function(model, names)` -> a new model, those layers deformable, that starts by doing the same."""
    cases = [(0, ("branch",)), (1, ("stem", "branch"))]
    return check("P3.2", _ported(function), KNOWN_PORTS[0][0], cases, KNOWN_PORTS[1:])


def _ported(function):
    """What `function` made as numbers: what it computes, which layers are deformable, whether the old one is intact."""

    def ported(seed, names):
        model = somebodys_network(seed)
        images = np.random.default_rng(32).normal(size=(3, *model.input_shape[1:])).astype("float32")
        old = _outputs(model, images)
        new = function(model, list(names))
        if new is None:
            return None
        deformed = [_is_deformed(new, name) for name in LAYERS]
        seen = _outputs(new, images) - old
        for weight in new.weights:
            weight.assign(weight + 1)  # whoever shares a weight with the new model changes, too
        intact = np.abs(_outputs(model, images) - old).max() < 1e-4
        return np.array([intact, *deformed, *seen.ravel()], "float64")

    return ported


def _outputs(model, images):
    return ops.convert_to_numpy(model(images, training=False))


def _is_deformed(model, name):
    return any(layer.name == name and isinstance(layer, DeformableConv2D) for layer in model.layers)


def _clone(model, names, **options):
    def new(layer):
        if layer.name in names:
            return DeformableConv2D.from_conv2d(layer, **options)
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=new)


def _port(model, names):
    return transplant(model, _clone(model, names))


def _port_kernels_only(model, names):
    """BatchNorm's numbers stay those of a new layer."""
    new = _clone(model, names)
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization):
            for weight, value in zip(new.get_layer(layer.name).weights, layer.weights, strict=False):
                weight.assign(value)
    return new


def _port_without_statistics(model, names):
    new = _port(model, names)
    for weight in new.weights:
        if "moving" in weight.path:
            weight.assign(ops.zeros_like(weight) if "mean" in weight.path else ops.ones_like(weight))
    return new


def _port_with_old_layers(model, names):
    """The layers that are not named are not copied: both models have the same."""

    def new(layer):
        if layer.name in names:
            return DeformableConv2D.from_conv2d(layer)
        return layer

    return keras.models.clone_model(model, clone_function=new)


def _port_named_only(model, names):
    """The named layers bring their weights along, the others begin anew."""
    keras.utils.set_random_seed(6)
    return _clone(model, names)


PORT_MISTAKES = (
    (lambda model, names: _port(model, []), "no layer is deformable yet."),
    (
        lambda model, names: _port(model, ["stem", "branch"] if len(names) == 1 else ["branch"]),
        "other layers are deformable than those of `names`.",
    ),
    (
        lambda model, names: _port(model, ["stem", "branch", "short"]),
        "every convolution is deformable, the 1 x 1 one, too: only those of `names`.",
    ),
    (
        _port_with_old_layers,
        "your model and the old one share layers: training one would change the other. Make each layer anew.",
    ),
    (
        _port_without_statistics,
        "BatchNorm's statistics are not those of the old model: they are weights, too, though no optimizer moves them.",
    ),
    (_port_kernels_only, "BatchNorm starts anew in your model: its four arrays belong to what is carried over."),
    (_port_named_only, "only the named layers have the old weights: `clone_model` makes all others anew."),
    (lambda model, names: model, "this is the old model itself: leave it as it is and make a new one."),
)
KNOWN_PORTS = _known(_ported, ((_port, "right"), *PORT_MISTAKES))


def check_same_start(function) -> bool:
    """Task P3.3: `function(model, ported)` -> whether the two compute the same, up to rounding."""

    def knows(pairs):
        return np.array([same for _, _, same in _candidates(pairs)], "float64")

    anything_else = (
        _verdicts(function),
        "your test lets a faulty port through, or blames a good one. Feed both several random pictures, and compare "
        "every number.",
    )
    return check("P3.3", _verdicts(function), knows, [(0,), (1,)], (*KNOWN_TESTS, anything_else))


def _verdicts(test):
    """The test's verdict on each pair, as numbers, which `check` compares; None where one is None."""

    def verdicts(seed):
        said = [test(model, ported) for model, ported, _ in _candidates(seed)]
        return None if any(verdict is None for verdict in said) else np.array([bool(v) for v in said], "float64")

    return verdicts


@functools.cache
def _candidates(seed):
    """Pairs of a model and a port of it, and whether the port is good."""
    model = _kept_network(seed)
    good = _port(model, ["branch"])
    rounded = _changed(model, "branch/kernel", lambda kernel: kernel * np.float32(1 + 2e-7))
    faulty = (
        _changed(model, "branch/kernel", lambda kernel: kernel[::-1]),
        _changed(model, "stem/kernel", lambda kernel: kernel[:, ::-1]),
        _changed(model, "classes/kernel", lambda kernel: 1.02 * kernel),
        _changed(model, "branch/bias", lambda bias: 0 * bias),
        # What it adds to one class it takes from another.
        _changed(model, "classes/bias", lambda bias: bias + np.array([0.04, -0.04, 0], "float32")),
        _port_without_statistics(model, ["branch"]),
        transplant(model, _clone(model, ["branch"], activation=None)),
    )
    right = (model, good, rounded)  # to the last bit, then up to rounding
    return [(model, each, True) for each in right] + [(model, each, False) for each in faulty]


def _changed(model, path, change):
    new = _port(model, ["branch"])
    (weight,) = (weight for weight in new.weights if weight.path == path)
    weight.assign(change(ops.convert_to_numpy(weight)))
    return new


def _same_start(model, ported, images=None, seen=lambda outputs: outputs, tolerance=1e-4):
    """The keywords make mistakes."""
    if images is None:
        images = np.random.default_rng(33).normal(size=(8, *model.input_shape[1:])).astype("float32")
    return bool(np.abs(seen(_outputs(model, images)) - seen(_outputs(ported, images))).max() <= tolerance)


def _blank(model, ported):
    return _same_start(model, ported, np.zeros((2, *model.input_shape[1:]), "float32"))


def _equal_weights(model, ported):
    own = {weight.path: weight for weight in ported.weights}
    return all(np.allclose(weight, own[weight.path], atol=1e-4) for weight in model.weights)


SAME_MISTAKES = (
    (
        lambda model, ported: model.output_shape == ported.output_shape,
        "the same shape is not the same numbers: compare what comes out.",
    ),
    (
        lambda *a: _same_start(*a, seen=lambda outputs: outputs.argmax(axis=-1)),
        "the same class is not the same numbers: small faults do not change the most probable class.",
    ),
    (
        lambda *a: _same_start(*a, seen=lambda outputs: outputs.mean(axis=-1)),
        "faults cancel in a mean: compare every number.",
    ),
    (
        lambda *a: _same_start(*a, tolerance=0),
        "you demand equal bits: two ways to compute a sum round differently. Allow 1e-4.",
    ),
    (
        lambda *a: _same_start(*a, tolerance=0.2),
        "your tolerance is so wide that faults fit in: 1e-4 is enough for rounding.",
    ),
    (_blank, "an empty picture tests no kernel: what is zero stays zero. Take random numbers."),
    (_equal_weights, "equal weights do not say that the layers use them alike: compare what comes out."),
    (lambda *a: not _same_start(*a), "you say True when the two differ: True means that the port is good."),
)
KNOWN_TESTS = _known(_verdicts, SAME_MISTAKES)


def check_freeze(function) -> bool:
    """Task P3.4: `function(model)` freezes in place all but the offset convolutions, BatchNorm's statistics too."""
    cases = [(0, ("branch",)), (1, ("stem", "branch"))]
    return check("P3.4", _frozen(function), KNOWN_FREEZES[0][0], cases, KNOWN_FREEZES[1:])


def _frozen(function):
    """Which weights train after `function`, and whether BatchNorm's statistics would move, as numbers."""

    def frozen(seed, names):
        model = _port(_kept_network(seed), names)
        function(model)  # works in place; what it returns does not matter
        trained = {weight.path for weight in model.trainable_weights}
        norms = [layer.trainable for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
        return np.array([*norms, *(weight.path in trained for weight in model.weights)], "float64")

    return frozen


def _freeze_but(*kinds, kernels=False):
    """Freezes the layers that are not of these kinds; `kernels` leaves those of deformable layers alone."""

    def freeze(model):
        for layer in model.layers:
            layer.trainable = isinstance(layer, kinds)
            if isinstance(layer, DeformableConv2D) and not kernels:
                layer.train_only_offsets()

    return freeze


def _freeze_all(model):
    model.trainable = False


def _freeze_offsets(model):
    for layer in model.layers:
        if isinstance(layer, DeformableConv2D):
            layer.offset_conv.trainable = False


FREEZE_MISTAKES = (
    (
        _freeze_but(DeformableConv2D, layers.BatchNormalization),
        "BatchNorm still learns, and its statistics move: that alone can explain a gain (chapter 7).",
    ),
    (
        _freeze_but(DeformableConv2D, kernels=True),
        "the kernels and biases of the deformable layers still learn: `train_only_offsets` of the layer freezes them.",
    ),
    (_freeze_but(DeformableConv2D, layers.Dense), "the last dense layer still learns."),
    (
        _freeze_all,
        "nothing trains: a model that is frozen as a whole has no trainable weights, whatever its layers say.",
    ),
    (lambda model: None, "nothing is frozen."),
    (_freeze_offsets, "it is the wrong way round: the offsets are frozen, and all else learns."),
    (
        _freeze_but(DeformableConv2D, layers.Conv2D),
        "the plain convolutions still learn.",
    ),
)
KNOWN_FREEZES = _known(_frozen, ((train_only_offsets, "right"), *FREEZE_MISTAKES))


def check_choose(function) -> bool:
    """Task P3.5: `function(accuracies, costs)`, `(sets, seeds)`, `(sets,)` -> which set, an index.

    The cheapest whose mean lies at most one standard error of the best set's mean below that.
    """
    mistakes = [(_choices(wrong), message) for wrong, message in CHOOSE_MISTAKES]
    return check("P3.5", _choices(function), _choices(_choose), [(34,), (35,)], mistakes)


def _choices(choose):
    """What `choose` says of many tables, as numbers, which `check` compares."""

    def choices(seed):
        rng = np.random.default_rng(seed)
        said = []
        for _ in range(60):
            accuracies = rng.normal(rng.uniform(0.88, 0.92, size=(5, 1)), 0.02, size=(5, 4))
            said.append(choose(accuracies, rng.permutation(5) * 1000 + 500))
        return None if any(each is None for each in said) else np.array(said, "float64")

    return choices


def _choose(accuracies, costs, ddof=1, root=True, dearest=False, own=False):
    """The keywords make mistakes."""
    means = accuracies.mean(axis=1)
    best = means.argmax()
    error = accuracies.std(axis=1, ddof=ddof)[... if own else best] / (accuracies.shape[1] ** 0.5 if root else 1)
    near = np.flatnonzero(means >= means[best] - error)
    return near[np.argmax(costs[near]) if dearest else np.argmin(costs[near])]


CHOOSE_MISTAKES = (
    (lambda a, c: a.mean(axis=1).argmax(), "you take the best mean, whatever it costs."),
    (lambda a, c: a.max(axis=1).argmax(), "you take the best single run: that is luck as much as worth. Take means."),
    (lambda a, c: c.argmin(), "you take the cheapest, however badly it reads."),
    (lambda *a: _choose(*a, root=False), "this is the deviation of single runs: divide by the root of their number."),
    (lambda *a: _choose(*a, ddof=0), "a few seeds are a sample: `ddof=1`."),
    (lambda *a: _choose(*a, dearest=True), "of those that are near the best, take the cheapest: yours is the dearest."),
    (
        lambda *a: _choose(*a, own=True),
        "each set is judged by its own spread with you, so a wild one always comes near: take the best set's error.",
    ),
)
