"""The weights of one module in a state dict, looked up by name, with errors that say what is there."""

from collections.abc import Mapping
from typing import Any

import numpy as np

SHOWN = 8  # keys in a message


class Weights:
    """The weights of `module` in `state`: `weights("bias")` is the array at `module.bias`."""

    def __init__(self, state: Mapping[str, Any], module: str):
        if not isinstance(state, Mapping):
            raise ValueError(
                f"`state` must be a dictionary of arrays; received a {type(state).__name__}. "
                "A module's is `module.state_dict()`; a file's, what `torch.load(path, weights_only=True)` gives."
            )
        self.state = state
        self.module = module.rstrip(".")

    def key(self, name: str) -> str:
        return f"{self.module}.{name}" if self.module else name

    def __contains__(self, name: str) -> bool:
        return self.key(name) in self.state

    def __call__(self, name: str, shape: tuple[int | None, ...], slip: str = "") -> np.ndarray:
        """The array of this name and shape; None is any length.

        Raises:
            ValueError: if it is missing, no array of numbers, or of another shape, which may come of the `slip`.
        """
        key = self.key(name)
        if key not in self.state:
            raise ValueError(f"`state` must have {key!r}; {self._there()}{self._slip(name)}")
        try:
            array = np.asarray(self.state[key])
        except (TypeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"`state[{key!r}]` must be an array that NumPy can read; received a "
                f"{type(self.state[key]).__name__} ({error}). For a PyTorch tensor, .detach().cpu().float() gives one."
            ) from error
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"`state[{key!r}]` must be an array of floats; received dtype {array.dtype}.")
        self.check(name, array, shape, slip)
        return array

    def check(self, name: str, array: np.ndarray, shape: tuple[int | None, ...], slip: str = "") -> None:
        right = len(array.shape) == len(shape)
        if not right or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            expected = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(
                f"`state[{self.key(name)!r}]` must have shape ({expected}{',' * (len(shape) == 1)}); "
                f"received {array.shape}.{slip}"
            )

    def _there(self) -> str:
        of = f"{self.module}." if self.module else ""
        there = [str(key) for key in self.state if str(key).startswith(of)]
        if not there:
            return f"it has no key that starts with {of!r}." if of else "it is empty."
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        return f"{'with ' + repr(of) + ' it' if of else 'it'} has {', '.join(map(repr, there[:SHOWN]))}{more}."

    def _slip(self, name: str) -> str:
        for inner in ("state_dict", "model"):
            if isinstance(self.state.get(inner), Mapping):
                return f" Is the dictionary meant the one in state[{inner!r}]?"
        owners = [str(key)[: -len(name) - 1] for key in self.state if str(key).endswith(f".{name}")]
        owners = [owner for owner in owners if owner != self.module]
        if owners and name != "weight" and name != "bias":
            return f" Such a weight has the module {', '.join(map(repr, owners[:SHOWN]))}."
        return ""
