"""The book's drawings: functions that draw on a new matplotlib figure and return it."""

from deformconv.course.figures.explore import explore
from deformconv.course.figures.sampling import (
    answer_and_target,
    border_profile,
    climbs,
    four_pixels,
    row_profile,
    shift_search,
    slope_profile,
    two_gradients,
)
from deformconv.course.figures.speed import growth, speed
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
    "answer_and_target",
    "border_profile",
    "climbs",
    "explore",
    "four_pixels",
    "row_profile",
    "shift_search",
    "slope_profile",
    "two_gradients",
    "border",
    "channel_order",
    "columns_picture",
    "response_maps",
    "tap_arrows",
    "tap_explorer",
    "tap_paths",
    "taps_on_image",
    "growth",
    "speed",
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
