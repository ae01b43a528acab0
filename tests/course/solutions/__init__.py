"""Every exercise of the book, solved: what `tests/course/test_exercises.py` tries on its check."""

from solutions import (
    breaking,
    fast,
    flow,
    learning,
    pooling,
    projects_lines,
    projects_port,
    projects_segment,
    sampling,
    seeing,
    study,
    taps,
    using,
    warps,
    weighing,
)

EXERCISES = {}
for part in (
    breaking,
    sampling,
    warps,
    flow,
    taps,
    learning,
    study,
    seeing,
    weighing,
    pooling,
    fast,
    using,
    projects_segment,
    projects_lines,
    projects_port,
):
    EXERCISES |= part.EXERCISES
