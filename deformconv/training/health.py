"""Whether a training is still of this world: finite numbers, offsets that stay on the picture, weights that learn."""

import hashlib
import warnings

import keras
import numpy as np
from keras import ops

from deformconv import diagnostics
from deformconv.layers import ConvOffset2D
from deformconv.layers.inside import all_layers
from deformconv.types import Tensor

PATIENCE = 20  # steps: more than weights that wait for one another need, and than a warm-up spends near zero

ADVICE = (
    "Try a lower `learning_rate` with some `warmup`, `clip_norm=1`, or, for offsets alone, the layer's "
    "`offset_lr_multiplier=0.1` or `max_offset`."
)


class Diverged(ValueError):
    """A training whose numbers are lost; the last checkpoint is from before."""


def check(model: keras.Model, images: Tensor, step: int, loss: float) -> dict[str, float]:
    """The mean length of each deformable layer's offsets on these images, in pixels of its input.

    Raises:
        Diverged: if a weight or the loss is not finite, or offsets are longer on average than the layer's input is
            wide and high together; it names the layer.
    """
    broken = [weight.path for weight in model.weights if not np.isfinite(ops.convert_to_numpy(weight)).all()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise Diverged(f"After step {step} the weight {broken[0]!r}{more} has numbers that are not finite. {ADVICE}")
    if not np.isfinite(loss):
        raise Diverged(f"After step {step} the loss is {loss}; all weights are finite still. {ADVICE}")
    if not diagnostics.deformable_layers(model):
        return {}
    lengths = {}
    for name, _, (height, width), offsets in diagnostics.looks(model, images):
        lengths[name] = float(np.linalg.norm(offsets, axis=-1).mean())
        if not lengths[name] <= height + width:
            raise Diverged(
                f"After step {step} the offsets of {name!r} are {lengths[name]:.4g} pixels long on average, "
                f"in an input of {height} x {width}: nearly every tap looks beyond the border. {ADVICE}"
            )
    return lengths


class Standstill:
    """Tells of the trainable weights that no gradient reaches: to the bit what they were when the training began.

    Args:
        model: as the training begins, or goes on.
        step: the steps done by then.
    """

    def __init__(self, model: keras.Model, step: int):
        by_design = {id(w) for layer in all_layers(model) if _is_dead_by_design(layer) for w in layer.weights}
        self.weights = [weight for weight in model.trainable_weights if id(weight) not in by_design]
        self.before = [_digest(weight) for weight in self.weights]
        self.step, self.told = step, False

    def look(self, step: int) -> None:
        """Warns, once, as soon as there were steps enough to tell."""
        if self.told or step - self.step < PATIENCE:
            return
        self.told = True
        still = [w.path for w, old in zip(self.weights, self.before, strict=True) if _digest(w) == old]
        if not still or len(still) == len(self.weights):  # a learning rate of zero is another matter
            return
        advice = ""
        if any("offset_mask/" in path for path in still):
            advice = (
                " DCNv4 starts at zero: two in a row, or one before a ReLU, never learn. Add a shortcut or give "
                "`mask_bias_initializer`, such as keras.initializers.Constant(1 / 9) for nine taps."
            )
        warnings.warn(
            f"{len(still)} of {len(self.weights)} trainable weights have not moved in {step - self.step} steps, "
            f"{still[0]!r} for one: no gradient reaches them.{advice}",
            stacklevel=2,
        )


def _is_dead_by_design(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, ConvOffset2D) and layer.layout == "2017"


def _digest(weight: keras.Variable) -> bytes:
    """A weight in 16 bytes: a copy of each would be another model in memory."""
    return hashlib.blake2b(ops.convert_to_numpy(weight).tobytes(), digest_size=16).digest()
