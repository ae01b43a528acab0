"""The drawings of the project "Segment shapes": label maps, taps on shapes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, show_image, style

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]
_CLASSES = ListedColormap([BLACK, BLUE, ORANGE, GREEN, PURPLE])


def label_maps(rows, kinds):
    """Pictures and label maps in rows: `rows` `{name: (n, h, w)}`; floats are pictures, integers classes.

    `kinds` are the names of the classes from 1 on; 0 is the background.
    """
    number, height, width = np.shape(next(iter(rows.values())))
    tall = 0.5 + 8.2 / number * height / width * len(rows)
    with style():
        fig, axes = plt.subplots(len(rows), number, figsize=(8.4, tall), squeeze=False)
        for row, (name, images) in zip(axes, rows.items(), strict=True):
            for ax, image in zip(row, images, strict=True):
                whole = np.issubdtype(np.asarray(image).dtype, np.integer)
                looks = {"cmap": _CLASSES, "vmin": 0, "vmax": 4} if whole else {"vmin": 0, "vmax": 1}
                ax.imshow(image, **looks)
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            row[0].set_ylabel(name, fontsize=12)
        patches = [Patch(color=_CLASSES(number + 1), label=kind) for number, kind in enumerate(kinds)]
        fig.legend(handles=patches, loc="outside lower center", ncols=len(kinds))
        return fig


def taps_on_shapes(panels):
    """Nine taps of the pixel in the middle of each shape: `panels` of `(picture, rest, places, title)`."""
    with style():
        fig, axes = plt.subplots(1, len(panels), figsize=(8.4, 2.3), squeeze=False)
        for ax, (picture, rest, places, title) in zip(axes[0], panels, strict=True):
            show_image(ax, 0.7 * picture, title)
            height, width = picture.shape
            ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), facecolor=BLACK)
            for start, end in zip(rest, places, strict=True):
                ax.plot([start[1], end[1]], [start[0], end[0]], color=ORANGE, lw=1.2, path_effects=_RIM)
            ax.plot(rest[:, 1], rest[:, 0], "o", ms=4, mfc=BLACK, mec="white", mew=0.8)
            ax.plot(places[:, 1], places[:, 0], "o", ms=6.5, color=ORANGE, mec=BLACK)
        looks = {
            "at rest": {
                "color": BLACK,
                "marker": "o",
                "ms": 4,
                "mec": "white",
                "mew": 0.8,
                "lw": 0,
                "path_effects": _RIM,
            },
            "where the tap looks": {"color": ORANGE, "marker": "o", "ms": 6.5, "mec": BLACK, "lw": 1.2},
        }
        handles = [plt.Line2D([], [], **look) for look in looks.values()]
        fig.legend(handles, looks.keys(), loc="outside lower center", ncols=2)
        return fig
