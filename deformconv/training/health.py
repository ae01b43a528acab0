"""Whether a training is still of this world: finite numbers, and offsets that stay on the picture."""

import keras
import numpy as np
from keras import ops

from deformconv import diagnostics
from deformconv.types import Tensor

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
    if not getattr(model, "inputs", None) or not diagnostics.deformable_layers(model):
        return {}
    lengths = {}
    for name, offsets in diagnostics.offsets_of(model, images).items():
        height, width = diagnostics.input_size(model.get_layer(name))
        lengths[name] = float(np.linalg.norm(offsets, axis=-1).mean())
        if height and width and not lengths[name] <= height + width:
            raise Diverged(
                f"After step {step} the offsets of {name!r} are {lengths[name]:.4g} pixels long on average, "
                f"in an input of {height} x {width}: nearly every tap looks beyond the border. {ADVICE}"
            )
    return lengths
