"""What `gpu.py` measures, and what it makes of the numbers: the results file, the tables, what is promised."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("float32", "bfloat16", "tf32")  # float32: strictly, no TF32 within
DIRECTIONS = ("forward", "forward+backward")

# family: whose results are compared; the first of a family that runs is its reference.
_ALL = dict.fromkeys(PRECISIONS)
CONTENDERS = {
    "conv-torch": {"engine": "torch", "family": "convolution", "precisions": _ALL},
    "conv-jax": {"engine": "jax", "family": "convolution", "precisions": _ALL},
    # Its kernel knows no bfloat16.
    "torchvision": {"engine": "torch", "family": "deformable", "precisions": ("float32", "tf32")},
    "deformconv-torch": {"engine": "torch", "family": "deformable", "precisions": _ALL},
    "deformconv-torch-compile": {"engine": "torch", "family": "deformable", "precisions": _ALL},
    "deformconv-jax": {"engine": "jax", "family": "deformable", "precisions": _ALL},
    "gather-torch": {"engine": "torch", "family": "gather", "precisions": _ALL},
    "gather-jax": {"engine": "jax", "family": "gather", "precisions": _ALL},
}


def _case(batch, height, width, channels, filters, mask=False):
    return {
        "batch": batch,
        "height": height,
        "width": width,
        "channels": channels,
        "filters": filters,
        "kernel_size": [3, 3],
        "mask": mask,
    }


# batch x height x width x channels - filters; 3 x 3 taps, stride 1, padding 1. The weightiest first.
CASES = {
    "8x56x56x64-64": _case(8, 56, 56, 64, 64),
    "8x56x56x64-64-mask": _case(8, 56, 56, 64, 64, mask=True),
    "128x14x14x64-128": _case(128, 14, 14, 64, 128),
    "32x28x28x128-128": _case(32, 28, 28, 128, 128),
    "1x512x512x64-64": _case(1, 512, 512, 64, 64),
    "64x56x56x64-64": _case(64, 56, 56, 64, 64),
    "256x56x56x64-64": _case(256, 56, 56, 64, 64),
    "1x56x56x64-64": _case(1, 56, 56, 64, 64),
}
SMOKE_CASES = {
    "2x7x6x8-4": _case(2, 7, 6, 8, 4),
    "1x5x4x8-6-mask": _case(1, 5, 4, 8, 6, mask=True),
}

# Of the distance from the reference, computed in strict float32 from the same numbers, relative to its norm.
# TF32 alone errs by 3e-4: the first tolerance would find it where strict float32 was asked for.
TOLERANCES = {"float32": 5e-5, "tf32": 3e-3, "bfloat16": 2e-2}

OURS = ("deformconv-torch", "deformconv-torch-compile", "deformconv-jax")
PROMISES = (
    # name, against (a contender, or a prefix of one that the same engine runs), at most this ratio, where
    ("at most 2.5 times cuDNN's convolution", "conv", 2.5, ("float32",), ("forward",)),
    ("at least 2 times as fast as torchvision", "torchvision", 0.5, ("float32", "tf32"), DIRECTIONS),
    ("at most 2 times a plain gather", "gather", 2, PRECISIONS, DIRECTIONS),
)


def points(case):
    return case["batch"] * case["height"] * case["width"] * case["kernel_size"][0] * case["kernel_size"][1]


def corner_bytes(case, item=4):
    """The rows that four corners of all sampling points read."""
    return 4 * points(case) * case["channels"] * item


def row(contender, precision, case, direction):
    case = dict(case)
    return {
        "contender": contender,
        "precision": precision,
        "case": case.pop("name"),
        "direction": direction,
        **case,
    }


def hardware(smoke):
    """The machine; a ValueError where a GPU is wanted and none is there."""
    about = {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()}
    if smoke:
        return {"name": "smoke", **about}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        name, driver, memory = (part.strip() for part in answer.splitlines()[0].split(","))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        raise ValueError("no NVIDIA GPU was found (nvidia-smi names none); --smoke runs on the CPU.") from None
    return {"name": name, "driver": driver, "memory": memory, **about}


def _processor():
    try:
        return re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def _versions(about):
    """Of the distributions installed, and what the contenders say of CUDA and cuDNN."""
    versions = {"python": platform.python_version()}
    wanted = re.compile(r"(torch|torchvision|triton|jax.*|keras|numpy|optree|nvidia-(cudnn|cublas|cuda-runtime).*)$")
    for found in importlib.metadata.distributions():
        name = (found.metadata["Name"] or "").lower()
        if wanted.match(name):
            versions[name] = found.version
    for answer in about.values():
        versions.update(answer.get("versions", {}))
    return dict(sorted(versions.items()))


def _source():
    """Which package was measured: the commit where git knows, and a digest of its Python files where it does not."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "deformconv").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    return {"commit": commit, "sha256": digest.hexdigest()}


class Results:
    """The file, written whole after every case: what was measured survives an interruption."""

    def __init__(self, folder, hardware, about, command, options):
        slug = re.sub(r"[^a-z0-9]+", "-", hardware["name"].lower()).strip("-")
        self.path = folder and folder / f"gpu-{slug}.json"
        self.content = {
            "command": command,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "smoke": options.smoke,
            "hardware": hardware,
            "devices": {name: answer["device"] for name, answer in about.items() if "device" in answer},
            "left_out": {name: answer["left_out"] for name, answer in about.items() if "left_out" in answer},
            "versions": _versions(about),
            "source": _source(),
            "seed": options.seed,
            "rounds": options.rounds,
            "round_seconds": options.round_seconds,
            "tolerances": TOLERANCES,
            "results": [],
        }
        self.new = []
        if self.path and self.path.exists():
            self._keep(json.loads(self.path.read_text()))

    def _keep(self, before):
        """An earlier run's rows, if they can stand beside this one's: a run may be split over several commands."""
        now = self.content
        same = all(before[key] == now[key] for key in ("smoke", "hardware", "seed", "tolerances"))
        same = same and before["source"]["sha256"] == now["source"]["sha256"]
        # Contenders that do not run this time do not tell their versions.
        both = before["versions"].keys() & now["versions"].keys()
        if same and all(before["versions"][name] == now["versions"][name] for name in both):
            for key in ("devices", "left_out", "versions"):
                now[key] = {**before[key], **now[key]}
            now["results"] = before["results"]
            now["command"] = f"{before['command']}; {now['command']}"
            print(f"{self.path}: of the same machine, versions and source; rows are added to it.")
        else:
            print(f"{self.path}: of another machine, other versions or another source; it will be replaced.")

    def add(self, rows):
        keys = {_key(row) for row in rows}
        self.content["results"] = [row for row in self.content["results"] if _key(row) not in keys] + rows
        self.new += rows
        self.content["promises"] = promises(self.content["results"])
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            try:
                temporary.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n")
                os.replace(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)

    def tables(self):
        rows = self.content["results"]
        parts = [
            _table(rows, precision, direction)
            for precision in PRECISIONS
            for direction in DIRECTIONS
            if any(row["precision"] == precision and row["direction"] == direction for row in rows)
        ]
        parts.append(_promise_table(self.content.get("promises", [])))
        parts += [f"{' '.join(_key(row))}: {row['error']}" for row in rows if "error" in row]
        return "\n\n".join(filter(None, parts))


def _key(row):
    return row["contender"], row["precision"], row["case"], row["direction"]


def promises(rows):
    """Each ratio that is promised: ours over the peer's, and whether it is kept."""
    found = {_key(row): row for row in rows if "median" in row}
    kept = []
    for promise, against, limit, precisions, directions in PROMISES:
        for name, precision, case, direction in found:
            if name not in OURS or precision not in precisions or direction not in directions:
                continue
            peer = against if against in CONTENDERS else f"{against}-{CONTENDERS[name]['engine']}"
            ours, theirs = found[name, precision, case, direction], found.get((peer, precision, case, direction))
            if theirs:
                ratio = ours["median"] / theirs["median"]
                kept.append(
                    {
                        "promise": promise,
                        "contender": name,
                        "against": peer,
                        "precision": precision,
                        "case": case,
                        "direction": direction,
                        "ratio": ratio,
                        "limit": limit,
                        "met": ratio <= limit,
                        "host_bound": [row["contender"] for row in (ours, theirs) if host_bound(row)],
                    }
                )
    return kept


def host_bound(row):
    """Whether Python and the engine take as long to send the work off as the GPU takes to do it, or longer."""
    return row["dispatch"] > 0.9 * row["median"]


def _micro(row):
    if "median" not in row:
        return "error"
    micro = row["median"] * 1e6
    return f"{micro:,.{1 if micro < 100 else 0}f}{'*' if host_bound(row) else ''}"


def line(precision, case, direction, rows):
    times = ", ".join(f"{row['contender']} {_micro(row)}" for row in rows)
    return f"{precision} {case} {direction}, microseconds: {times}"


def _grid(lines):
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in lines
    )


def _table(rows, precision, direction):
    rows = [row for row in rows if row["precision"] == precision and row["direction"] == direction]
    contenders = [name for name in CONTENDERS if any(row["contender"] == name for row in rows)]
    cells = {(row["case"], row["contender"]): _micro(row) for row in rows}
    lines = [["case", *contenders]]
    for case in dict.fromkeys(row["case"] for row in rows):
        lines.append([case, *(cells.get((case, name), "-") for name in contenders)])
    return f"{precision}, {direction}: median microseconds (* the host takes as long to send it off)\n{_grid(lines)}"


def _promise_table(kept):
    groups = {}
    for ratio in kept:
        key = ratio["promise"], ratio["contender"], ratio["precision"], ratio["direction"]
        groups.setdefault(key, []).append(ratio)
    lines = [["promised", "by", "precision", "direction", "at most", "best", "worst", "in case", "met"]]
    for key, ratios in groups.items():
        ratios.sort(key=lambda ratio: ratio["ratio"])
        met = sum(ratio["met"] for ratio in ratios)
        best, worst = ratios[0], ratios[-1]
        verdict = "yes" if met == len(ratios) else f"{met} of {len(ratios)}"
        numbers = [f"{best['limit']:g}", f"{best['ratio']:.2f}", f"{worst['ratio']:.2f}"]
        lines.append([*key, *numbers, worst["case"], verdict])
    return f"Ratios of medians (on a CPU they mean nothing)\n{_grid(lines)}" if groups else ""
