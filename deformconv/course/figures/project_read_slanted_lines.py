"""The drawings of the project "Read slanted lines": bins on lines, slopes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects

from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, ORANGE, SKY, show_image, style
from deformconv.course.figures.pool_deformable_regions import bin_corners

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]


def bins_on_lines(panels, bins=(4, 9)):
    """Boxes on pictures, `panels` of `(picture, box, offsets)`; with offsets, bins at rest above and moved below.

    Offsets `(*bins, 2)` are fractions of the box. Where they are None, whole pictures and boxes alone are drawn.
    """
    whole = panels[0][2] is None
    rows, (height, width) = (1, panels[0][0].shape) if whole else (2, (40, 64))
    tall = 0.1 + 8.2 / len(panels) * height / width * rows
    with style():
        fig, axes = plt.subplots(rows, len(panels), figsize=(8.4, tall), squeeze=False)
        for number, row in enumerate(axes):
            for ax, (picture, box, offsets) in zip(row, panels, strict=True):
                show_image(ax, np.asarray(picture))
                y1, x1, y2, x2 = np.asarray(box, "float64") - 0.5
                frame = {"color": ORANGE, "ls": "--", "path_effects": _RIM}
                ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], **frame)
                if offsets is not None:
                    corners = bin_corners(box, bins, offsets if number else None)
                    places = (corners[..., :2] + corners[..., 2:]) / 2 - 0.5
                    ax.plot(
                        places[..., 1].T, places[..., 0].T, color=SKY, lw=1.2, marker="o", ms=4.5, mec=BLACK, mew=0.7
                    )
                height, width = picture.shape
                ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
                if offsets is not None:  # from nearer; what lies outside the picture is grey
                    ax.set(xlim=((x1 + x2) / 2 - 32, (x1 + x2) / 2 + 32), ylim=((y1 + y2) / 2 + 20, (y1 + y2) / 2 - 20))
                    ax.set_facecolor("#444444")
            if rows == 2:
                row[0].set_ylabel(("at rest", "moved")[number], fontsize=12)
        return fig


def slopes_found(true, found):
    """The slope of lines `(n,)` against that of their bins, `found` `{name: (n,)}`, a panel each."""
    reach = 1.05 * max(np.abs(true).max(), *(np.percentile(np.abs(own), 99) for own in found.values()))
    with style():
        fig, axes = plt.subplots(1, len(found), figsize=(7.6, 3.8), sharex=True, sharey=True, squeeze=False)
        for ax, (name, own) in zip(axes[0], found.items(), strict=True):
            ax.axline((0, 0), slope=1, color=GRAY, lw=1, ls="--")
            ax.plot(true, own, ".", color=BLUE, ms=4, alpha=0.6)
            ax.set(title=f"{name}: correlation {np.corrcoef(true, own)[0, 1]:.2f}", xlabel="slope of the line")
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes[0, 0].set_ylabel("slope of its bins")
        return fig
