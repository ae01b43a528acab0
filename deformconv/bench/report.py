"""What the benchmark says: a file, a table, the promises it keeps or breaks."""

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deformconv.bench import cases
from deformconv.bench.contenders import CONTENDERS


def write(path, report):
    """Writes the report as JSON, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, path)


def table(results) -> str:
    """Contenders against cases, in milliseconds and in times Conv2D's, as Markdown: forward, then both ways."""
    parts = []
    for direction, title in (("forward", "forward"), ("backward", "forward and backward")):
        timed = [r for r in results if r.get("direction") == direction]
        if not timed:
            continue
        cases, contenders = (list(dict.fromkeys(r[key] for r in timed)) for key in ("case", "contender"))
        found = {(r["case"], r["contender"]): r for r in timed}
        lines = [f"{title}, ms (times conv2d)", "", f"| | {' | '.join(cases)} |", "|---|" + "---:|" * len(cases)]
        for contender in contenders:
            cells = []
            for case in cases:
                result, yardstick = found.get((case, contender)), found.get((case, "conv2d"))
                cell = "" if result is None else f"{result['median']:.1f}"
                if result and yardstick:
                    cell += f" ({result['median'] / yardstick['median']:.2f})"
                cells.append(cell)
            lines.append(f"| {contender} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    failed = [f"- {r['contender']}, {r['case']}: {r['failed']}" for r in results if "failed" in r]
    if failed:
        parts.append("\n".join(["Not timed:", *failed]))
    return "\n\n".join(parts)


def training_table(results) -> str:
    """The training steps, and what the deformable one costs in times the plain one."""
    plain = results[0]["median"]
    lines = ["| network | ms a step | times plain | images / s | cores busy |", "|---|---:|---:|---:|---:|"]
    for r in results:
        lines.append(
            f"| {r['network']} | {r['median']:.1f} ({r['low']:.1f}-{r['high']:.1f}) | {r['median'] / plain:.2f} "
            f"| {r['images_per_second']:,} | {r['cores_busy']} |"
        )
    return "\n".join(lines)


def versions(names) -> dict[str, str]:
    """Of the libraries behind these contenders."""
    found = {}
    for module in {CONTENDERS[name][1] for name in names}:
        package = {"paddle": "paddlepaddle"}.get(module, module)
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def draw(results, path) -> list[Path]:
    """Draws what was measured beside the file: a picture of the main cases, and one of growth."""
    from deformconv.course import figures

    written = []
    if any("grows" in result for result in results):
        written.append(path.with_suffix(".png"))
        figures.growth_to_the_end(results).savefig(written[-1], dpi=120)
        return written
    timed = {result["case"] for result in results if "direction" in result}
    main = [case.name for case in cases.MAIN if case.name in timed]
    for direction in ("forward", "backward"):
        if main and any(result.get("direction") == direction for result in results):
            written.append(path.with_name(f"{path.stem}-{direction}.png"))
            figures.speed(results, main, direction).savefig(written[-1], dpi=120)
    if timed >= {case.name for case in cases.GROWTH}:
        written.append(path.with_name(f"{path.stem}-growth.png"))
        figures.growth(results).savefig(written[-1], dpi=120)
    return written
