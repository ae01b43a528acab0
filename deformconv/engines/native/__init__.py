"""Kernels for TensorFlow on a CPU, in C++: compiled on this machine, for its processor, when they are first needed.

They take two thirds to a third of the time of TensorFlow's own operations put together (`benchmarks/results`), and do
without their column buffer. They need a C++ compiler (g++ or clang++, or what `CXX` names) and some seconds, once: the
result is kept in a cache. Without a compiler, on a GPU, or with `DEFORMCONV_CPU_KERNELS=0` in the environment, the same
layers run on TensorFlow's own operations; `deformconv info` says which it is.
"""

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

SOURCE = Path(__file__).parent / "kernels.cc"
FLAGS = ["-std=c++17", "-shared", "-fPIC", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp-simd", "-w"]


class Unavailable(Exception):
    """Why there are no compiled kernels here."""


@functools.cache
def _library():
    """The kernels, loaded into TensorFlow, or the reason why not."""
    import tensorflow as tf

    if os.environ.get("DEFORMCONV_CPU_KERNELS") == "0":
        return Unavailable("switched off by DEFORMCONV_CPU_KERNELS=0")
    if tf.config.list_physical_devices("GPU"):
        return Unavailable("TensorFlow uses a GPU")
    try:
        return tf.load_op_library(str(_compiled()))
    except Unavailable as reason:
        return reason
    except tf.errors.NotFoundError as error:  # a symbol that this TensorFlow lacks
        warnings.warn(f"The compiled CPU kernels do not fit this TensorFlow: {error}", stacklevel=2)
        return Unavailable("they do not fit this TensorFlow")


def kernels():
    """The compiled operations, or None where there are none."""
    library = _library()
    return None if isinstance(library, Unavailable) else library


def status() -> str:
    """`"compiled"`, or why not: a line for `deformconv info`."""
    library = _library()
    return str(library) if isinstance(library, Unavailable) else "compiled"


def _compiled():
    """The path of the shared library, which is made if it is not there."""
    import tensorflow as tf

    command = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("clang++") or ""]
    if not shutil.which(command[0]):
        raise Unavailable("no C++ compiler was found")
    command += [*FLAGS, *tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]*")))
    made_for = (tf.__version__, platform.machine(), _processor(), *command)
    digest = hashlib.sha256(sources + "\n".join(made_for).encode()).hexdigest()[:16]
    path = _cache() / f"kernels-{digest}.so"
    if path.exists():
        return path

    print(
        "deformconv compiles its CPU kernels for this machine, once: some 15 seconds ...", file=sys.stderr, flush=True
    )
    # Another process may be at it too: each writes its own file, and the last to finish wins.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        done = subprocess.run([*command, "-o", str(part), str(SOURCE)], capture_output=True, text=True)
        if done.returncode:
            lines = "\n".join(done.stderr.strip().splitlines()[-8:])
            warnings.warn(f"The CPU kernels could not be compiled; TensorFlow's own serve.\n{lines}", stacklevel=2)
            raise Unavailable(f"{command[0]} could not compile them")
        part.replace(path)
    return path


def _cache():
    """A folder that outlives the process where one can be written to."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deformconv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="deformconv-"))


def _processor():
    """What `-march=native` looks at: a cache shared by several machines must not mix them up."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())
