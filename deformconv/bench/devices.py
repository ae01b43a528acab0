"""The two devices, and in what measuring them differs."""

from dataclasses import dataclass

from deformconv.bench.contenders import OURS

DIRECTIONS = ("forward", "backward")  # backward: outputs and gradients together


@dataclass(frozen=True)
class Device:
    """How contenders are measured on a device.

    Args:
        name: "cpu" or "gpu".
        precisions: that can be asked for; float32 is strict.
        cases: the sets that are measured unless others are asked for.
        turn_seconds: about how long a contender is timed for in a turn.
        one_process: whether a contender keeps its process for all cases.
        answer_seconds: that a contender may take for an answer, None for any.
        pause: seconds after an answer, before another contender is asked.
        digits: of milliseconds, after the point.
        references: contenders that others are checked against, the first of a family that runs.
    """

    name: str
    precisions: tuple[str, ...]
    cases: tuple[str, ...]
    turn_seconds: float
    one_process: bool
    answer_seconds: float | None
    pause: float
    digits: int
    references: tuple[str, ...]


DEVICES = {
    "cpu": Device(
        name="cpu",
        precisions=("float32",),
        cases=("main",),
        turn_seconds=0.4,
        one_process=False,  # its peak of memory is a process's own
        answer_seconds=None,
        pause=0.3,  # OpenMP's threads spin for up to 0.2 s before they sleep, and would slow the next one down
        digits=3,
        references=tuple(OURS),
    ),
    "gpu": Device(
        name="gpu",
        precisions=("float32", "bfloat16", "tf32"),
        cases=("main", "large", "batches"),
        turn_seconds=0.03,
        one_process=True,  # to start and connect takes longer than to measure
        answer_seconds=240,
        pause=0,
        digits=6,
        references=("torchvision", "conv2d, torch", "torch", "gather, torch"),
    ),
}
