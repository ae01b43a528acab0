"""Runs notebooks from top to bottom, in place, and keeps their outputs: `python tools/execute.py [NOTEBOOK ...]`."""

import base64
import io
import os
import sys
import time
from pathlib import Path

# Else TensorFlow sets it, here and for the notebooks: they would tell that there is no GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nbformat
from nbclient import NotebookClient
from PIL import Image

from deformconv.study.provenance import hardware

BOOK = Path(__file__).parents[1] / "book"
# Nobody is there to move a slider, so no widget is kept: see deformconv/course/figures/sliders.py.
os.environ["DEFORMCONV_STATIC"] = "1"
# Figures of two dots a pixel, for the screens that show so many.
CRISP = "--InlineBackend.figure_formats=retina"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path):
    notebook = nbformat.read(path, as_version=4)
    # Prints that arrive in several pieces are one output, wherever the pieces were cut.
    settings = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
    start = time.perf_counter()
    resources = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, resources=resources, extra_arguments=[CRISP], **settings).execute()
    seconds = round(time.perf_counter() - start)
    # Only what a reader needs: the rest changes from one run to the next.
    for cell in notebook.cells:
        if "remove-stderr" in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = with_palette(png)
    # How long it took, and where: no notebook shall keep a reader waiting (tests/book/test_notebooks.py says how long).
    run = {"seconds": seconds, "hardware": hardware()}
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "run": run,
    }
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    part.replace(path)
    return seconds


def with_palette(png):
    """The same figure, a PNG in base64, in 256 colours: nobody sees it, and it takes a third of the bytes."""
    figure = Image.open(io.BytesIO(base64.b64decode(png)))
    if figure.mode == "P":
        return png
    figure = figure.convert("RGBA")
    opaque = figure.getextrema()[3][0] == 255
    file = io.BytesIO()
    # With transparency Pillow has one method alone; the other one needs kmeans, else greys get a tint.
    few = figure.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE) if opaque else figure.quantize(256)
    few.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode() + "\n"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(BOOK.glob("*.ipynb"))):
        print(f"running {path}", end=" ", flush=True)
        print(f"{execute(path)} s", flush=True)
