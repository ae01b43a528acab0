"""Conversions between conventions: every channel goes where its label says, and back; the operators then agree."""

import dcn_oracle
import numpy as np
import pytest
from keras import ops

from deformconv import conventions, deform_conv2d

BATCH, HEIGHT, WIDTH, CHANNELS, GROUPS = 3, 6, 9, 6, 2
KERNELS = [(3, 2), (3, 3), (2, 4)]


def labels(*sizes, order):
    """One number for each index, whose digits are the index; the axes in `order`, flattened."""
    digits = sum(
        np.arange(n).reshape([-1 if a == b else 1 for b in range(len(sizes))]) * 10**a for a, n in enumerate(sizes)
    )
    return digits.transpose(order).reshape(1, -1).astype("float32")


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_each_offset_and_mask_channel_goes_where_its_label_says(kernel_size):
    sizes = (GROUPS, *kernel_size, 2)  # group, row, column, y before x
    theirs = labels(*sizes, order=(0, 2, 1, 3)).reshape(1, -1, 2)[..., ::-1].reshape(1, -1)
    converted = conventions.offsets_from_dcnv3(theirs, kernel_size, GROUPS)
    np.testing.assert_array_equal(converted, labels(*sizes, order=(0, 1, 2, 3)))
    theirs = labels(*sizes[:3], order=(0, 2, 1))
    converted = conventions.mask_from_dcnv3(theirs, kernel_size, GROUPS)
    np.testing.assert_array_equal(converted, labels(*sizes[:3], order=(0, 1, 2)))


def test_a_3_by_2_kernel_written_out():
    theirs = np.arange(12.0)  # x and y of the three taps in the left column, then in the right one
    expected = [1, 0, 7, 6, 3, 2, 9, 8, 5, 4, 11, 10]
    np.testing.assert_array_equal(conventions.offsets_from_dcnv3(theirs, (3, 2), 1), expected)
    np.testing.assert_array_equal(conventions.mask_from_dcnv3(np.arange(6.0), (3, 2), 1), [0, 3, 1, 4, 2, 5])


def test_dcnv4_keeps_a_group_s_mask_behind_its_offsets_and_fills_up_to_a_multiple_of_8():
    assert conventions.dcnv4_channels((3, 2), 2) == 40  # 36, and 4 that only fill
    assert conventions.dcnv4_channels(3, 4) == 112  # 108
    assert conventions.dcnv4_channels(3, 4, remove_center=True) == 96  # full
    numbers = np.arange(40.0)
    offsets, mask = conventions.from_dcnv4(numbers, (3, 2), 2)
    per_group = np.array([1, 0, 7, 6, 3, 2, 9, 8, 5, 4, 11, 10])
    np.testing.assert_array_equal(offsets, np.concatenate([per_group, per_group + 18]))
    taps = np.array([0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(mask, np.concatenate([taps + 12, taps + 30]))
    again = conventions.to_dcnv4(offsets, mask, (3, 2), 2)
    np.testing.assert_array_equal(again, np.where(numbers < 36, numbers, 0))


@pytest.mark.parametrize("options", [{}, {"offset_scale": 2.5, "dilation_rate": (1, 2)}], ids=str)
@pytest.mark.parametrize("kernel_size, remove_center", [((3, 2), False), ((3, 5), True)])
@pytest.mark.parametrize("lead", [(), (BATCH, 2, 4), (0, 2, 4)], ids=str)
def test_there_and_back_is_the_identity(rng, options, kernel_size, remove_center, lead):
    taps = kernel_size[0] * kernel_size[1] - remove_center
    offsets, mask = rng.normal(size=(*lead, GROUPS * taps * 2)), rng.normal(size=(*lead, GROUPS * taps))
    shape = kernel_size, GROUPS
    ours = conventions.offsets_from_dcnv3(offsets, *shape, remove_center=remove_center, **options)
    assert ours.shape == (*lead, GROUPS * kernel_size[0] * kernel_size[1] * 2)
    again = conventions.offsets_to_dcnv3(ours, *shape, remove_center=remove_center, **options)
    np.testing.assert_allclose(again, offsets, atol=1e-5)
    our_mask = conventions.mask_from_dcnv3(mask, *shape, remove_center=remove_center)
    np.testing.assert_array_equal(conventions.mask_to_dcnv3(our_mask, *shape, remove_center=remove_center), mask)
    packed = conventions.to_dcnv4(ours, our_mask, *shape, remove_center=remove_center, **options)
    for back, want in zip(
        conventions.from_dcnv4(packed, *shape, remove_center=remove_center, **options), (ours, our_mask), strict=True
    ):
        np.testing.assert_allclose(back, want, atol=1e-5)


GEOMETRIES = [
    ((3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), False),
    ((3, 2), (2, 1), ((2, 0), (1, 3)), (1, 2), False),
    ((3, 3), (2, 1), ((1, 1), (2, 2)), (1, 2), True),
    ((2, 4), (1, 2), ((0, 0), (0, 0)), (2, 1), False),
]


@pytest.mark.parametrize("offset_scale", [1.0, 1.5])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_deform_conv2d_of_converted_numbers_is_their_operator(rng, geometry, offset_scale):
    kernel_size, strides, pads, dilation, remove_center = geometry
    inputs = rng.normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS))
    out_size = [
        (size + sum(pad) - rate * (taps - 1) - 1) // stride + 1
        for size, pad, taps, rate, stride in zip((HEIGHT, WIDTH), pads, kernel_size, dilation, strides, strict=True)
    ]
    taps = kernel_size[0] * kernel_size[1] - remove_center
    offsets = rng.normal(size=(BATCH, *out_size, GROUPS * taps * 2))
    mask = rng.normal(size=(BATCH, *out_size, GROUPS * taps))
    geometry = kernel_size, strides, pads, dilation, GROUPS
    options = {"offset_scale": offset_scale, "remove_center": remove_center}
    expected = dcn_oracle.dcnv3_core(inputs, offsets, mask, *geometry, **options)

    packed = [part.reshape(BATCH, *out_size, GROUPS, -1) for part in (offsets, mask)]
    packed = np.concatenate(packed, axis=-1).reshape(BATCH, *out_size, -1)
    fill = np.full((BATCH, *out_size, -packed.shape[-1] % 8), np.nan)  # nobody reads these
    packed = np.concatenate([packed, fill], axis=-1)
    np.testing.assert_array_equal(dcn_oracle.dcnv4_core(inputs, packed, *geometry, **options), expected)

    stretch = {"dilation_rate": dilation, "offset_scale": offset_scale}
    from_v3 = (
        conventions.offsets_from_dcnv3(offsets, kernel_size, GROUPS, remove_center=remove_center, **stretch),
        conventions.mask_from_dcnv3(mask, kernel_size, GROUPS, remove_center=remove_center),
    )
    from_v4 = conventions.from_dcnv4(packed, kernel_size, GROUPS, remove_center=remove_center, **stretch)
    kernel = np.ones((*kernel_size, 1, CHANNELS))
    for ours, our_mask in (from_v3, from_v4):
        outputs = deform_conv2d(
            inputs, ours, kernel, mask=our_mask, strides=strides, padding=pads, dilation_rate=dilation, groups=CHANNELS
        )
        np.testing.assert_allclose(outputs, expected, atol=1e-12)


@pytest.mark.parametrize("dtype, kept", [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_coordinates_are_never_below_float32_and_the_mask_keeps_its_type(dtype, kept):
    offset_mask = ops.zeros((2, 40), dtype=dtype)
    offsets, mask = conventions.from_dcnv4(offset_mask, (3, 2), 2, offset_scale=2)
    assert kept in str(offsets.dtype)
    assert dtype in str(mask.dtype)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: conventions.offsets_from_dcnv3(np.zeros((1, 36, 4, 5)), 3, 2),
            r"`offsets` must have 36 channels.*groups=2 and 9 taps; received shape \(1, 36, 4, 5\).*channels first",
        ),
        (
            lambda: conventions.mask_from_dcnv3(np.zeros((4, 16)), 3, 2),
            r"`mask` must have 18 .*made with `remove_center`",
        ),
        (
            lambda: conventions.mask_from_dcnv3(np.zeros((4, 18)), 3, 2, remove_center=True),
            r"`mask` must have 16 .*made without `remove_center`",
        ),
        (lambda: conventions.from_dcnv4(np.zeros((4, 36)), (3, 2), 2), r"`offset_mask` must have 40 .*multiple of 8"),
        (lambda: conventions.from_dcnv4(np.zeros((4, 36)), (3, 2), 0), r"`groups` must be a positive int; received 0"),
        (
            lambda: conventions.mask_from_dcnv3(np.zeros((4, 10)), (3, 2), 2, remove_center=True),
            r"`remove_center` must be False.*kernel_size=\(3, 2\).*odd",
        ),
        (lambda: conventions.dcnv4_channels((3, 2, 1), 2), r"`kernel_size` must be a positive int or a pair"),
    ],
    ids=["channels first", "one less", "one more", "unfilled", "groups", "even", "kernel_size"],
)
def test_numbers_that_do_not_fit_are_refused_with_the_likely_reason(call, words):
    with pytest.raises(ValueError, match=words):
        call()
