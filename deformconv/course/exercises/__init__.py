"""The checks that the chapters' exercises call: `check_...(your_function)`."""

from deformconv.course.exercises.taps import (
    check_from_xy_columns,
    check_offset_groups,
    check_output_pixel,
    check_zoom_offsets,
)

__all__ = [
    "check_from_xy_columns",
    "check_offset_groups",
    "check_output_pixel",
    "check_zoom_offsets",
]
