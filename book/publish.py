"""Puts the study's results into the book: `python book/publish.py [FOLDER OF A REPRODUCE RUN]`.

With a folder, its results and pictures are copied to `book/results/` first. Then the parts of README.md and of
the welcome page between `<!-- results -->` and `<!-- /results -->` are written anew from `book/results/`.
"""

import re
import shutil
import sys
from pathlib import Path

from deformconv.study import experiment

BOOK = Path(__file__).parent
RESULTS = BOOK / "results"
PAGES = (BOOK.parent / "README.md", BOOK / "index.md")
COPIED = {
    "results.json": "scaled_mnist.json",
    "accuracy_against_zoom.png": "accuracy_against_zoom.png",
    "sampling_points.gif": "sampling_points.gif",
}


def block() -> str:
    """The table of the committed results, and where its numbers come from, as Markdown."""
    runs = experiment.read_results(RESULTS / "scaled_mnist.json")
    run, seeds = runs[0], len({run["seed"] for run in runs})
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return "\n".join(
        [
            experiment.table(runs),
            "",
            f"Test accuracy on {run['dataset']}, mean ± standard deviation over {seeds} seeds; "
            f"{run['regular_steps']} steps of {run['batch_size']} for the regular classifier, then "
            f"{run['finetune_steps']} for each fine-tune, {run['unscaled_share']:.0%} of each batch left at its size. "
            f"Made by `{run['command']}` on {run['hardware']} ({versions}).",
        ]
    )


def with_block(text) -> str:
    """A page with its results written anew."""
    pattern = r"(<!-- results -->\n).*?(<!-- /results -->)"
    replaced, count = re.subn(pattern, lambda match: f"{match[1]}{block()}\n{match[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError("a page must hold <!-- results --> ... <!-- /results --> exactly once")
    return replaced


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for source, target in COPIED.items():
            shutil.copyfile(Path(sys.argv[1]) / source, RESULTS / target)
    for page in PAGES:
        page.write_text(with_block(page.read_text()))
