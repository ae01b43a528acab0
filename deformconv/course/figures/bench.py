"""Drawings of the benchmark: how many times a convolution each contender takes."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator

from deformconv.course.figures.house_style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, style

NAMES = {
    "tensorflow": "deformconv",
    "tensorflow, stock": "deformconv (stock ops)",
    "tensorflow, XLA": "deformconv (XLA)",
    "jax": "deformconv (JAX)",
    "torch": "deformconv (PyTorch)",
    "torch, compiled": "deformconv (PyTorch, compiled)",
    "conv2d, jax": "Conv2D (JAX)",
    "conv2d, torch": "Conv2D (PyTorch)",
    "openvino": "OpenVINO",
    "paddlepaddle": "PaddlePaddle",
}
WORDS = {"batch": "images in a batch", "size": "side of the map, pixels", "channels": "channels"}
MARKS = (("s", "-"), ("o", "-"), ("^", "--"), ("D", ":"), ("v", "-."), ("P", "--"), ("X", ":"))


def speed(results, cases, direction="forward"):
    """Time of each contender over Conv2D's, a panel for each case, on a logarithmic axis; ours in green."""
    timed = [r for r in results if r.get("direction") == direction and r["case"] in cases]
    with style():
        figure, axes = plt.subplots(1, len(cases), figsize=(3.1 * len(cases), 3.6), sharex=True, squeeze=False)
        for ax, case in zip(axes[0], cases, strict=True):
            own = {r["contender"]: r["median"] for r in timed if r["case"] == case}
            yardstick = own.pop("conv2d")
            names = sorted(own, key=own.get, reverse=True)
            ratios = [own[name] / yardstick for name in names]
            titles = [NAMES.get(name, name) for name in names]
            ours = [title.startswith("deformconv") for title in titles]
            ax.barh(titles, ratios, color=[GREEN if one else SKY for one in ours], height=0.7)
            for place, ratio in enumerate(ratios):
                ax.text(ratio * 1.1, place, f"{ratio:.3g}", va="center", fontsize=9)
            ax.axvline(1, color="0.3", linewidth=1, linestyle=":")
            ax.set(xscale="log", title=case, xlabel="times Conv2D")
            ax.set_xlim(0.8, max(10, 4 * max(r["median"] for r in timed) / yardstick))
    return figure


def growth(results, direction="forward"):
    """Time against batch, size and channels, one panel each, Conv2D beside the contenders."""
    timed = [r for r in results if r.get("direction") == direction]
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(7.4, 3.8), sharey=True)
        for ax, what in zip(axes, ("batch", "size", "channels"), strict=True):
            of_what = [r for r in timed if r["case"].startswith(f"{what} ")]
            contenders = dict.fromkeys(r["contender"] for r in of_what)
            for contender, colour, (marker, dashes) in zip(
                contenders, _colours(contenders), cycle(MARKS), strict=False
            ):
                points = sorted(
                    (int(r["case"].split()[1]), r["median"]) for r in of_what if r["contender"] == contender
                )
                drawn = {
                    "color": colour,
                    "marker": marker,
                    "linestyle": dashes,
                    "label": NAMES.get(contender, contender),
                }
                ax.plot(*np.transpose(points), markersize=6, **drawn)
            ax.set(xscale="log", yscale="log", xlabel=WORDS[what])
            values = sorted({int(r["case"].split()[1]) for r in of_what})
            ax.set_xticks(values, [str(value) for value in values])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter("{x:g}")
        axes[0].set_ylabel("milliseconds")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _colours(contenders):
    """Conv2D's and this package's are the same in every figure."""
    others = cycle((ORANGE, PURPLE, VERMILION, SKY, "0.4"))
    return [{"conv2d": BLUE, "tensorflow": GREEN}.get(name) or next(others) for name in contenders]


def growth_to_the_end(results):
    """Milliseconds an image against batch, size and channels; and what ends it."""
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(7.4, 3.8))
        for ax, what in zip(axes, ("batch", "size", "channels"), strict=True):
            own = [r for r in results if r["grows"] == what]
            for contender, (marker, dashes) in zip(dict.fromkeys(r["contender"] for r in own), MARKS, strict=False):
                timed = [(r["value"], r["per_image"]) for r in own if r["contender"] == contender and "ended" not in r]
                if not timed:
                    continue
                (line,) = ax.plot(*np.transpose(timed), marker=marker, linestyle=dashes, markersize=6, label=contender)
                end = next(r["ended"] for r in own if r["contender"] == contender and "ended" in r)
                ax.annotate(
                    f"{end} ends" if end in ("memory", "time") else "ends",
                    timed[-1],
                    xytext=(4, 14),
                    textcoords="offset points",
                    color=line.get_color(),
                    fontsize=8,
                    ha="right",
                )
            ax.set(xscale="log", yscale="log", xlabel=WORDS[what])
            ax.margins(y=0.12)
            values = sorted({r["value"] for r in own if "ended" not in r})[::2]
            ax.set_xticks(values, [str(value) for value in values], fontsize=8)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter("{x:g}")
            low, high = ax.get_ylim()
            # Less than a power of ten may hold no tick of the large ones.
            ax.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
        axes[0].set_ylabel("milliseconds an image")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
