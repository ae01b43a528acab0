"""One style for every figure: colours that survive colour blindness, a white card that reads in dark mode."""

from contextlib import contextmanager

import matplotlib.pyplot as plt

# Okabe and Ito's palette, in the order in which lines take it.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000",
)  # fmt: skip
GRAY = "#777777"

SETTINGS = {
    "axes.prop_cycle": plt.cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "font.size": 10,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 2,
    "svg.hashsalt": "deformconv",
}


@contextmanager
def style():
    """Draws what is inside in the style of the book: `with style(): fig, ax = plt.subplots()`."""
    with plt.rc_context(SETTINGS):
        yield


def show_image(ax, image, title=None):
    """Draws a (height, width) or (height, width, 1) image, y downwards, pixel centres at integers, no ticks."""
    image = image[..., 0] if image.ndim == 3 else image
    ax.imshow(image, cmap="gray", vmin=0, vmax=max(1.0, float(image.max())))
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
