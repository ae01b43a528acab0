"""What a result is a result of: the machine, the versions, the source. Nothing here needs Keras."""

import hashlib
import platform
import re
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import deformconv
from deformconv.bench.contenders import CONTENDERS

ROOT = Path(deformconv.__file__).parents[1]
# Of an NVIDIA GPU's libraries and of the engines' own parts, whose versions matter as well.
ON_A_GPU = re.compile(r"triton|jax.*|optree|nvidia-(cudnn|cublas|cuda-runtime).*")


def gpu() -> dict[str, str]:
    """The GPU's `name`, `driver` and `memory`; a ValueError where there is none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        name, driver, memory = (part.strip() for part in answer.splitlines()[0].split(","))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        raise ValueError("no NVIDIA GPU was found (nvidia-smi names none); --cases smoke runs without.") from None
    return {"name": name, "driver": driver, "memory": memory}


def versions(names, device) -> dict[str, str]:
    """Of Python, this package, and the libraries behind these contenders."""
    packages = ["keras", "numpy", *sorted({CONTENDERS[name].needs for name in names})]
    if device == "gpu":
        found = ((one.metadata["Name"] or "").lower() for one in distributions())
        packages += sorted(name for name in found if ON_A_GPU.fullmatch(name))
    told = {"python": platform.python_version(), "deformconv": deformconv.__version__}
    for package in ({"paddle": "paddlepaddle"}.get(name, name) for name in packages):
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            told[package] = "unknown"
    return told


def source() -> dict[str, str | None]:
    """Which package was measured: the commit where git knows, and a digest of its code where it does not."""
    digest = hashlib.sha256()
    folder = ROOT / "deformconv"
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".cc", ".h")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    return {"commit": commit, "sha256": digest.hexdigest()}


def peak_memory() -> float:
    """Megabytes, of this process so far, libraries and all."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage tells of the process that started this one too, if that was larger
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
