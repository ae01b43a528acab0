"""Types that recur in signatures: for readers and their tools. What is checked while code runs, `arguments` checks.

This file needs no Keras: whoever wants a type need not wait for an engine.
"""

import os
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

# Keras has no name for "a tensor of whatever engine is in use"; its functions also take NumPy's arrays and lists.
Tensor = Any
Shape = tuple[int | None, ...]  # as layers are told it; None is what is not known yet
Config = dict[str, Any]  # what `get_config` gives and Keras keeps in a file
Identifier = str | dict[str, Any] | Callable[..., Any] | None  # what `keras.activations.get` and its like take

Pair = int | tuple[int, int]  # one number for both axes, or (y, x)
Padding = Literal["valid", "same"] | int | tuple[tuple[int, int], tuple[int, int]]
DataFormat = Literal["channels_last", "channels_first"]  # of the maps that a layer reads and makes
Outside = Literal["zeros", "edge"]  # what a sampler reads beyond the border
Interpolation = Literal["bilinear", "nearest"]

StrPath = str | os.PathLike[str]
Seed = int | list[int]  # of `numpy.random.default_rng`


class Images(Protocol):
    """`(n, height, width, channels)`, in memory or on the disk: `images[numbers]` reads some."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: Any, /) -> Any: ...
