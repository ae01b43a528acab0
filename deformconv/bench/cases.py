"""What is measured: one convolution layer, its sizes, and the numbers it is given."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """A convolution with `same` padding and stride 1, 3 x 3 taps, `channels` to `filters`."""

    name: str
    batch: int
    height: int
    width: int
    channels: int
    filters: int
    masked: bool = False
    kernel: int = 3

    @property
    def taps(self) -> int:
        return self.kernel**2

    @property
    def corner_bytes(self) -> int:
        """The rows that the four corners of all sampling points read, in float32."""
        return 4 * self.batch * self.height * self.width * self.taps * self.channels * 4

    def as_dict(self) -> dict:
        return asdict(self)


def _case(name, batch, size, channels, filters, masked=False):
    return Case(name, batch, size, size, channels, filters, masked)


REFERENCE = _case("reference", 8, 56, 64, 64)
# The four cases of the table that has targets.
MAIN = [
    REFERENCE,
    _case("reference, masked", 8, 56, 64, 64, masked=True),
    _case("14 x 14, batch 128", 128, 14, 64, 128),
    _case("28 x 28, batch 32", 32, 28, 128, 128),
]
DIGITS = [  # the digit classifier's deformed layers at batch 128, by their output: a stride of 2 reads as many points
    _case("digits conv12", 128, 14, 32, 64),
    _case("digits conv21", 128, 14, 64, 128),
    _case("digits conv22", 128, 7, 128, 128),
]
LARGE = [_case("512 x 512, one image", 1, 512, 64, 64)]
BATCHES = [_case(f"56 x 56, batch {batch}", batch, 56, 64, 64) for batch in (64, 256, 1)]  # the weightiest first
GROWTH = [
    *(_case(f"batch {batch}", batch, 28, 64, 64) for batch in (1, 4, 16, 64)),
    *(_case(f"size {size}", 4, size, 64, 64) for size in (14, 28, 56, 112)),
    *(_case(f"channels {channels}", 4, 28, channels, channels) for channels in (16, 64, 256)),
]
SMOKE = [Case("smoke", 2, 6, 5, 4, 3), Case("smoke, masked", 2, 6, 5, 4, 3, masked=True)]
SETS = {
    "main": MAIN,
    "digits": DIGITS,
    "large": LARGE,
    "batches": BATCHES,
    "growth": GROWTH,
    "smoke": SMOKE,
}


def tensors(case, seed=0) -> dict[str, np.ndarray]:
    """Images, offsets of about two pixels, kernel, mask and upstream gradient, channels last, float32."""
    rng = np.random.default_rng(seed)
    size = (case.batch, case.height, case.width)
    shapes = {
        "inputs": (*size, case.channels),
        "offsets": (*size, 2 * case.taps),
        "kernel": (case.kernel, case.kernel, case.channels, case.filters),
        "upstream": (*size, case.filters),
    }
    arrays = {name: rng.standard_normal(shape, dtype="float32") for name, shape in shapes.items()}
    arrays["offsets"] *= 2
    arrays["kernel"] /= np.sqrt(case.taps * case.channels)
    arrays["mask"] = 2 * rng.random((*size, case.taps), dtype="float32") if case.masked else None
    return arrays


def corner_rows(case, offsets) -> np.ndarray:
    """The row of pixels under each corner of each sampling point, held within its image: `(4 * points,)`, int32."""
    taps = np.stack(np.indices((case.kernel, case.kernel)) - case.kernel // 2, axis=-1).reshape(-1, 2)
    here = np.stack(np.indices((case.height, case.width)), axis=-1)
    corner = np.floor(offsets.reshape(case.batch, case.height, case.width, case.taps, 2)).astype("int32")
    corner += (here[:, :, None] + taps).astype("int32")
    first = (np.arange(case.batch, dtype="int32") * (case.height * case.width))[:, None, None, None]
    rows = []
    for down in (0, 1):
        for right in (0, 1):
            y = np.clip(corner[..., 0] + down, 0, case.height - 1)
            x = np.clip(corner[..., 1] + right, 0, case.width - 1)
            rows.append((first + y * case.width + x).reshape(-1))
    return np.concatenate(rows)
