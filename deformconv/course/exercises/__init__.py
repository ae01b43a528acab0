"""The checks that the chapters' exercises call: `check_...(your_function)`."""

from deformconv.course.exercises.sampling import check_edge_row, check_sample_points, check_scatter, check_slopes
from deformconv.course.exercises.study import check_mean_and_spread, check_moved, check_offset_parameters
from deformconv.course.exercises.taps import (
    check_from_xy_columns,
    check_offset_groups,
    check_output_pixel,
    check_zoom_offsets,
)

__all__ = [
    "check_edge_row",
    "check_sample_points",
    "check_mean_and_spread",
    "check_moved",
    "check_offset_parameters",
    "check_scatter",
    "check_slopes",
    "check_from_xy_columns",
    "check_offset_groups",
    "check_output_pixel",
    "check_zoom_offsets",
]
