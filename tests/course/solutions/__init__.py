"""Every exercise of the book, solved: what `tests/course/test_exercises.py` tries on its check. A file a chapter."""

import pkgutil
from importlib import import_module

EXERCISES = {}
for part in pkgutil.iter_modules(__path__):
    EXERCISES |= getattr(import_module(f"solutions.{part.name}"), "EXERCISES", {})
