"""The checks that the chapters' exercises call: `check_...(your_function)`."""

from deformconv.course.exercises.breaking import (
    check_accuracy,
    check_confusion,
    check_receptive_field,
    check_zoom_about,
)
from deformconv.course.exercises.fast import (
    check_attainable,
    check_blocks,
    check_multiply_adds,
    check_ratio,
    check_traffic,
)
from deformconv.course.exercises.flow import (
    check_layout_test,
    check_read_row,
    check_shrink_flow,
    check_unscramble,
    check_warp_channels,
)
from deformconv.course.exercises.learning import (
    check_bounded,
    check_kernel_gradient,
    check_loss_slope,
    check_rates,
    check_share_outside,
)
from deformconv.course.exercises.pooling import (
    check_align,
    check_box_overlap,
    check_moved_points,
    check_offsets_in_pixels,
    check_own_channels,
)
from deformconv.course.exercises.sampling import check_edge_row, check_sample_points, check_scatter, check_slopes
from deformconv.course.exercises.seeing import (
    check_best_zoom,
    check_effective_dilation,
    check_next_points,
    check_reach,
    check_resting_taps,
)
from deformconv.course.exercises.study import check_mean_and_spread, check_moved, check_offset_parameters
from deformconv.course.exercises.taps import (
    check_from_xy_columns,
    check_offset_groups,
    check_output_pixel,
    check_zoom_offsets,
)
from deformconv.course.exercises.warps import (
    check_one_warp,
    check_place,
    check_resize,
    check_swirl,
    check_turn_about,
)
from deformconv.course.exercises.weighing import (
    check_count_weights,
    check_mask_and_slope,
    check_modulated_pixel,
    check_read_foreign,
    check_softmax_over_taps,
)

__all__ = [
    "check_attainable",
    "check_blocks",
    "check_multiply_adds",
    "check_ratio",
    "check_traffic",
    "check_layout_test",
    "check_read_row",
    "check_shrink_flow",
    "check_unscramble",
    "check_warp_channels",
    "check_accuracy",
    "check_confusion",
    "check_receptive_field",
    "check_zoom_about",
    "check_bounded",
    "check_kernel_gradient",
    "check_loss_slope",
    "check_rates",
    "check_share_outside",
    "check_align",
    "check_box_overlap",
    "check_moved_points",
    "check_offsets_in_pixels",
    "check_own_channels",
    "check_edge_row",
    "check_sample_points",
    "check_mean_and_spread",
    "check_moved",
    "check_offset_parameters",
    "check_scatter",
    "check_slopes",
    "check_best_zoom",
    "check_effective_dilation",
    "check_next_points",
    "check_reach",
    "check_resting_taps",
    "check_from_xy_columns",
    "check_offset_groups",
    "check_output_pixel",
    "check_zoom_offsets",
    "check_one_warp",
    "check_place",
    "check_resize",
    "check_swirl",
    "check_turn_about",
    "check_count_weights",
    "check_mask_and_slope",
    "check_modulated_pixel",
    "check_read_foreign",
    "check_softmax_over_taps",
]
