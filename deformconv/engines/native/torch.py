"""The kernels on PyTorch: when they serve, and calls of their operators.

`torch_operators.py` has these, `torch_transforms.py` what differentiates and maps them.
"""

import torch

from deformconv.engines.native.library import Unavailable

if not hasattr(torch.library, "register_vmap"):
    raise Unavailable(f"PyTorch {torch.__version__} is too old: they need 2.5")

from deformconv.engines.native import torch_operators, torch_transforms


def prepare():
    """Compiles and loads the kernels, and makes them PyTorch's operators."""
    torch_operators.core()


def serves(images):
    """Whether the kernels take such images, here and now.

    Not within forward-mode differentiation, which an operator of one's own cannot take part in: the portable engine
    can. Neither in a program that is to run elsewhere, where nobody has these operators.
    """
    return (
        type(images) in (torch.Tensor, torch.nn.Parameter)  # another kind may keep its numbers elsewhere, or none
        and images.device.type == "cpu"
        and images.dtype in torch_operators.TYPES
        and not torch_transforms.beyond_operators()
        and not torch.compiler.is_exporting()
        and not torch.jit.is_tracing()
    )


def sample(images, coords):
    """Values at points, as `engines.sample`."""
    if coords.ndim == 3:
        coords = coords[:, :, None]
    return aggregate(images, coords[:, :, :, None], None)


def aggregate(images, coords, weights):
    """The weighted sum of what points read, as `engines.aggregate`."""
    return torch_transforms.aggregate(images, coords.to(torch_operators.in_sums(images.dtype)), weights)


def convolve(inputs, offsets, kernel, *, mask, bias, strides, pads, out_size, dilation_rate, groups, offset_groups):
    """The deformable convolution of checked arguments, as `engines.convolve`."""
    if torch.is_autocast_enabled("cpu") and inputs.dtype != torch.float64:
        # As PyTorch's own convolutions do; offsets stay as they are.
        dtype = torch.get_autocast_dtype("cpu")
        inputs, kernel, mask = (None if t is None else t.to(dtype) for t in (inputs, kernel, mask))
    geometry = [*strides, *pads, *dilation_rate, *out_size]
    outputs = torch_transforms.convolve(
        inputs, offsets.to(torch_operators.in_sums(inputs.dtype)), mask, kernel, geometry, groups, offset_groups
    )
    return outputs if bias is None else outputs + bias
