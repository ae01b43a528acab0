"""The network that `deformconv train` trains: made here, or read from a file of the user's."""

import functools
import re
import zipfile

MOMENTUM = 0.9  # of BatchNorm's statistics, for trainings of a few hundred steps


def make(options, shape, classes):
    """The classifier of the study, as the options bend it."""
    import keras

    from deformconv.study.digits import models

    convolution = models.rigid
    if not options.plain:
        convolution = functools.partial(
            models.deformable,
            modulated=options.modulated,
            offset_lr_multiplier=options.offset_rate,
            max_offset=options.max_offset,
        )
    keras.utils.set_random_seed(options.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(options.precision)
    try:
        return models.digit_classifier(convolution, MOMENTUM, shape=shape, classes=classes)
    finally:
        keras.config.set_dtype_policy(before)


def load(options):
    """The model that --model names."""
    import keras

    from deformconv.layers.layout import check_channels_last  # its package registers the layers that the file may hold

    # Keras draws weights before it reads them, and JAX insists that all processes draw the same.
    keras.utils.set_random_seed(options.seed)
    try:
        model = keras.saving.load_model(options.model, compile=False)
    except Exception as error:  # of many kinds, and pages long: the whole config may be in it
        raise ValueError(_why(options.model, error)) from error
    if len(model.inputs) != 1 or len(model.input_shape) != 4 or len(model.output_shape) != 2:
        raise ValueError(
            f"--model must be from images (batch, height, width, channels) to (batch, classes); {options.model} "
            f"is from {model.input_shape} to {model.output_shape}."
        )
    check_channels_last(model, "--model")
    return model


def check(model, data):
    """It takes these images, and gives as many probabilities as there are classes, or more."""
    import numpy as np

    shape, outputs = data.images.shape[1:], model.output_shape[-1]
    for wanted, given in zip(model.input_shape[1:], shape, strict=True):
        if wanted not in (None, given):
            raise ValueError(f"--model must take images of {shape}; it takes {model.input_shape[1:]}.")
    if outputs < len(data.classes):
        raise ValueError(f"--model must have an output for each of the {len(data.classes)} classes; it has {outputs}.")
    total = model.predict(np.zeros((1, *shape), "float32"), verbose=0).sum()
    if not abs(total - 1) < 0.02:
        raise ValueError(f"--model must end in a softmax; its outputs for a black image sum up to {total:.3g}.")


def _why(path, error):
    """In a line, why Keras could not load a model, and what helps."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        return f"--model must be a .keras file; received {str(path)!r}, which {what}."
    if not zipfile.is_zipfile(path):
        return f'--model must be a .keras file; {path} is none, or is damaged. Save it by `model.save("NAME.keras")`.'
    said = " ".join(str(error).split())
    unknown = re.search(r"Could not locate (?:class|function) '(\w+)'", said)
    if unknown:
        return (
            f"--model: {path} has a part of its own, {unknown[1]!r}, of which Keras keeps the name alone. Train it "
            "from Python, where that is imported: load it, and call deformconv.training.fit."
        )
    return f"--model: {path} cannot be loaded ({said.split('. ')[0][:200]}). Load it in Python first, and save it anew."
