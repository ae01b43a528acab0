"""Drawings of the study: accuracy against zoom, and where a trained network looks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from deformconv.course.figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, style
from deformconv.study.diagnostics import deformable_layers, offsets_of
from deformconv.study.scaling import zoomed_copy

# One look per variant, the same in every figure: panel, colour, marker, dashes.
LOOKS = {
    "regular": (None, BLUE, "s", "-"),
    "deformable": (None, GREEN, "o", "-"),
    "deformable-all-layers": ("offsets learn, all else is frozen", SKY, "D", "-"),
    "deformable-groups": ("offsets learn, all else is frozen", PURPLE, "P", "--"),
    "modulated": ("offsets learn, all else is frozen", ORANGE, "X", "-."),
    "conv-offset": ("offsets learn, all else is frozen", VERMILION, "^", ":"),
    "batchnorm-only": ("frozen controls", ORANGE, "^", "--"),
    "conv-offset-2017": ("frozen controls", VERMILION, "v", ":"),
    "spatial-transformer": ("frozen controls", SKY, "D", "-"),
    "equal-parameters": ("frozen controls", PURPLE, "P", "-."),
    "full-fine-tune": ("nothing is frozen", ORANGE, "^", "--"),
    "from-scratch": ("nothing is frozen", PURPLE, "P", "-."),
    "from-scratch-deformable": ("nothing is frozen", SKY, "D", "-"),
}


def accuracy_against_zoom(runs):
    """Mean accuracy of each variant at fixed zooms, with the standard deviation over seeds as a band.

    The regular classifier and `deformable` are in every panel, the others in the panel of their kind.
    """
    variants = [name for name in LOOKS if any(run["variant"] == name for run in runs)]
    panels = list(dict.fromkeys(LOOKS[name][0] for name in variants if LOOKS[name][0])) or [None]
    with style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(max(6, 4.6 * len(panels)), 5.0), sharey=True, squeeze=False
        )
        for ax, panel in zip(axes[0], panels, strict=True):
            ax.axvspan(1, 2.5, color="0.93", zorder=0)
            ax.text(1.75, 3, "zooms seen in fine-tuning", ha="center", color="0.35")
            for variant in (name for name in variants if LOOKS[name][0] in (None, panel)):
                _draw_curve(ax, variant, [run for run in runs if run["variant"] == variant])
            ax.set(xlabel="zoom (the digit is 1 / zoom of its size)", ylim=(0, 101))
            ax.set_title(panel or "", loc="left")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        seeds = len({run["seed"] for run in runs})
        axes[0, 0].set_ylabel("test accuracy, %")
        figure.suptitle(f"{runs[0]['dataset']}, {seeds} seed{'s' if seeds > 1 else ''}", x=0.01, ha="left")
    return figure


def _draw_curve(ax, variant, runs):
    zooms = np.array([float(zoom) for zoom in runs[0]["zoom"]])
    values = 100 * np.array([list(run["zoom"].values()) for run in runs])
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1) if len(runs) > 1 else 0
    _, colour, marker, dashes = LOOKS[variant]
    ax.plot(zooms, mean, color=colour, marker=marker, linestyle=dashes, label=variant)
    ax.fill_between(zooms, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def effective_dilation(runs, variant="deformable"):
    """The effective dilation of each layer against the size of the digit, on it and beside it, mean over seeds."""
    own = [run for run in runs if run["variant"] == variant]
    layers = list(next(iter(own[0]["dilation"].values())))
    zooms = list(own[0]["dilation"])
    with style():
        figure, axes = plt.subplots(1, len(layers), figsize=(3.4 * len(layers), 3.6), sharey=True, squeeze=False)
        for ax, layer in zip(axes[0], layers, strict=True):
            for place, colour, marker, dashes in (("digit", GREEN, "o", "-"), ("background", BLUE, "s", "--")):
                values = np.array([[run["dilation"][zoom][layer][place] for zoom in zooms] for run in own], "float64")
                spread = values.std(axis=0, ddof=1) if len(own) > 1 else 0
                sizes, mean = 1 / np.array(zooms, "float64"), values.mean(axis=0)
                ax.plot(sizes, mean, color=colour, marker=marker, linestyle=dashes, label=f"on the {place}")
                ax.fill_between(sizes, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            ax.axhline(1, color="0.3", linewidth=1, linestyle=":")
            ax.set(title=layer, xlabel="size of the digit")
        axes[0, 0].set_ylabel("effective dilation, pixels")
        axes[0, 0].legend()
    return figure


def trace_points(model, images, pixel=(3, 3)) -> np.ndarray:
    """Where one output pixel of the last convolution looks in each image, through all deformed layers: `(b, n, 2)`.

    From that pixel, each tap of a layer lands between pixels of the layer's input; the nearest of them is where
    the layer before is asked in turn. Three layers of nine taps give 729 points, in pixels of the image.
    """
    layers = deformable_layers(model)
    offsets = offsets_of(model, images)
    points = np.tile(np.array(pixel, "float64"), (len(images), 1, 1))
    for layer in reversed(layers):
        own = offsets[layer.name].reshape(*offsets[layer.name].shape[:3], -1, 2)
        size = layer.input.shape[1:3]
        points = np.stack([_taps_of(*pair, layer, size) for pair in zip(points, own, strict=True)])
    return points


def _taps_of(points, offsets, layer, size):
    """Where the taps of one layer look, for each of its output pixels nearest to `points`."""
    limit = np.array(offsets.shape[:2]) - 1
    pixel = np.clip(np.round(points), 0, limit).astype(int)
    strides, dilation = np.array(layer.strides), np.array(layer.dilation_rate)
    # `same` padding: as many zeros before as half of what is missing, rounded down
    span = (np.array(layer.kernel_size) - 1) * dilation + 1
    before = np.maximum(limit * strides + span - np.array(size), 0) // 2
    taps = np.stack(np.meshgrid(*map(np.arange, layer.kernel_size), indexing="ij"), axis=-1).reshape(-1, 2)
    looked = pixel[:, None] * strides - before + taps * dilation + offsets[pixel[:, 0], pixel[:, 1]]
    return looked.reshape(-1, 2)


def draw_points(ax, image, points, colour):
    """Sampling points over a dimmed image; where many points meet the colour is stronger."""
    ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1.5)
    ax.scatter(points[:, 1], points[:, 0], s=9, color=colour, alpha=0.45, linewidths=0)
    ax.set(xlim=(-6.5, 33.5), ylim=(33.5, -6.5), xticks=[], yticks=[], facecolor="black")


def sampling_points(rigid, learned, image, zooms=(1.0, 1.75, 2.5)):
    """The 729 points that one output pixel sees, before and after learning, as the digit shrinks. Both deformable."""
    shrunk = np.concatenate([zoomed_copy(image[None], zoom) for zoom in zooms])
    with style():
        figure, axes = plt.subplots(2, len(zooms), figsize=(2.6 * len(zooms), 5.4), squeeze=False)
        for row, (model, colour, name) in enumerate(_looking(rigid, learned)):
            for ax, zoom, seen, points in zip(axes[row], zooms, shrunk, trace_points(model, shrunk), strict=True):
                draw_points(ax, seen, points, colour)
                ax.set_title(f"zoom {zoom:g}, spread {spread(points):.1f} px")
            axes[row, 0].set_ylabel(name)
    return figure


def spread(points) -> float:
    """How far points lie from their mean: the standard deviation along an axis, mean of both axes, in pixels."""
    return float(points.std(axis=0).mean())


def save_animation(path, rigid, learned, image, zooms=None):
    """Writes the GIF of `sampling_points` while the digit shrinks and grows again."""
    if zooms is None:
        down = np.linspace(0, 1, 19)
        zooms = 2.5 ** np.concatenate([down, down[-2:0:-1]])
    shrunk = np.concatenate([zoomed_copy(image[None], zoom) for zoom in zooms])
    seen = [(trace_points(model, shrunk), colour, name) for model, colour, name in _looking(rigid, learned)]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.6))

        def frame(number):
            for ax, (points, colour, name) in zip(axes, seen, strict=True):
                ax.clear()
                draw_points(ax, shrunk[number], points[number], colour)
                ax.set_title(f"{name}: spread {spread(points[number]):.1f} px")
            figure.suptitle(f"zoom {zooms[number]:.2f}")

        FuncAnimation(figure, frame, frames=len(zooms)).save(path, PillowWriter(fps=10), dpi=90)
        plt.close(figure)


def _looking(rigid, learned):
    return (rigid, SKY, "zero offsets"), (learned, ORANGE, "learned offsets")
