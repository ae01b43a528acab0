"""The results file: whole at every moment, added to by a second command that measures the same."""

import datetime
import json
from pathlib import Path

from deformconv.bench.promises import key, promises
from deformconv.training.files import set_aside, write_atomically

# A row can stand beside another one's if these are the same; `versions` and `source` are looked at apart.
SAME = ("device", "hardware", "gpu", "threads", "seed", "tolerances", "rounds", "turn_seconds")


def write(path, report):
    """Writes a report as JSON, whole or not at all."""
    path = Path(path)
    content = json.dumps(report, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.encode())


def write_new(path, report):
    """Writes a report; one that is there already keeps its numbers under another name, which is told."""
    _set_aside(Path(path))
    write(path, report)


def _set_aside(path):
    if path.exists():
        print(f"{path}: the results that were there are in {set_aside(path)} now.")


class Results:
    """A results file, written whole after every case: what was measured survives an interruption.

    Args:
        path: of the file. Rows that it holds are kept if they are of the same machine, versions, source and way of
            measuring; else the file gets another name as soon as there are new ones.
        about: what the rows are results of; `command`, `device`, `versions` and `source` among it.

    Raises:
        ValueError: if the file there is not a results file.
    """

    def __init__(self, path, about):
        self.path, self.new, self.other = Path(path), [], False
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.content = {**about, "date": now, "results": []}
        if self.path.exists():
            try:
                self._keep(json.loads(self.path.read_text()))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"{self.path} is not a results file ({error!r}). Choose another --out.") from None

    def _keep(self, before):
        now = self.content
        before["results"], before["command"], before["versions"]  # every results file has them
        difference = _difference(before, now)
        if difference:
            self.other = True
            print(f"{self.path}: of {difference}; it is kept under another name, and a new file begins.")
            return
        print(f"{self.path}: of the same machine, versions, source and way of measuring; rows are added to it.")
        # Contenders that do not run this time do not tell theirs.
        for name in ("devices", "left_out", "versions"):
            if name in now:
                now[name] = {**before.get(name, {}), **now[name]}
        now["results"] = before["results"]
        commands = dict.fromkeys([*before["command"].split("; "), now["command"]])
        now["command"] = "; ".join(commands)

    def add(self, rows):
        """Takes in rows, in the place of older ones of the same, and writes the file."""
        keys = {key(row) for row in rows}
        self.content["results"] = [row for row in self.content["results"] if key(row) not in keys] + rows
        self.new += rows
        if self.content["device"] == "gpu":
            self.content["promises"] = promises(self.content["results"])
        if self.other:
            _set_aside(self.path)
            self.other = False
        write(self.path, self.content)


def _difference(before, now):
    """The first thing in which results are of another kind than those now, in words; empty if there is none."""
    # Files from before they told of their source are of another.
    if before.get("source", {}).get("sha256") != now["source"]["sha256"]:
        return "another source"
    for name in SAME:
        if before.get(name) != now.get(name):
            return f"{name}={before.get(name)!r}, and this is {now.get(name)!r}"
    for name in sorted(before["versions"].keys() & now["versions"].keys()):
        if before["versions"][name] != now["versions"][name]:
            return f"{name} {before['versions'][name]}, and this is {now['versions'][name]}"
    return ""
