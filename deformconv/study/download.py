"""Where data lies, and how it gets there: `$DEFORMCONV_DATA`, the download folder, a fetch that leaves no half file."""

import http.client
import os
import tempfile
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 20


def data_folder() -> Path | None:
    """The folder that `$DEFORMCONV_DATA` names, or None."""
    value = os.environ.get("DEFORMCONV_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise ValueError(f"DEFORMCONV_DATA must name a folder; received {value!r}, which is not one.")
    return Path(value)


def cache_folder() -> Path:
    """Where downloads go: the folder that Keras's own data sets use."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"


def download(url, path, check) -> Path:
    """Fetches `url` into `path`, which appears only once it is whole and `check(path)` has passed."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        part = Path(name)
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer,
        ):
            while block := answer.read(1 << 20):
                file.write(block)
        check(part)
        part.replace(path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"Could not download {path.name} from {url} ({error}). Three ways on: try again with a network; put "
            f"the file at {path}, or in a folder that the variable DEFORMCONV_DATA names; or use the "
            f'built-in digits, name="digits".'
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return path
