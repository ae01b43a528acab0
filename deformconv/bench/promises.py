"""What is promised of a GPU: ratios of medians, and whether they are kept."""

from deformconv.bench.contenders import CONTENDERS, OURS
from deformconv.bench.devices import DEVICES, DIRECTIONS

PROMISES = (
    # name, against (a contender, or the beginning of one that the same engine runs), at most this ratio, where
    ("at most 2.5 times cuDNN's convolution", "conv2d, ", 2.5, ("float32",), ("forward",)),
    ("at least 2 times as fast as torchvision", "torchvision", 0.5, ("float32", "tf32"), DIRECTIONS),
    ("at most 2 times a plain gather", "gather, ", 2, DEVICES["gpu"].precisions, DIRECTIONS),
)


def key(row) -> tuple:
    """What a result is of."""
    return row["contender"], row.get("precision"), row["case"], row.get("direction")


def promises(rows) -> list[dict]:
    """Each ratio that is promised: ours over the peer's, and whether it is kept."""
    found = {key(row): row for row in rows if "median" in row}
    kept = []
    for promise, against, limit, precisions, directions in PROMISES:
        for name, precision, case, direction in found:
            if name not in OURS or precision not in precisions or direction not in directions:
                continue
            peer = against + CONTENDERS[name].engine if against.endswith(", ") else against
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


def host_bound(row) -> bool:
    """Whether Python and the engine take as long to send the work off as the GPU takes to do it, or longer."""
    return row.get("dispatch", 0) > 0.9 * row["median"]


def table(kept) -> str:
    """The promises, each with its best and its worst case, as Markdown."""
    groups = {}
    for ratio in kept:
        of = ratio["promise"], ratio["contender"], ratio["precision"], ratio["direction"]
        groups.setdefault(of, []).append(ratio)
    lines = [
        "| promised | by | precision | direction | at most | best | worst | in case | met |",
        "|---|---|---|---|---:|---:|---:|---|---|",
    ]
    for of, ratios in groups.items():
        ratios = sorted(ratios, key=lambda ratio: ratio["ratio"])
        met = sum(ratio["met"] for ratio in ratios)
        best, worst = ratios[0], ratios[-1]
        verdict = "yes" if met == len(ratios) else f"{met} of {len(ratios)}"
        numbers = [f"{best['limit']:g}", f"{best['ratio']:.2f}", f"{worst['ratio']:.2f}"]
        lines.append(f"| {' | '.join([*of, *numbers, worst['case'], verdict])} |")
    return "\n".join(lines)
