"""`deform_roi_pool2d`: the mean of a map over the bins of boxes, each bin where its offset sends it."""

from typing import Any

import keras
from keras import ops

from deformconv.arguments import check_boxes, check_count, check_per_bin, pair
from deformconv.engines import sizes
from deformconv.sampling import as_coordinates, as_float, bilinear_sample, float_type
from deformconv.symbolic import is_symbolic, with_shape
from deformconv.types import Pair, Tensor


def deform_roi_pool2d(
    inputs: Tensor,
    boxes: Tensor,
    offsets: Tensor | None = None,
    *,
    output_size: Pair,
    mask: Tensor | None = None,
    sampling_ratio: int = 2,
    offset_scale: float = 0.1,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Deformable RoI pooling: each box is cut into bins, and each bin moves before the map is averaged over it.

    For the bin `(i, j)` of a box, the mean over its `n = sampling_ratio ** 2` points `p`, evenly spread,

        y(i, j) = mask_ij * sum_p x(p + offset_scale * offset_ij * box_size) / n

    (Dai et al. 2017, equations 5 and 6; the mask is that of Zhu et al. 2019.) `x` is read by bilinear interpolation,
    zero outside the map. Without offsets it is RoIAlign, away from the border.

    Args:
        inputs: float tensor `(batch, height, width, channels)`: the feature maps.
        boxes: `(batch, boxes, 4)`, the edges `(y1, x1, y2, x2)` of as many boxes in each image; `(0, 0, h, w)` is the
            whole of it. They are no pixel centres: those of the first pixel lie at 0.5 here. All coordinates have the
            boxes' type, float32 at least.
        offsets: None, or `(batch, boxes, out_height, out_width, 2)`: how far each bin moves, `(y, x)`, as fractions
            of the box's height and width once multiplied by `offset_scale`.
        output_size: int or pair: bins of a box, down and across.
        mask: None, or `(batch, boxes, out_height, out_width)`: a factor for each bin.
        sampling_ratio: points in each bin, along either axis.
        offset_scale: the papers' gamma.
        spatial_scale: size of the map over that of the image in whose pixels `boxes` are, such as 1 / 16.

    Returns:
        Tensor `(batch, boxes, out_height, out_width, channels)` of the inputs' type.

    Raises:
        ValueError: if the shapes do not fit together; the message names the likely slip.

    Example:
        >>> x = np.arange(20.0).reshape(1, 5, 4, 1)
        >>> means = deform_roi_pool2d(x, [[[0, 0, 4, 4]]], output_size=(2, 1))
        >>> np.round(ops.convert_to_numpy(means)[0, 0, :, 0, 0], 6).tolist()
        [3.5, 11.5]
    """
    if is_symbolic(inputs, boxes, offsets, mask):
        operation = DeformRoIPool2D(output_size, sampling_ratio, offset_scale, spatial_scale)
        return operation(inputs, boxes, offsets, mask=mask)
    inputs = as_float(ops.convert_to_tensor(inputs))
    boxes = as_coordinates(ops.convert_to_tensor(boxes))
    offsets = None if offsets is None else ops.cast(as_coordinates(ops.convert_to_tensor(offsets)), boxes.dtype)
    mask = None if mask is None else ops.cast(ops.convert_to_tensor(mask), inputs.dtype)
    bins = _checked_bins(inputs, boxes, offsets, mask, output_size, sampling_ratio)
    boxes = sizes.expect("boxes", boxes, ops.shape(inputs)[:1], "the batch size of `inputs`")
    of_boxes = (*ops.shape(boxes)[:2], *bins)
    start, end = boxes[..., :2] * spatial_scale, boxes[..., 2:] * spatial_scale
    box_size = end - start

    # Points of all bins along one axis, as fractions of the box: bin by bin, in the middles of their cells.
    axes = ((ops.arange(count * sampling_ratio, dtype=boxes.dtype) + 0.5) / (count * sampling_ratio) for count in bins)
    fractions = ops.stack(ops.meshgrid(*axes, indexing="ij"), axis=-1)
    # (oh * s, ow * s, 2) -> (oh, s, ow, s, 2) -> (oh, ow, s * s, 2)
    fractions = ops.reshape(fractions, (bins[0], sampling_ratio, bins[1], sampling_ratio, 2))
    fractions = ops.reshape(ops.transpose(fractions, (0, 2, 1, 3, 4)), (*bins, sampling_ratio**2, 2))
    if offsets is not None:
        offsets = sizes.expect("offsets", offsets, (*of_boxes, 2), "batch, boxes and a pair for each bin")
        fractions = fractions + offset_scale * offsets[..., None, :]
    # An edge at 0 is half a pixel before the centre of pixel 0.
    coords = (start - 0.5)[..., None, None, None, :] + box_size[..., None, None, None, :] * fractions
    values = ops.sum(bilinear_sample(inputs, coords), axis=-2) / sampling_ratio**2
    if mask is None:
        return values
    mask = sizes.expect("mask", mask, of_boxes, "batch, boxes and a value for each bin")
    return values * mask[..., None]


def _checked_bins(
    inputs: Tensor,
    boxes: Tensor,
    offsets: Tensor | None,
    mask: Tensor | None,
    output_size: Pair,
    sampling_ratio: int,
) -> tuple[int, int]:
    """Bins of a box, down and across. Of the tensors only shapes are looked at."""
    bins = pair("output_size", output_size)
    check_count("sampling_ratio", sampling_ratio, ' 0 means "by the size of the box" elsewhere; not here.')
    check_boxes(inputs, boxes)
    if offsets is not None:
        check_per_bin("offsets", offsets, boxes, (*bins, 2))
    if mask is not None:
        check_per_bin("mask", mask, boxes, bins)
    return bins


@keras.saving.register_keras_serializable(package="deformconv")
class DeformRoIPool2D(keras.Operation):
    """`deform_roi_pool2d` as a step of a functional model."""

    def __init__(
        self,
        output_size: Pair,
        sampling_ratio: int,
        offset_scale: float,
        spatial_scale: float,
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.options: dict[str, Any] = {
            "output_size": output_size,
            "sampling_ratio": sampling_ratio,
            "offset_scale": offset_scale,
            "spatial_scale": spatial_scale,
        }

    def call(self, inputs: Tensor, boxes: Tensor, offsets: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return deform_roi_pool2d(inputs, boxes, offsets, mask=mask, **self.options)

    def compute_output_spec(
        self, inputs: Tensor, boxes: Tensor, offsets: Tensor | None = None, mask: Tensor | None = None
    ) -> keras.KerasTensor:
        inputs, boxes, offsets, mask = map(with_shape, (inputs, boxes, offsets, mask))
        sizes_of_boxes = self.options["output_size"], self.options["sampling_ratio"]
        bins = _checked_bins(inputs, boxes, offsets, mask, *sizes_of_boxes)
        return keras.KerasTensor((*boxes.shape[:2], *bins, inputs.shape[-1]), float_type(inputs))
