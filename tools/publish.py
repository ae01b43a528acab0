"""Puts results and the index of exercises into the pages: `python tools/publish.py [FOLDER OF A REPRODUCE RUN]`.

With a folder, its results and the picture of its curves are copied to `book/results/` first. Then the parts of
README.md and of the book's pages between `<!-- results -->` and `<!-- /results -->`, or `speed` likewise, are written
anew from the files in `book/results/` and `benchmarks/results/`.

`--classifier` copies also what the book shows of one trained network: the weights of the folder's first deformable
classifier, into the package, and the animation that was drawn from them.
"""

import argparse
import os
import re
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import bench_blocks
import contents
import digits_blocks
import mnist_scale_blocks
from deformconv.study import results
from deformconv.study.digits import trained
from deformconv.study.digits.variants import VARIANTS
from run_tables import BOOK, RESULTS

PAGES = {
    BOOK.parent / "README.md": {
        "results": digits_blocks.study,
        "best": digits_blocks.best,
        "protocol_result": mnist_scale_blocks.protocol_result,
        "speed": bench_blocks.speed,
        "engines": bench_blocks.engines,
        "forms": bench_blocks.other_forms,
    },
    BOOK.parent / "benchmarks" / "README.md": {"account": bench_blocks.account},
    BOOK / "index.md": {
        "results": digits_blocks.study,
        "best": digits_blocks.best,
        "protocol_result": mnist_scale_blocks.protocol_result,
    },
    BOOK / "results.md": {
        "variants": digits_blocks.variants,
        "accuracies": digits_blocks.accuracies,
        "first": digits_blocks.first,
        "longer": digits_blocks.longer,
        "data_of_2017": digits_blocks.data_of_2017,
        "as_2017": digits_blocks.as_2017,
        "protocol": mnist_scale_blocks.protocol,
        "explorations": digits_blocks.explorations,
        "protocol_explorations": mnist_scale_blocks.protocol_explorations,
        "full_rate": digits_blocks.full_rate,
        "offsets": digits_blocks.offsets,
        "receptive_fields": digits_blocks.receptive_fields,
        "costs": bench_blocks.costs,
        "runs": digits_blocks.every_run,
        "first_runs": digits_blocks.every_first_run,
    },
    BOOK / "exercises.md": {"exercises": contents.exercises},
}


def with_blocks(text, blocks) -> str:
    """A page with its measured parts written anew."""
    for name, block in blocks.items():
        parts = re.split(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, flags=re.DOTALL)
        if len(parts) != 2:
            raise ValueError(f"a page must hold <!-- {name} --> ... <!-- /{name} --> exactly once")
        text = f"{block()}\n".join(parts)
    return text


def take_results(folder):
    """Copies the results of a reproduce run, and the picture of its curves, to where the book keeps them."""
    shutil.copyfile(folder / "results.json", RESULTS / "scaled_mnist.json")
    shutil.copyfile(folder / "accuracy_against_zoom.png", RESULTS / "accuracy_against_zoom.png")


def take_classifier(folder):
    """Copies what the book shows of one trained network: its weights, and the animation that was drawn from them."""
    runs = results.read(folder / "results.json")
    (run,) = (r for r in runs if (r["variant"], r["seed"]) == ("deformable", 0))
    model = VARIANTS["deformable"].network()
    model.load_weights(folder / "weights" / "deformable-0.weights.h5")
    trained.save(model, run)
    shutil.copyfile(folder / "sampling_points.gif", RESULTS / "sampling_points.gif")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of a reproduce run")
    parser.add_argument("--classifier", action="store_true", help="its first classifier, too")
    options = parser.parse_args()
    if options.classifier and not options.folder:
        parser.error("--classifier needs the folder")
    return options


if __name__ == "__main__":
    options = parse()
    if options.folder:
        take_results(options.folder)
    if options.classifier:
        take_classifier(options.folder)
    for page, blocks in PAGES.items():
        page.write_text(with_blocks(page.read_text(), blocks))
