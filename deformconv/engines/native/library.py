"""The compiled kernels as a file: made on this machine, for its processor, when an engine first needs them.

It takes a C++ compiler (g++ or clang++, or what `CXX` names) and some seconds, once: the result is kept in a cache, and
so is a compiler's failure, so that one warning is all that is ever seen of it.
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FLAGS = ["-std=c++17", "-shared", "-fPIC", "-O3", "-fno-math-errno", "-fno-trapping-math", "-w"]
# Of these the first that the compiler takes: what is right for one processor or compiler is unknown to another.
FASTER: tuple[list[str], ...] = (
    ["-march=native", "-mprefer-vector-width=512", "-fopenmp-simd"],
    ["-march=native", "-fopenmp-simd"],
    ["-mcpu=native", "-fopenmp-simd"],
    [],
)


class Unavailable(Exception):
    """Why there are no compiled kernels here."""


def loaded(
    source: str,
    made_for: Sequence[str],
    flags: Sequence[str],
    load: Callable[[Path], Any],
    optional: Sequence[str] = (),
) -> Any:
    """What `load` makes of the shared library of a source in this folder, which is compiled if need be.

    Args:
        source: the file's name, such as `"tensorflow.cc"`.
        made_for: the versions that it depends on.
        flags: for the compiler, besides `FLAGS`.
        load: takes the path; an OSError says that the file there is no such library.
        optional: flags that are left out where the compiler, or what it links with, does not take them.

    Raises:
        Unavailable: if there can be none, with the reason.
    """
    sources = b"".join(path.read_bytes() for path in [*sorted(FOLDER.glob("core/*.h")), FOLDER / source])
    variants = [[*faster, *more] for faster in FASTER for more in ([optional, ()] if optional else [()])]
    given = [
        *made_for,
        platform.machine(),
        _processor(),
        os.environ.get("CXX", ""),
        *FLAGS,
        *flags,
        *map(str, variants),
    ]
    key = hashlib.sha256(sources + json.dumps(given).encode()).hexdigest()[:16]
    path = cache() / f"{Path(source).stem}-{key}.so"
    if _is_whole(path):
        try:
            return load(path)
        except OSError:
            pass  # it was made where other libraries are: made anew below
    _compile(source, flags, variants, path)
    try:
        return load(path)
    except OSError as error:
        raise Unavailable(f"the compiled library cannot be loaded: {error}") from error


def _compile(source, flags, variants, path):
    compiler = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("clang++") or ""]
    if not shutil.which(compiler[0]):
        raise Unavailable("no C++ compiler was found")
    failed, version = path.with_suffix(".failed"), _version(compiler)
    if failed.exists() and failed.read_text() == version:
        raise Unavailable(f"{compiler[0]} could not compile them; it will try again without the file {failed}")
    print(
        "deformconv compiles its CPU kernels for this machine, once: some 15 seconds ...", file=sys.stderr, flush=True
    )
    # Another process may be at it too: each writes its own file, and the last to finish wins.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        for variant in variants:
            command = [*compiler, *FLAGS, *variant, *flags, "-o", str(part), str(FOLDER / source)]
            done = subprocess.run(command, capture_output=True, text=True)
            if not done.returncode and part.exists():
                with part.open("ab") as file:
                    file.write(_digest(part.read_bytes()))
                part.replace(path)
                return
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        warnings.warn(
            f"The CPU kernels could not be compiled; the engine's own operations serve.\n{said}", stacklevel=2
        )
        failed.write_text(version)
        raise Unavailable(f"{compiler[0]} could not compile them")


def _digest(content):
    """Stands behind the library's own bytes, where the system's loader does not look."""
    return hashlib.sha256(content).digest()


def _is_whole(path):
    """Whether the file is one that was written here, to its end: half a library would end the process that loads it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content[-32:] == _digest(content[:-32])


def _version(compiler):
    try:
        return subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def cache() -> Path:
    """The first folder of these that can be written to, and that nobody else can write to."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    for folder in (*_homes(), Path(tempfile.gettempdir()) / f"deformconv-{user}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            told = folder.stat()
            if user != "" and (told.st_uid != user or told.st_mode & 0o022):
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="deformconv-"))


def _homes():
    if given := os.environ.get("XDG_CACHE_HOME"):
        yield Path(given) / "deformconv"
        return
    try:
        yield Path.home() / ".cache" / "deformconv"
    except RuntimeError:  # a user whom the system does not know
        return


def _processor():
    """What `-march=native` looks at: a cache shared by several machines must not mix them up."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    # "flags" on x86, "Features" on ARM
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
