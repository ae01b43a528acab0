"""Where a network looks: points traced through its deformable layers, and their pictures, still and moving."""

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patheffects import withStroke
from PIL import Image
from scipy.ndimage import map_coordinates

from deformconv import bilinear_sample
from deformconv.arguments import check_padding, output_size, pair
from deformconv.course.figures.house_style import ORANGE, SKY, style
from deformconv.diagnostics import deformable_layers, offsets_of
from deformconv.layers.layout import check_channels_last
from deformconv.training.scaling import zoomed_copy

# The cover is a dark card of its own, the same on a dark page and on a light one.
GROUND, WORDS = "#0B0E1A", "#E8ECF4"
INK = LinearSegmentedColormap.from_list("ink", [GROUND, "#3C4660", "#8C98B4"])


def trace_points(model, images, pixel=(3, 3), depth=None) -> np.ndarray:
    """Where one output pixel of the last deformable layer looks in each image, `(b, n, 2)`, `(y, x)` in its pixels.

    A tap lands between four pixels of its layer's input, and is their mean; so from there the trace goes on at the
    mean of the places where these four look, tap by tap. Three layers of nine taps give 729 points. Other layers on
    the way, with a kernel or a pool, are passed through their middle. The model must be a chain of layers.

    Args:
        model: has at least one `DeformableConv2D`.
        images: `(b, h, w, c)`.
        pixel: `(y, x)` in the output of the last deformable layer.
        depth: how many deformable layers branch, counted from the last; those before are passed through their
            middle, without offsets. None: all of them.
    """
    check_channels_last(model, "`trace_points`")
    offsets = offsets_of(model, images)
    deformed = deformable_layers(model)
    branching = deformed if depth is None else deformed[len(deformed) - depth :]
    points = np.tile(np.array(pixel, "float64"), (len(images), 1, 1))
    for layer, size in reversed(_chain(model, images.shape, deformed[-1])):
        strides, before, taps = _rest(layer, size)
        if layer not in branching:
            points = points * strides - before + taps.mean(axis=0)
            continue
        own = offsets[layer.name]  # (b, h', w', groups, kh, kw, 2)
        moved = bilinear_sample(own.reshape(*own.shape[:3], -1), points, padding="edge")
        moved = keras.ops.convert_to_numpy(moved).reshape(*points.shape[:2], -1, len(taps), 2)
        looked = (points * strides - before)[:, :, None, None] + taps + moved  # (b, n, groups, taps, 2)
        points = looked.reshape(len(images), -1, 2)
    return points


def _chain(model, shape, last):
    """The layers up to `last`, each with the height and width of its input."""
    chain = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            chain.append((layer, shape[1:3]))
            shape = layer.compute_output_shape(shape)
        if layer is last:
            return chain
    raise ValueError(f"`model` must be a chain of layers; {last.name!r} is inside another layer or model of it.")


def _rest(layer, size):
    """A layer's strides, its zeros before the input, and its taps `(n, 2)`; one tap and no stride if it has none."""
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", (1, 1))
    strides = pair("strides", getattr(layer, "strides", 1))
    dilation = pair("dilation_rate", getattr(layer, "dilation_rate", 1))
    padding = check_padding(getattr(layer, "padding", "valid"))
    before = [output_size(*axis)[1] for axis in zip(size, kernel, strides, dilation, padding, strict=True)]
    taps = np.indices(kernel).reshape(2, -1).T * dilation
    return np.array(strides), np.array(before), taps


def spread(points) -> float:
    """How far points lie from their mean: the standard deviation along an axis, mean of both axes, in pixels."""
    return float(points.std(axis=0).mean())


def glow(points, colour, window, width=0.55, finer=8) -> np.ndarray:
    """Points as light: an RGBA image of a square `window` `(lowest, highest)`, stronger where many meet."""
    places = _places(window, finer)
    down, right = (np.exp(-((points[:, axis, None] - places) ** 2) / (2 * width**2)) for axis in (0, 1))
    # Few points shine as bright as many: what nine give, together, is three times a third of full light.
    strength = 1 - np.exp(-down.T @ right * (9 / len(points)) ** 0.5)
    white = 0.35 * strength[..., None] ** 3
    return np.concatenate([to_rgb(colour) * (1 - white) + white, 0.75 * strength[..., None]], axis=-1)


def smooth(image, window, finer=8) -> np.ndarray:
    """An image `(h, w)` drawn finer by cubic splines, over a square `window` `(lowest, highest)`; zero outside it."""
    places = _places(window, finer)
    grid = np.meshgrid(places, places, indexing="ij")
    return np.clip(map_coordinates(np.asarray(image, "float32"), grid, order=3, mode="constant"), 0, 1)


def _places(window, finer):
    return np.arange(window[0], window[1], 1 / finer) + 0.5 / finer


def draw_points(ax, image, points, colour, window=(-2.5, 29.5)):
    """Sampling points over a dimmed image, on a dark ground; where many points meet the light is stronger."""
    low, high = window
    strokes = smooth(image[..., 0], window)
    extent = (low, high, high, low)
    ax.imshow(strokes, cmap=INK, vmin=0, vmax=1, extent=extent, interpolation="bilinear")
    ax.imshow(glow(points, colour, window), extent=extent, interpolation="bilinear")
    size = float(np.clip(700 / len(points), 3, 40))
    ax.scatter(points[:, 1], points[:, 0], s=size, color="white", alpha=0.55, linewidths=0)
    if strokes.max() > strokes.min():  # the rim of the strokes lies above the light, or a small digit would drown in it
        places = _places(window, 8)
        rim = [0.25 * strokes.max()]
        ax.contour(places, places, strokes, levels=rim, colors=[WORDS], linewidths=1.3, alpha=0.9)
    ax.set(xlim=(low, high), ylim=(high, low), xticks=[], yticks=[], facecolor=GROUND)
    ax.spines[:].set_visible(False)


def dark_card(rows, columns, size):
    """A figure and its axes `(rows, columns)` on the dark ground, its words light."""
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, facecolor=GROUND, dpi=90)
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09)
    for ax in axes.flat:
        ax.title.set(color=WORDS)
        ax.yaxis.label.set(color=WORDS)
    return figure, axes


def sampling_points(rigid, learned, image, zooms=(1.0, 1.75, 2.5)):
    """The 729 points that one output pixel sees, before and after learning, as the digit shrinks. Both deformable."""
    shrunk = np.concatenate([zoomed_copy(image[None], zoom) for zoom in zooms])
    with style():
        figure, axes = dark_card(2, len(zooms), (2.8 * len(zooms), 6.1))
        for row, (model, colour, name) in enumerate(_looking(rigid, learned)):
            for ax, zoom, seen, points in zip(axes[row], zooms, shrunk, trace_points(model, shrunk), strict=True):
                draw_points(ax, seen, points, colour)
                ax.set_title(f"zoom {zoom:g}, spread {spread(points):.1f} px", fontsize=14)
            axes[row, 0].set_ylabel(name, color=colour, fontsize=16)
    return figure


def digits_and_points(rigid, learned, images, zooms=(1.0, 1.75, 2.5)):
    """Several digits, a column each: the points with zero offsets, and with learned ones at each zoom."""
    with style():
        figure, axes = dark_card(1 + len(zooms), len(images), (2.1 * len(images), 2.2 * (1 + len(zooms))))
        rows = [(rigid, SKY, 1.0, "zero offsets"), *((learned, ORANGE, zoom, f"zoom {zoom:g}") for zoom in zooms)]
        for panels, (model, colour, zoom, name) in zip(axes, rows, strict=True):
            shrunk = zoomed_copy(images, zoom)
            for ax, seen, points in zip(panels, shrunk, trace_points(model, shrunk), strict=True):
                draw_points(ax, seen, points, colour)
                words = ax.text(
                    0.5, 0.02, f"{spread(points):.1f} px", transform=ax.transAxes, color=WORDS, fontsize=16, ha="center"
                )
                words.set_path_effects([withStroke(linewidth=3, foreground=GROUND)])
            panels[0].set_ylabel(name, color=colour, fontsize=18)
    return figure


def save_animation(path, rigid, learned, image, zooms=None):
    """Writes the GIF of `sampling_points` while the digit shrinks and grows again."""
    if zooms is None:
        zooms = 2.5 ** (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(32) / 32))  # slow at both ends
    shrunk = np.concatenate([zoomed_copy(image[None], zoom) for zoom in zooms])
    seen = [(trace_points(model, shrunk), colour, name) for model, colour, name in _looking(rigid, learned)]
    frames = []
    with style():
        figure, axes = dark_card(1, 2, (5.6, 3.5))
        for number, zoom in enumerate(zooms):
            for ax, (points, colour, name) in zip(axes[0], seen, strict=True):
                ax.clear()
                draw_points(ax, shrunk[number], points[number], colour, window=(-1.5, 28.5))
                ax.set_title(name, color=colour, fontsize=14)
                ax.set_xlabel(f"spread {spread(points[number]):.1f} px", color=WORDS, fontsize=12)
            figure.supxlabel(f"zoom {zoom:.2f}", color=WORDS, fontsize=12)
            figure.set_dpi(100)
            figure.canvas.draw()
            frames.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))
        plt.close(figure)
    _save_gif(path, frames)


def _save_gif(path, frames):
    """One set of colours for all frames and no dithering: half the bytes, and nothing flickers."""
    some = np.concatenate([np.asarray(frame) for frame in frames[:: max(len(frames) // 4, 1)]])
    colours = Image.fromarray(some).quantize(96)
    frames = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)


def _looking(rigid, learned):
    return (rigid, SKY, "zero offsets"), (learned, ORANGE, "learned offsets")
