"""What is compared: each variant in one sentence, how its network is made, where it starts, and what of it trains."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from deformconv import training
from deformconv.study.digits import models


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    `network(batchnorm_momentum=...)` makes the classifier; `train_only` freezes the rest of it, None nothing at all.
    One that does not `start_trained` starts from random weights and takes the steps of both trainings; the others start
    from the plain classifier of their seed. `scaled`: whether it trains on scaled digits.
    """

    description: str
    network: Callable = models.digit_classifier
    train_only: Callable | None = None
    start_trained: bool = True
    scaled: bool = True

    @property
    def frozen(self) -> bool:
        return self.train_only is not None


def _with(convolution, **options):
    return functools.partial(models.digit_classifier, functools.partial(convolution, **options))


VARIANTS = {
    "regular": Variant(
        "The plain classifier, trained on unscaled digits; where all frozen ones start.",
        start_trained=False,
        scaled=False,
    ),
    "batchnorm-only": Variant(
        "Control: no offsets at all; BatchNorm adapts to scaled digits, and nothing else does.",
        train_only=training.train_only_batchnorm,
    ),
    "conv-offset-2017": Variant(
        "2017 as shipped: a flow whose gradient is dead and whose layout is scrambled; BatchNorm trains.",
        _with(models.conv_offset, layout="2017"),
        models.freeze_as_in_2017,
    ),
    "conv-offset": Variant(
        "2017 as it was meant: a live offset for each pixel and channel, shared by the taps; all else is frozen.",
        _with(models.conv_offset),
        training.train_only_offsets,
    ),
    "deformable": Variant(
        "An offset for each pixel and tap in the last three convolutions; all else is frozen, BatchNorm too.",
        _with(models.deformable),
        training.train_only_offsets,
    ),
    "deformable-all-layers": Variant(
        "The same in all four convolutions.",
        _with(models.deformable, deformed=tuple(models.CONVOLUTIONS)),
        training.train_only_offsets,
    ),
    "deformable-groups": Variant(
        "The same with sixteen offset groups: each sixteenth of the channels looks elsewhere (conv11 reads only one).",
        _with(models.deformable, deformed=tuple(models.CONVOLUTIONS), offset_groups=16),
        training.train_only_offsets,
    ),
    "modulated": Variant(
        "`deformable` with a learned weight for each tap as well (DCNv2).",
        _with(models.deformable, modulated=True),
        training.train_only_offsets,
    ),
    "spatial-transformer": Variant(
        "Control: one affine warp of the whole image by a small network; the classifier behind it is frozen.",
        functools.partial(models.digit_classifier, front=models.spatial_transformer),
        models.train_only_localisation,
    ),
    "equal-parameters": Variant(
        "Control: no offsets; as many free weights in 1 x 1 convolutions behind the last three; all else is frozen.",
        _with(models.adapted),
        models.train_only_adapters,
    ),
    "full-fine-tune": Variant("Control: the plain classifier, fine-tuned on scaled digits with nothing frozen."),
    "from-scratch": Variant(
        "Control: the plain classifier, trained on scaled digits from the start.", start_trained=False
    ),
    "from-scratch-deformable": Variant(
        "`deformable`, all trained on scaled digits from the start; offsets at a tenth of the rate, as in DCNv2.",
        # At the full rate they run away before there are features that could hold them.
        _with(models.deformable, offset_lr_multiplier=0.1),
        start_trained=False,
    ),
}
