"""The two weight files that the 2017 repository published: finding them, checking them, reading them."""

import hashlib
from pathlib import Path

import h5py
import numpy as np

from deformconv.study.download import cache_folder, data_folder
from deformconv.study.download import download as fetch

URL = "https://raw.githubusercontent.com/kastnerkyle/deform-conv/abe6cd6e457c46179a3bf350927b91939d48466f/models/"
SHA256 = {
    "cnn.h5": "3d6e49ea1e16ccfebe13138163bcabf8a9d250be4dc30080e4c017e2643fc19c",
    "deform_cnn.h5": "ecdea473199a9a26c884dbcad6e7c9083973a90d99a6038d9c92a91925b3c5ed",
}


def weight_files(download=False) -> dict[str, Path] | None:
    """The two weight files that the 2017 repository published, `cnn.h5` and `deform_cnn.h5`, checked; else None.

    They are looked for in `$DEFORMCONV_DATA/deform-conv-2017`, then in the download folder, and fetched from
    their public repository only if `download` is true.
    """
    folders = [cache_folder() / "deform-conv-2017"]
    own = data_folder()
    if own is not None:
        folders.insert(0, own / "deform-conv-2017")
    found = {}
    for name, digest in SHA256.items():
        check = _checker(digest)
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:
            check(path)
        elif download:
            path = fetch(URL + name, folders[-1] / name, check)
        else:
            return None
        found[name] = path
    return found


def _checker(digest):
    def check(path):
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{path} is damaged: its SHA-256 is not {digest}. Delete it to have it fetched anew.")

    return check


def read(path) -> dict[str, np.ndarray]:
    """All weights of one of the files, by layer and weight name: `{"conv11/kernel": array, ...}`."""
    weights = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):  # "conv11/conv11_1/kernel:0"
            weights[f"{name.split('/')[0]}/{name.split('/')[-1].split(':')[0]}"] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return weights


def assign(model, weights) -> None:
    """Puts weights that `read` returned into a classifier with layers of the same names; offsets are left out."""
    by_path = {weight.path: weight for weight in model.weights}
    for name, value in weights.items():
        if "_offset" not in name:
            by_path[name].assign(value)
