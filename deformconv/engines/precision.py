"""`full_precision`: what makes coordinates computes in the type it is given, whatever PyTorch's autocast says."""

from contextlib import AbstractContextManager, nullcontext

import keras

from deformconv.types import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[None]:
    """Within: products and convolutions on the device of `tensor` are computed in the type of what they multiply.

    `torch.autocast` would round the factors to half precision, float32 layers or not. The other engines have nothing
    like it.
    """
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    device = tensor.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):  # "meta": shapes alone
        return nullcontext()
    return torch.autocast(device, enabled=False)
