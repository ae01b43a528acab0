"""The results file: whole at every moment, added to by a second command that measures the same."""

import datetime
import json
from pathlib import Path

from deformconv.bench.promises import key, promises
from deformconv.training.files import write_atomically

# A row can stand beside another one's if these are the same; `versions` and `source` are looked at apart.
SAME = ("device", "hardware", "gpu", "threads", "seed", "tolerances")


def write(path, report):
    """Writes a report as JSON, whole or not at all."""
    path = Path(path)
    content = json.dumps(report, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.encode())


class Results:
    """A results file, written whole after every case: what was measured survives an interruption.

    Args:
        path: of the file. Rows that it holds are kept if they are of the same machine, versions and source.
        about: what the rows are results of; `command`, `device`, `versions` and `source` among it.
    """

    def __init__(self, path, about):
        self.path, self.new = Path(path), []
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.content = {**about, "date": now, "results": []}
        if self.path.exists():
            try:
                self._keep(json.loads(self.path.read_text()))
            except json.JSONDecodeError as error:
                raise ValueError(f"{self.path} is not a results file ({error}). Choose another --out.") from None

    def _keep(self, before):
        now = self.content
        if not _same(before, now):
            print(f"{self.path}: of another machine, other versions or another source; it will be replaced.")
            return
        print(f"{self.path}: of the same machine, versions and source; rows are added to it.")
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
        write(self.path, self.content)


def _same(before, now):
    if any(before.get(name) != now.get(name) for name in SAME):
        return False
    if before["source"]["sha256"] != now["source"]["sha256"]:
        return False
    both = before["versions"].keys() & now["versions"].keys()
    return all(before["versions"][name] == now["versions"][name] for name in both)
