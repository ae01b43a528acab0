"""What a training left in its folder: whether it is the same training, finished or to go on with; or it is refused."""

import json
from dataclasses import asdict

# What says where the images and the model lie, and not what they are: that is among what was seen.
PLACES = ("data", "model")
REMEDY = "Choose another --out"


def read(folder, settings):
    """The record of the training there, with the same settings and versions; None if there is none.

    Raises:
        ValueError: if what is there is of other settings or versions, or does not say.
    """
    from deformconv.study.provenance import other_versions
    from deformconv.training import checkpoint

    path, model = folder / "training.json", folder / "model.keras"
    if not path.exists():
        if model.exists():
            raise ValueError(f"{model} is there without a training.json that says how it was made. {REMEDY}.")
        return None
    try:
        there = json.loads(path.read_text())
        found, versions, told, seen = dict(there["settings"]), dict(there["versions"]), there["told"], there.get("seen")
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is no record of a training that this version reads ({error!r}). {REMEDY}.") from error
    if told is None and not any(file.exists() for file in (model, *checkpoint.all_of(folder / "training.npz"))):
        return None  # it ended before anything was kept
    for name, value in json.loads(json.dumps(asdict(settings))).items():
        if name not in PLACES and found.get(name) != value:
            raise ValueError(
                f"{folder} holds a training with {name}={found.get(name)!r}, and this one has {name}={value!r}. "
                f"{REMEDY}, or the options of that one to go on with it."
            )
    difference = other_versions(versions)
    if difference:
        raise ValueError(f"{folder} holds a training of {difference}. {REMEDY}.")
    if seen is None:
        raise ValueError(f"{folder} holds a training that does not say which images it saw. {REMEDY}.")
    return there


def seen(options, data):
    """What the training sees: digests of the images and of the model, and in words how many images there are."""
    from deformconv.training import fingerprint

    return {
        "images": f"{len(data.labels):,} in {len(data.classes)} classes",
        "digest": fingerprint.of_images(data.images, data.labels),
        "model": options.model and fingerprint.of_file(options.model),
    }


def told(folder, there, seen):
    """What the finished training told; None if there is none, or it is to go on, or its model is gone.

    Raises:
        ValueError: if it saw other images, or began with another model.
    """
    if there is None:
        return None
    before = there["seen"]
    if before.get("digest") != seen["digest"]:
        what = f"{before.get('images')} before, {seen['images']} now"
        if before.get("images") == seen["images"]:
            what = f"{seen['images']} as before, and not the same"
        raise ValueError(f"{folder} holds a training on other images: {what}. {REMEDY}.")
    if before.get("model") != seen["model"]:
        raise ValueError(f"{folder} holds a training that began with another model. {REMEDY}.")
    return there["told"] if (folder / "model.keras").exists() else None
