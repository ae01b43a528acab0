"""The command, where it is not installed: `python -m deformconv.cli`.

`python deformconv/cli`, in a checkout, needs nothing but Python to start: what the package needs to be imported,
lazy_loader, may lie as a wheel in the folder that `bench --wheels` names.
"""

import sys
from pathlib import Path


def find_package():
    """Has Python find the package, and lazy_loader, where this file was called by its path."""
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    if "--wheels" in sys.argv[:-1]:
        wheels = Path(sys.argv[sys.argv.index("--wheels") + 1])
        sys.path += map(str, wheels.glob("lazy_loader-*.whl"))  # pure Python, which can be read out of a zip file
    try:
        import lazy_loader  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"deformconv: error: {error}; its wheel may lie in the folder of bench --wheels.")


if not __package__:
    find_package()

from deformconv.cli import main  # noqa: E402

sys.exit(main())
