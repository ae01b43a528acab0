"""What computed a result: the machine and the versions, in words."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

import deformconv

ENGINES = ("tensorflow", "jax", "torch")

# Keras is imported where it is asked: `processor` can be told without.


def processor() -> str:
    """The processor in words, and the cores of it that may be used."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def hardware() -> str:
    """The machine in words: processor, cores it may use, and what Keras's engine computes on."""
    from deformconv.training.devices import engine_devices

    accelerators = [device for device in engine_devices() if not device.lower().startswith("cpu")]
    return ", ".join([processor(), *accelerators])


def versions() -> dict[str, str]:
    """Versions of what computes."""
    import keras

    engine = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[keras.backend.backend()]
    return {
        "python": platform.python_version(),
        "deformconv": deformconv.__version__,
        "keras": keras.__version__,
        engine: version(engine),
        "numpy": np.__version__,
    }


def other_versions(before: dict[str, str]) -> str:
    """The first version that is another than that of a result, in words; empty if there is none.

    Python's own decides nothing, and is not looked at. Results of another engine are of another version.
    """
    now = versions()
    for name in now:
        if name == "python":
            continue
        known = [name] if name in before else [engine for engine in ENGINES if engine in before and name in ENGINES]
        if not known or before[known[0]] != now[name]:
            was = f"{known[0]} {before[known[0]]}" if known else f"an unknown {name}"
            return f"{was}, and this is {name} {now[name]}"
    return ""
