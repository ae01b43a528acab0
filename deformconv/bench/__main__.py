"""`deformconv bench` from a checkout where nothing is installed but NumPy and an engine or two:

    python deformconv/bench/__main__.py --device gpu --wheels wheels

What the package and Keras need comes out of the folder of wheels.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # was this folder, whose modules have everyday names
parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
parser.add_argument("--wheels", type=Path)
wheels = parser.parse_known_args()[0].wheels
if wheels:
    # All that the package needs to be imported is pure Python and can be read out of its wheel. `wheels.py` unpacks
    # the others.
    sys.path += map(str, wheels.glob("lazy_loader-*.whl"))
try:
    from deformconv.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"deformconv: error: {error}: give a folder with wheels of lazy_loader and keras by --wheels.")

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
