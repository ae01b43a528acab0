"""`constant`: what PyTorch's compiler is to call, not to look into."""

import keras


def constant(function):
    """A function without arguments whose result, a constant, stays the same while a graph is made.

    PyTorch's compiler follows every call, but neither into contexts nor to a C++ compiler: there it takes the result.
    """
    if keras.backend.backend() != "torch":
        return function
    import torch

    return torch.compiler.assume_constant_result(function)
