"""Sets the address of the book's repository: `python tools/address.py [https://github.com/OWNER/NAME | none]`.

The address is kept in `_config.yml`, between `# address` and `# /address`. From there it goes into the launch buttons
and into the set-up cell of each notebook. Without one there are no buttons, and the cell says what to do: a notebook
must not install from an address that nobody owns. With no argument, the address that is kept is written everywhere.
"""

import re
import sys
from pathlib import Path

import nbformat
import yaml

BOOK = Path(__file__).parents[1] / "book"
CONFIG = BOOK.parent / "_config.yml"
PLACE = re.compile(r"(?<=# address\n).*?(?=# /address\n)", re.DOTALL)
WITH_ADDRESS = """\
repository:
  url: {address}
  branch: main
launch_buttons:
  notebook_interface: jupyterlab
  colab_url: https://colab.research.google.com
  binderhub_url: https://mybinder.org
"""
CELL_ID, TAGS = "set-up", ["remove-cell"]
SETUP = """\
# For Colab alone: it fetches the book and its package, and leaves Colab's TensorFlow alone.
# Elsewhere this cell does nothing.
import os
import shutil
import subprocess
import sys

ADDRESS = "{address}"

if "google.colab" in sys.modules:
    beside_the_book = os.path.isdir("results")  # chapters read the files that lie there
    if ADDRESS and not beside_the_book:
        if not os.path.isdir("copy"):
            clone = ["git", "clone", "--quiet", "--depth=1", ADDRESS, "copy"]
            subprocess.run(clone, check=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, "./copy"], check=True)
        os.chdir("copy/book")
    elif not beside_the_book:
        print("This notebook does not know the address of its repository. Bring a copy")
        print("here, then run !pip install --no-deps ./FOLDER and %cd FOLDER/book; or set")
        print("the address in yours: make address URL=...")
    if not shutil.which("nvidia-smi"):
        print("There is no GPU here: trainings take longer. To have one:")
        print("Runtime > Change runtime type > T4 GPU.")"""


def kept(config) -> str:
    """The address in the text of `_config.yml`, or nothing."""
    return yaml.safe_load(config).get("repository", {}).get("url", "")


def checked(address) -> str:
    """The address as it is kept; empty for `none`."""
    if address == "none":
        return ""
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+?/?", address):
        raise ValueError(f"the address must be https://github.com/OWNER/NAME, which Colab opens; received {address!r}")
    return address.rstrip("/").removesuffix(".git")


def with_setup(notebook, address):
    """The notebook with its set-up cell before all other code; cells that were run keep an unbroken count."""
    source = SETUP.format(address=address)
    for cell in notebook.cells:
        if cell.id == CELL_ID:
            cell.source = source
            return notebook
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    for cell in notebook.cells[first:]:
        if cell.get("execution_count"):
            cell.execution_count += 1
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": TAGS}, execution_count=1)
    cell.id = CELL_ID
    notebook.cells.insert(first, cell)
    return notebook


if __name__ == "__main__":
    config = CONFIG.read_text()
    try:
        address = checked(sys.argv[1]) if len(sys.argv) > 1 else kept(config)
    except ValueError as error:
        sys.exit(f"address: {error}")
    CONFIG.write_text(PLACE.sub(WITH_ADDRESS.format(address=address) if address else "", config))
    for path in sorted(BOOK.rglob("*.ipynb")):
        nbformat.write(with_setup(nbformat.read(path, as_version=4), address), path)
    print(f"the address is {address}" if address else "there is no address: no buttons, and notebooks say what to do")
