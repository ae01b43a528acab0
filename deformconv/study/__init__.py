"""Experiments, a folder each, on common ground: a queue of runs, their results, where they come from."""
