"""What computed a result: the machine and the versions, in words."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

import deformconv
from deformconv.training.devices import engine_devices


def hardware() -> str:
    """The machine in words: processor, cores it may use, and what Keras's engine computes on."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    accelerators = [device for device in engine_devices() if not device.lower().startswith("cpu")]
    return f"{name}, {cores} cores" + (f", {', '.join(accelerators)}" if accelerators else "")


def versions() -> dict[str, str]:
    """Versions of what computes."""
    engine = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[keras.backend.backend()]
    return {
        "python": platform.python_version(),
        "deformconv": deformconv.__version__,
        "keras": keras.__version__,
        engine: version(engine),
        "numpy": np.__version__,
    }
