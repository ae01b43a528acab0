"""A queue of runs in a folder: each is made once, by any number of processes, which may die at any moment."""

import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import keras
from filelock import FileLock, Timeout

from deformconv import training
from deformconv.study.provenance import hardware, versions
from deformconv.study.results import Results
from deformconv.study.unfinished import Unfinished
from deformconv.training import devices

WAIT_SECONDS = 1.0


class Busy(Exception):
    """Another process is at this run, or at the one that it starts from."""


class Queue:
    """Runs into one folder: `results.json`, and the weights of each run; finished ones are found and not run again.

    A run is one variant with one seed. It belongs to the process that holds its lock; the operating system opens the
    lock when that process ends, and another takes the run up from its last checkpoint.

    Several processes that train one network together (`devices.spread`) go through the runs in step; the first of them
    holds the locks and writes.

    A subclass says what its runs are: `descriptions` of the variants, each in a sentence; `network(variant)`, a new
    one; `train(variant, seed, checkpoint)`, which returns the trained network and what to tell of the training; and
    `test(model, seed)`, which returns accuracies.

    Args:
        folder: where everything goes; several processes may share it.
        settings: a dataclass of all that decides the outcome of a run besides its variant and seed.
        data: the digest of what the runs are trained and tested on.
        command: what made the runs, for the record.
        progress: whether trainings show a bar.

    Raises:
        ValueError: if runs there, finished or not, are of other settings, data or versions.
    """

    descriptions: dict[str, str]

    def __init__(self, folder, settings, data, command="", progress=True):
        self.folder, self.settings, self.command, self.progress = Path(folder), settings, command, progress
        for name in ("weights", "unfinished"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.results = Results(self.folder / "results.json", settings, self.descriptions, data)
        self.unfinished = Unfinished(self.folder / "unfinished", {**asdict(settings), "data": data}, versions())

    def run_all(self, variants, seeds):
        """Runs every variant with every seed that is not finished; yields each run's results as it is there."""
        pending = [(variant, seed) for seed in seeds for variant in variants]
        while pending:
            busy = []
            for variant, seed in pending:
                try:
                    yield self.run(variant, seed)
                except Busy:
                    busy.append((variant, seed))
            if len(busy) == len(pending):
                time.sleep(WAIT_SECONDS)
            pending = busy

    def run(self, variant, seed) -> dict:
        """Trains and tests one variant with one seed, or returns the finished run. What it starts from comes first.

        Raises:
            ValueError: if the variant is unknown.
            Busy: if another process is at it.
        """
        if variant not in self.descriptions:
            raise ValueError(f"`variant` must be one of {', '.join(self.descriptions)}; received {variant!r}.")
        with self._claimed(variant, seed):
            self.results.read()
            found = self.results.find(variant, seed)
            return found if devices.first_says(bool(found)) else self._run(variant, seed)

    def model(self, variant, seed):
        """The trained model of a run; where its weights are gone, it is trained again.

        Raises:
            Busy: if they are gone and another process is making them.
        """
        if not devices.first_says(self.weights_path(variant, seed).exists()):
            with self._claimed(variant, seed):
                self._train(variant, seed)
        model = self.network(variant)
        model.load_weights(self.weights_path(variant, seed))
        return model

    def weights_path(self, variant, seed) -> Path:
        """Where the weights of a run lie."""
        return self.folder / "weights" / f"{variant}-{seed}.weights.h5"

    @contextmanager
    def _claimed(self, variant, seed):
        lock = FileLock(self.folder / "unfinished" / f"{variant}-{seed}.lock")
        taken = False
        if devices.is_first():
            with suppress(Timeout):
                lock.acquire(timeout=0)
                taken = True
        if not devices.first_says(taken):
            raise Busy(f"another process is at {variant}, seed {seed}")
        try:
            yield
            if not taken:
                return
            # Last: whoever dies before finds the run whole, and only this left to do.
            self.unfinished.forget(variant, seed)
        finally:
            lock.release()

    def _train(self, variant, seed):
        model, told = self.train(variant, seed, checkpoint=self.unfinished.begin(variant, seed))
        if not devices.is_first():
            return model, told
        path = self.weights_path(variant, seed)
        part = path.with_name(f"part-{path.name}")  # Keras insists on the ending .weights.h5
        model.save_weights(part)
        part.replace(path)
        return model, told

    def _run(self, variant, seed):
        model, told = self._train(variant, seed)
        with devices.alone():
            here = self.network(variant)
            here.set_weights(model.get_weights())
            tested = self.test(here, seed)
        run = {
            "variant": variant,
            "seed": seed,
            **tested,
            "trained_parameters": training.count_trained(model),
            "parameters": model.count_params(),
            **told,
            "hardware": hardware(),
            "engine": keras.backend.backend(),
            "versions": versions(),
            "data": self.results.data,
            **asdict(self.settings),
            "description": self.descriptions[variant],
            "command": self.command,
        }
        if devices.is_first():
            self.results.add(run)
        return run
