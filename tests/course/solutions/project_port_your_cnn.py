"""Project 3's tasks, solved."""

import keras
import numpy as np

from deformconv import DeformableConv2D
from deformconv.course import exercises
from deformconv.course.exercises import project_port_your_cnn as checks
from solutions.solved import Solved


def inventory(model):
    """By building each offset convolution."""
    counts = {}
    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D and layer.kernel_size != (1, 1):
            deformable = DeformableConv2D.from_conv2d(layer)
            counts[layer.name] = deformable.count_params() - layer.count_params()
    return counts


def port(model, names):
    """From the configuration; weights by name of the layer."""

    def new(layer):
        if layer.name in names:
            return DeformableConv2D.from_conv2d(layer)
        return layer.__class__.from_config(layer.get_config())

    ported = keras.models.clone_model(model, clone_function=new)
    for layer in model.layers:
        if layer.name not in names:  # those have brought theirs along
            ported.get_layer(layer.name).set_weights(layer.get_weights())
    return ported


def same_start(model, ported):
    images = np.random.default_rng(0).uniform(-2, 2, size=(5, *model.input_shape[1:])).astype("float32")
    return np.allclose(model(images, training=False), ported(images, training=False), atol=1e-4)


def choose(accuracies, costs):
    """Set by set, from the cheapest on."""
    best = max(accuracies, key=np.mean)
    least = np.mean(best) - np.std(best, ddof=1) / np.sqrt(len(best))
    return next(number for number in np.argsort(costs) if np.mean(accuracies[number]) >= least)


def freeze(model):
    for layer in model.layers:
        layer.trainable = False
        if isinstance(layer, DeformableConv2D):
            layer.train_only_offsets()


def _without_learned_statistics(model, names):
    new = port(model, names)
    fresh = keras.models.clone_model(model)
    for layer in fresh.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            new.get_layer(layer.name).set_weights(layer.get_weights())
    return new


EXERCISES = {
    "P3.1": Solved(
        exercises.check_inventory,
        inventory,
        checks.INVENTORY_MISTAKES,
        slips=(
            (lambda model: {name: count - 1 for name, count in inventory(model).items()}, "not yet"),
            (lambda model: {**inventory(model), "short": 38}, "not yet"),
        ),
    ),
    "P3.2": Solved(
        exercises.check_port,
        port,
        checks.PORT_MISTAKES,
        slips=((_without_learned_statistics, "BatchNorm starts anew"),),
    ),
    "P3.3": Solved(
        exercises.check_same_start,
        same_start,
        checks.SAME_MISTAKES,
        slips=((lambda model, ported: False, "or blames a good one"),),
    ),
    "P3.5": Solved(
        exercises.check_choose,
        choose,
        checks.CHOOSE_MISTAKES,
        slips=((lambda a, c: int(np.argmax(np.mean(a, axis=1))), "whatever it costs"),),
    ),
    "P3.4": Solved(
        exercises.check_freeze,
        freeze,
        checks.FREEZE_MISTAKES,
        slips=((lambda model: setattr(model, "trainable", False), "frozen as a whole"),),
    ),
}
