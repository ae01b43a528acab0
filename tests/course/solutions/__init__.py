"""Every exercise of the book, solved: what `tests/course/test_exercises.py` tries on its check."""

from solutions import breaking, fast, flow, learning, pooling, sampling, seeing, study, taps, warps, weighing

EXERCISES = {}
for chapter in (breaking, sampling, warps, flow, taps, learning, study, seeing, weighing, pooling, fast):
    EXERCISES |= chapter.EXERCISES
