"""Sliders for a drawing function where somebody can move them, and the plain figure everywhere else."""

import os

import matplotlib.pyplot as plt

# A stored widget is empty without a kernel and makes the page fetch scripts from elsewhere. A kernel cannot see
# whether a person or a program runs its notebook, so the programs say so: `tools/execute.py` and the notebook
# tests set this environment variable, and then only the figure is kept.
STATIC = "DEFORMCONV_STATIC"


def explore(function, **sliders):
    """Shows the figure of `function(**values)`; in a live notebook with a slider for each value.

    Args:
        function: draws one figure from numbers given by name.
        **sliders: `name=(lowest, highest, first)`; three whole numbers make a slider of whole numbers.

    Example:
        >>> explore(lambda y: four_pixels(image, y, 12.4), y=(1, 26, 9.3))  # doctest: +SKIP
    """

    def show(**values):
        function(**values)
        plt.show()

    if not is_live():
        show(**{name: first for name, (_, _, first) in sliders.items()})
        return
    import ipywidgets

    def slider(name, lowest, highest, first):
        # Drawing on every pixel of a drag lags behind the hand; drawing when it rests does not.
        shared = {"min": lowest, "max": highest, "value": first, "description": name, "continuous_update": False}
        if all(isinstance(number, int) for number in (lowest, highest, first)):
            return ipywidgets.IntSlider(**shared)
        return ipywidgets.FloatSlider(step=0.05, **shared)

    ipywidgets.interact(show, **{name: slider(name, *limits) for name, limits in sliders.items()})


def is_live() -> bool:
    """Whether a frontend may be there to answer sliders: a Jupyter kernel, and nobody set `DEFORMCONV_STATIC`."""
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel") and not os.environ.get(STATIC)
