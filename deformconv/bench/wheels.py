"""Libraries that are not installed where the bench runs, out of wheels."""

import os
import sys
import tempfile
import zipfile
from contextlib import contextmanager


@contextmanager
def unpacked(folder):
    """Inside, this process and those it starts find what the wheels in a folder hold; None for no folder.

    They are unpacked, for compiled modules cannot be loaded out of a zip file. Nothing is installed.
    """
    if folder is None:
        yield
        return
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise ValueError(f"--wheels must be a folder with .whl files; found none in {folder}.")
    before = os.environ.get("PYTHONPATH", "")
    with tempfile.TemporaryDirectory() as site:
        for wheel in found:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        sys.path.append(site)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [site, before]))
        try:
            yield
        finally:
            sys.path.remove(site)
            os.environ["PYTHONPATH"] = before
