"""One exercise, as its test wants it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Solved(NamedTuple):
    """An exercise with answers to it.

    `solution` is right, and found in another way than the check's own where there is one. `listed` are the mistakes
    that the check knows, as it knows them: `(function, message)`. `slips` are mistakes as a reader would write them,
    with some words of the message that they should get. `draws`: whether a wrong array is drawn beside the target.
    """

    check: Callable
    solution: Callable
    listed: Sequence = ()
    slips: Sequence = ()
    draws: bool = False
