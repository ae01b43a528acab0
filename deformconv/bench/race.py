"""All contenders at one case: each in its own process, checked against each other before they are timed, in turn."""

import tempfile

import numpy as np

from deformconv.bench.check import compare
from deformconv.bench.contenders import CONTENDERS
from deformconv.bench.devices import DEVICES, DIRECTIONS

# Corner rows of a case that all contenders may prepare side by side; beyond it they would fill the GPU's memory.
SIDE_BY_SIDE_BYTES = 4e9
SLOW_SECONDS, SLOW_TURNS = 1, 3  # a contender that takes so long a call gets so many turns


def run(
    case,
    workers,
    *,
    device=DEVICES["cpu"],
    precision="float32",
    directions=DIRECTIONS,
    rounds=9,
    turn_seconds=None,
    seed=0,
    progress=None,
) -> list[dict]:
    """Times every contender that runs and agrees.

    Args:
        case: a `cases.Case`.
        workers: by the contenders' names a `process.Process` for each; they never time at the same time.
        device: a `devices.Device`.
        precision: to compute in.
        directions: "forward", "backward" or both.
        rounds: in each, every contender has one turn, one after the other, so that all see the same weather.
        turn_seconds: about how long a turn is; None for the device's.
        seed: of the numbers.
        progress: called with a text now and then, or None.

    Returns:
        A list of results, one a contender and direction: `case`, `contender`, `direction`, `precision`; `median`, `low`
        and `high` (the quartiles), in milliseconds, over `calls` in `turns`; what `check.compare` and the worker tell
        of it. Where there is no time, `failed` says why.
    """
    race = _Race(case, workers, device, precision, directions, seed, progress or (lambda text: None))
    with tempfile.TemporaryDirectory() as folder:
        references = race.references(folder) if precision != "float32" else {}
        race.prepare(folder)
        race.check(references)
    for direction in directions:
        race.time(direction, rounds, turn_seconds or device.turn_seconds)
    return list(race.rows.values())


class _Race:
    def __init__(self, case, workers, device, precision, directions, seed, say):
        self.case, self.workers, self.device, self.precision = case, workers, device, precision
        self.directions, self.seed, self.say = directions, seed, say
        self.names = [name for name in workers if precision in CONTENDERS[name].precisions]
        self.rows = {}  # by contender and direction

    def question(self, folder, **more):
        asked = {"case": self.case.as_dict(), "seed": self.seed, "directions": list(self.directions), "folder": folder}
        return asked | {"precision": self.precision, **more}

    def by_family(self, names):
        """Contenders whose results are compared, those first that the others are checked against."""
        preferred = {name: place for place, name in enumerate(self.device.references)}
        families = {}
        for name in sorted(names, key=lambda name: preferred.get(name, len(preferred))):
            families.setdefault(CONTENDERS[name].family, []).append(name)
        return families

    def references(self, folder):
        """By family and direction who computed the rounded numbers in strict float32, and the results."""
        found = {}
        for family, names in self.by_family(self.workers).items():
            for name in names:
                question = self.question(folder, precision="float32", rounded=self.precision)
                told = self.workers[name].ask("prepare", **question)
                self.workers[name].leave_case()
                if all("file" in told.get(direction, ()) for direction in self.directions):
                    found |= {(family, direction): (name, _results(told[direction])) for direction in self.directions}
                    break
        return found

    def prepare(self, folder):
        """Has every contender compute the case once."""
        # Compilers may work side by side, but a convolution chooses its algorithm by timing it: alone on the device.
        may = self.device.one_process and self.case.corner_bytes < SIDE_BY_SIDE_BYTES
        together = [name for name in self.names if may and CONTENDERS[name].family != "convolution"]
        told = {}
        for name in self.names:
            if name not in together:
                self.say(f"{self.case.name}: {name} gets ready")
                told[name] = self.workers[name].ask("prepare", **self.question(folder))
        for name in together:
            self.workers[name].tell("prepare", **self.question(folder))
        for name in together:
            self.say(f"{self.case.name}: {name} gets ready")
            told[name] = self.workers[name].answer()
        for direction in self.directions:
            for name in self.names:
                own = told[name] if "failed" in told[name] else told[name].get(direction)
                if own is not None:
                    row = {"case": self.case.name, "contender": name, "direction": direction}
                    row |= {"precision": self.precision, **own}
                    if "first_call" in row:
                        row["first_call"] = self.milliseconds(row["first_call"])
                    self.rows[name, direction] = row

    def check(self, references):
        """Compares results with the references, or else with those of the first of each family."""
        for family, names in self.by_family(self.names).items():
            for direction in self.directions:
                reference = references.get((family, direction))
                for row in (self.rows[name, direction] for name in names if (name, direction) in self.rows):
                    if "failed" in row:
                        continue
                    results = _results(row)
                    if self.precision == "float32":
                        reference = reference or (row["contender"], results)
                    if reference is None:
                        row["failed"] = "nothing to check it against: no contender of its kind gave a reference"
                    else:
                        row |= compare(results, *reference, self.precision, self.device.name)
        for name in self.names:
            rows = [row for (of, _), row in self.rows.items() if of == name]
            wrong = [row["failed"] for row in rows if {"failed", "reference"} <= row.keys()]
            for row in rows if wrong else ():  # who is wrong in one direction is timed in neither
                row.setdefault("failed", wrong[0])
            if all("failed" in row for row in rows):
                self.workers[name].leave_case()
        for row in self.rows.values():
            row.pop("file", None)

    def time(self, direction, rounds, turn_seconds):
        """Lets the contenders take turns, and adds what they took to their rows."""
        racing = {name: row for (name, of), row in self.rows.items() if of == direction and "failed" not in row}
        turns, calls = {name: [] for name in racing}, {}
        for name, row in racing.items():
            self.say(f"{self.case.name}: {direction}, {name} is calibrated")
            told = self.ask(name, "calibrate", direction=direction, seconds=turn_seconds)
            if "failed" in told:
                continue
            calls[name], once = told.pop("calls"), told.pop("seconds")
            row["turns"] = min(rounds, SLOW_TURNS) if once > SLOW_SECONDS else rounds
            if "dispatch" in told:
                told["dispatch"] = self.milliseconds(told["dispatch"])
            row |= told
        for number in range(rounds):
            self.say(f"{self.case.name}: {direction}, round {number + 1} of {rounds}")
            for name in reversed(racing) if number % 2 else racing:  # no one always follows the same other
                row = racing[name]
                if "failed" not in row and number < row["turns"]:
                    told = self.ask(name, "turn", direction=direction, calls=calls[name])
                    turns[name] += told.get("seconds", [])
        for name, row in racing.items():
            if "failed" in row:
                continue
            low, median, high = map(self.milliseconds, np.quantile(turns[name], [0.25, 0.5, 0.75]))
            row |= {"median": median, "low": low, "high": high, "calls": calls[name] * row["turns"]}

    def ask(self, name, do, **question):
        """A worker's answer. One that fails has forgotten the case: no time will come of it any more."""
        told = self.workers[name].ask(do, **question)
        if "failed" in told:
            for (of, _), row in self.rows.items():
                if of == name and "median" not in row:
                    row.setdefault("failed", told["failed"])
        return told

    def milliseconds(self, seconds):
        return round(1e3 * float(seconds), self.device.digits)


def _results(told):
    with np.load(told["file"]) as file:
        return dict(file)
