"""Kernels for the CPU, in C++: compiled on this machine, for its processor, when they are first needed.

One core, `core/`, that knows no framework; for each engine a short binding, in C++ and in Python.
They never build the column buffer. They need a C++ compiler (g++, clang++ or what `CXX` names) and some seconds, once:
the result is kept in a cache. Without a compiler, on a GPU, or with `DEFORMCONV_CPU_KERNELS=0` in the environment, the
same layers run on the engine's own operations; `deformconv info` says which it is.
"""

import os
from importlib import import_module
from types import ModuleType

import keras

from deformconv.engines.constant import constant
from deformconv.engines.native.library import Unavailable

BINDINGS = ("tensorflow", "jax", "torch")


_found = None  # the active engine's binding, ready, or the reason why there is none; looked for once


def _look():
    engine = keras.backend.backend()
    if os.environ.get("DEFORMCONV_CPU_KERNELS") == "0":
        return Unavailable("switched off by DEFORMCONV_CPU_KERNELS=0")
    if engine not in BINDINGS:
        return Unavailable(f"there are none for {engine}")
    try:
        binding = import_module(f"deformconv.engines.native.{engine}")
        binding.prepare()
    except Unavailable as reason:
        return reason
    return binding


@constant
def _are_there():
    global _found
    if _found is None:
        _found = _look()
    return not isinstance(_found, Unavailable)


def kernels() -> ModuleType | None:
    """The module whose `sample`, `convolve` and `aggregate` are compiled, or None where there are none."""
    return _found if _are_there() else None


def status() -> str:
    """`"compiled"`, or why not: a line for `deformconv info`."""
    return "compiled" if _are_there() else str(_found)
