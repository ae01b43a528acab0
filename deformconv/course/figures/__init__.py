"""The book's drawings: functions that draw on a new matplotlib figure and return it."""

from deformconv.course.figures.study import accuracy_against_zoom, sampling_points, save_animation, trace_points
from deformconv.course.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, show_image, style
from deformconv.course.figures.taps import (
    border,
    channel_order,
    columns_picture,
    response_maps,
    tap_arrows,
    tap_explorer,
    tap_paths,
    taps_on_image,
)

__all__ = [
    "border",
    "channel_order",
    "columns_picture",
    "response_maps",
    "tap_arrows",
    "tap_explorer",
    "tap_paths",
    "taps_on_image",
    "accuracy_against_zoom",
    "sampling_points",
    "save_animation",
    "trace_points",
    "BLACK",
    "BLUE",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "show_image",
    "style",
]
