"""What the bench says: tables, lines and pictures of its results."""

from pathlib import Path

from deformconv.bench import cases, promises
from deformconv.bench.contenders import CONTENDERS

DIRECTIONS = {"forward": "forward", "backward": "forward and backward"}


def tables(content) -> str:
    """All that is to be said of a results file's content."""
    kept = content.get("promises")
    return table(content["results"]) + (f"\n\n{promises.table(kept)}" if kept else "")


def table(results) -> str:
    """Contenders against cases as Markdown, a table for each precision and direction, and what was not timed.

    In milliseconds, and in times the yardstick: the engine's own convolution, or Keras's `conv2d` where that was not
    measured.
    """
    parts = []
    for precision in dict.fromkeys(r.get("precision") for r in results):
        for direction in DIRECTIONS:
            timed = [r for r in results if "median" in r]
            timed = [r for r in timed if (r.get("precision"), r["direction"]) == (precision, direction)]
            if timed:
                parts.append(_table(timed, precision, direction))
    failed = [f"- {r['contender']}, {r['case']}: {r['failed']}" for r in results if "failed" in r]
    if failed:
        parts.append("\n".join(["Not timed:", *dict.fromkeys(failed)]))
    return "\n\n".join(parts)


def _table(timed, precision, direction):
    cases, contenders = (list(dict.fromkeys(r[key] for r in timed)) for key in ("case", "contender"))
    contenders = [name for name in CONTENDERS if name in contenders]
    found = {(r["case"], r["contender"]): r for r in timed}
    words = DIRECTIONS[direction], precision, "ms (times its engine's own convolution, or conv2d)"
    lines = [", ".join(filter(None, words)), "", f"| | {' | '.join(cases)} |", "|---|" + "---:|" * len(cases)]
    for contender in contenders:
        cells = []
        for case in cases:
            result = found.get((case, contender))
            own = found.get((case, f"conv2d, {CONTENDERS[contender].engine}"), found.get((case, "conv2d")))
            cell = "" if result is None else milliseconds(result)
            if result and own:
                cell += f" ({result['median'] / own['median']:.2f})"
            cells.append(cell)
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    if any(promises.host_bound(r) for r in timed):
        lines += ["", "* the host takes as long to send it off."]
    return "\n".join(lines)


def milliseconds(result) -> str:
    """A median, marked where the host is what was measured."""
    median = result["median"]
    return (f"{median:.1f}" if median >= 1 else f"{median:.3g}") + "*" * promises.host_bound(result)


def line(rows) -> str:
    """A case in a line, as soon as it is measured."""
    first = rows[0]
    parts = []
    for direction in DIRECTIONS:
        own = [row for row in rows if row["direction"] == direction]
        times = (f"{row['contender']} {milliseconds(row) if 'median' in row else 'failed'}" for row in own)
        if own:
            parts.append(f"{DIRECTIONS[direction]}: {'; '.join(times)}")
    return f"{first['case']}, {first['precision']}, ms {'. '.join(parts)}"


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


def draw(results, path) -> list[Path]:
    """Draws what was measured on the CPU beside the file: a picture of the main cases, and one of growth."""
    from deformconv.course import figures

    written = []
    if any("grows" in result for result in results):
        written.append(path.with_suffix(".png"))
        figures.growth_to_the_end(results).savefig(written[-1], dpi=120)
        return written
    results = [result for result in results if "median" in result]
    timed = {result["case"] for result in results}
    against = {(result["case"], result["direction"]) for result in results if result["contender"] == "conv2d"}
    for direction in DIRECTIONS:
        main = [case.name for case in cases.MAIN if (case.name, direction) in against]
        if main:
            written.append(path.with_name(f"{path.stem}-{direction}.png"))
            figures.speed(results, main, direction).savefig(written[-1], dpi=120)
    if timed >= {case.name for case in cases.GROWTH}:
        written.append(path.with_name(f"{path.stem}-growth.png"))
        figures.growth(results).savefig(written[-1], dpi=120)
    return written
