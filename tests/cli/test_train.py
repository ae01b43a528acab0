"""`deformconv train`: images of one's own, from the command to a model that can be used; and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from deformconv import cli, training
from deformconv.layers import DeformableConv2D

SHORT = ["--steps", "8", "--batch-size", "8", "--every", "4", "--learning-rate", "0.01"]


@pytest.fixture(autouse=True)
def own(monkeypatch, tmp_path, rng):
    """In a folder with `own.npz`, 40 grey images of 9 x 7 in two classes, and `own`, the same as pictures."""
    monkeypatch.chdir(tmp_path)
    x, y = rng.integers(0, 90, size=(40, 9, 7)).astype("uint8"), np.arange(40) % 2
    x[y == 1] += 150
    np.savez("own.npz", x=x, y=y)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        os.makedirs(f"own/{('dark', 'light')[label]}", exist_ok=True)
        Image.fromarray(image).save(f"own/{('dark', 'light')[label]}/{i:02}.png")
    return x, y


def train(*arguments):
    return cli.main(["train", *arguments])


def test_a_folder_becomes_a_model_a_log_and_the_names_of_its_classes(own, capsys):
    assert train("own", *SHORT, "--patience", "3", "--max-offset", "2", "--offset-rate", "0.1", "--modulated") == 0
    said = capsys.readouterr().out
    assert "own: 36 images to train on, 4 for validation, 9 x 7 x 1, 2 classes" in said
    assert "validation accuracy" in said and "Written to results/train-own: events" in said
    folder = "results/train-own"
    assert {re.sub(r"tfevents.*", "tfevents", name) for name in os.listdir(folder)} == {
        "events.out.tfevents",
        "log.jsonl",
        "model.keras",
        "training.json",
    }
    with open(f"{folder}/training.json") as file:
        told = json.load(file)
    assert told["classes"] == ["dark", "light"] and told["shape"] == [9, 7, 1]
    assert told["command"].startswith("deformconv train own --steps 8") and "keras" in told["versions"]
    with open(f"{folder}/log.jsonl") as file:
        assert [json.loads(line)["step"] for line in file] == [4, 8]
    model = keras.saving.load_model(f"{folder}/model.keras")
    layer = model.get_layer("conv12")
    assert (layer.max_offset, layer.offset_lr_multiplier, layer.modulated) == (2, 0.1, True)
    x, y = own
    assert training.accuracy(model, x[..., None] / np.float32(255), y) > 0.8


def test_the_file_and_the_folder_streamed_or_not_give_the_same_model(capsys):
    """The folder's pictures lie in another order, so with validation off the file is sorted likewise."""
    weights = []
    with np.load("own.npz") as archive:
        order = np.argsort(archive["y"], kind="stable")
        np.savez("own.npz", x=archive["x"][order], y=archive["y"][order])
    for number, arguments in enumerate((["own"], ["own", "--stream"], ["own.npz"], ["own.npz", "--stream"])):
        assert train(*arguments, *SHORT, "--scale", "--validation", "0", "--out", str(number)) == 0
        assert ("streamed" in capsys.readouterr().out) == ("--stream" in arguments)
        weights.append(keras.saving.load_model(f"{number}/model.keras").get_weights())
    for others in weights[1:]:
        for one, other in zip(weights[0], others, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)  # a step moves each by ten times that


def test_finished_it_is_not_trained_again_and_other_options_are_refused(capsys, monkeypatch):
    assert train("own.npz", *SHORT, "--plain") == 0
    first = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(training, "fit", None)
    assert train("own.npz", *SHORT, "--plain") == 0
    said = "results/train-own: finished before, with the same images, options and versions; nothing is trained."
    assert capsys.readouterr().out.splitlines() == [said, *first[1:]]
    model = keras.saving.load_model("results/train-own/model.keras")
    assert not any(isinstance(layer, DeformableConv2D) for layer in model.layers)
    assert train("own.npz", *SHORT, "--plain", "--seed", "3") == 2
    assert "results/train-own holds a training with seed=0, and this one has seed=3" in capsys.readouterr().err


def test_terminated_it_says_so_and_the_same_command_goes_on(capsys, monkeypatch):
    command = ["train", "own.npz", *SHORT, "--plain"]
    assert cli.main([*command, "--out", "whole"]) == 0
    program = """
import os, signal, sys
import keras
from deformconv import cli
from deformconv.training.progress import Progress
end = Progress.on_train_batch_end
def dies(self, batch, logs=None):
    end(self, batch, logs)
    if self.done == 6:
        os.kill(os.getpid(), signal.SIGTERM)
Progress.on_train_batch_end = dies
sys.exit(cli.main(sys.argv[1:]))
"""
    ended = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert re.search("terminated; kept after [67] of 8 steps; the same command goes on from there", ended.stderr)
    assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert re.search("own:  (75|88)%", said) and re.search("own: goes on from step [67] of 8\n", said)
    pair = (keras.saving.load_model(f"{folder}/model.keras") for folder in ("whole", "results/train-own"))
    for one, other in zip(*(model.get_weights() for model in pair), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not [name for name in os.listdir("results/train-own") if name.startswith("training.npz")]


def a_model(path, *layers, shape=(9, 7, 1)):
    keras.Sequential([keras.Input(shape), *layers]).save(path)


def test_a_model_of_ones_own_is_trained_and_pictures_take_its_size(capsys):
    shape, softmax = (6, 5, 3), keras.layers.Dense(3, "softmax")
    a_model("mine.keras", DeformableConv2D(4, 3), keras.layers.Flatten(), softmax, shape=shape)
    assert train("own", *SHORT, "--model", "mine.keras", "--precision", "float32") == 0
    assert "6 x 5 x 3, 2 classes" in capsys.readouterr().out
    before, after = (keras.saving.load_model(path) for path in ("mine.keras", "results/train-own/model.keras"))
    assert after.output_shape == (None, 3)
    assert abs(before.get_weights()[0] - after.get_weights()[0]).max() > 0


def test_half_precision_trains(capsys):
    assert train("own.npz", *SHORT, "--precision", "mixed_bfloat16") == 0
    assert keras.saving.load_model("results/train-own/model.keras").get_layer("conv12").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    "options, words",
    [
        ("nowhere", "A folder of pictures must be there; received 'nowhere'"),
        ("own --steps 0", "--steps must be at least 1; received 0"),
        ("own --accumulate 3", "`accumulate` must divide `batch_size`, 128; received 3"),
        ("own --warmup 1000", "--warmup must be from 0 to below --steps, 1000; received 1000"),
        ("own --learning-rate 0", "--learning-rate must be a number > 0; received 0.0"),
        ("own --clip-norm nan", "--clip-norm must be a number > 0; received nan"),
        ("own --max-offset -1", "--max-offset must be a number > 0; received -1.0"),
        ("own --validation 1", "--validation must be a share from 0 to below 1; received 1.0"),
        ("own --patience 3 --validation 0", "--patience must be at least 1, and needs --validation"),
        ("own --size 0 5", "--size must be at least 1 1; received 0 5"),
        ("own --precision half", "--precision must be one of float32, mixed_bfloat16, mixed_float16; received 'half'"),
        ("own --plain --modulated", "--plain has no offsets"),
        ("own --model mine.keras --plain", "--model brings its own layers"),
        ("own --model nowhere.keras", "nowhere.keras"),
        ("own.npz --size 5 5", "Size and colours can be chosen for pictures in a folder"),
        ("own --devices 99", "`devices` must be 'all' or from 1 to"),
        ("own --devices many", "--devices must be a number or `all`; received 'many'"),
        ("own.npz --model logits.keras", "--model must end in a softmax; its outputs for a black image sum up to 0"),
        ("own.npz --model few.keras", "--model must have an output for each of the 2 classes; it has 1"),
        ("own.npz --model colour.keras", r"--model must take images of \(9, 7, 1\); it takes \(9, 7, 3\)"),
        ("own.npz --model image.keras", "--model must be from images .* to .*; image.keras is from"),
        ("own.npz --model first.keras", "--model needs a model with channels last; layer 'mean' has data_format="),
        ("own.npz --model nowhere.keras", "must be a .keras file; received 'nowhere.keras', which is not there"),
        ("own.npz --model own.npy", "--model must be a .keras file; own.npy is none, or is damaged"),
        ("own.npz --model other.zip", r"--model: other.zip cannot be loaded \(.*\). Load it in Python first"),
        ("empty", "empty must have a sub-folder of pictures for each class; it has none"),
        ("hollow", r"hollow/class must have pictures \(.+\); it has none"),
        ("one", "one must have two classes or more; it has one, 'dark'"),
        ("own/dark/00.png", "Images must lie in an .npz file or in a folder; received the file 'own/dark/00.png'"),
        ("half.npz", r"half.npz cannot be read as an .npz file of numbers \(.+\)"),
        ("names.npz", "names.npz must have the arrays `x` and `y`; it has pictures, y"),
        ("lengths.npz", r"`y` of lengths.npz must have one label an image, shape \(40,\); received \(39,\)"),
        ("half", r"half/dark/00.png cannot be read as a picture \(.+\). Mend it, or take it out"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line_and_nothing_is_written(capsys, own, options, words):
    x, y = own
    os.makedirs("empty")
    os.makedirs("hollow/class")
    shutil.copytree("own/dark", "one/dark")
    shutil.copytree("own", "half")
    for whole, half in (("own.npz", "half.npz"), ("own/dark/00.png", "half/dark/00.png")):
        Path(half).write_bytes(Path(whole).read_bytes()[:40])
    np.savez("names.npz", pictures=x, y=y)
    np.savez("lengths.npz", x=x, y=y[1:])
    np.save("own.npy", x)
    shutil.copy("own.npz", "other.zip")
    if ".keras" in options:
        flat = keras.layers.Flatten
        a_model("logits.keras", flat(), keras.layers.Dense(2))
        a_model("few.keras", flat(), keras.layers.Dense(1, "softmax"))
        a_model("colour.keras", flat(), keras.layers.Dense(2, "softmax"), shape=(9, 7, 3))
        a_model("image.keras", keras.layers.Conv2D(1, 3))
        mean = keras.layers.GlobalAveragePooling2D(data_format="channels_first", name="mean")
        a_model("first.keras", mean, keras.layers.Dense(2, "softmax"))
    assert train(*options.split()) == 2
    said = capsys.readouterr().err
    assert re.fullmatch("deformconv: error: .+\n", said) and re.search(words, said), said
    assert not os.path.exists("results/train-own/model.keras")


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_a_model_with_a_layer_that_only_its_author_has_is_refused_in_a_line_with_a_way_on(capsys, monkeypatch):
    a_model("mine.keras", Doubled(), keras.layers.Flatten(), keras.layers.Dense(2, "softmax"))
    registered = keras.saving.get_custom_objects()
    monkeypatch.delitem(registered, "tests>Doubled")
    monkeypatch.setattr(Doubled, "__module__", "nowhere")
    assert train("own.npz", "--model", "mine.keras") == 2
    said = capsys.readouterr().err
    assert re.fullmatch("deformconv: error: --model: mine.keras has a part of its own, 'Doubled', .*\n", said), said
    assert "Train it from Python, where that is imported" in said


def test_a_damaged_picture_ends_a_training_in_a_line_whenever_it_is_read(capsys, own):
    """Streamed, it is read on a thread of TensorFlow's, after those of the first look; the last lie in `light`."""
    path = Path("own/light/39.png")
    path.write_bytes(path.read_bytes()[:-30])
    assert train("own", "--stream", "--steps", "10", "--batch-size", "8", "--validation", "0") == 2
    said = capsys.readouterr().err
    line = r"deformconv: error: own/light/39.png cannot be read as a picture \(.+\). Mend it, or take it out.\n"
    assert re.search(rf"(^|[\r\n]|\]){line}$", said), said
    assert "Traceback" not in said


# What is there already


def refused(capsys, *arguments):
    """What a second training says that finds the first, which it leaves as it is."""
    capsys.readouterr()
    before = {path: path.read_bytes() for path in Path("results/train-own").iterdir()}
    assert train(*arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch("deformconv: error: .* Choose another --out.*\n", said), said
    assert {path: path.read_bytes() for path in Path("results/train-own").iterdir()} == before
    return said


def test_other_images_are_not_given_the_old_numbers(capsys, own):
    assert train("own", *SHORT, "--plain") == 0
    assert train("own", *SHORT, "--plain") == 0
    assert "finished before" in capsys.readouterr().out
    shutil.copytree("own/dark", "own/more")
    said = refused(capsys, "own", *SHORT, "--plain")
    assert "holds a training on other images: 40 in 2 classes before, 60 in 3 classes now" in said
    shutil.rmtree("own/more")
    Image.fromarray(own[0][0] + 1).save("own/dark/00.png")
    assert "40 in 2 classes as before, and not the same" in refused(capsys, "own", *SHORT, "--plain")


def test_wherever_they_lie_the_same_images_are_the_same(capsys, own):
    assert train("own.npz", *SHORT, "--plain") == 0
    x, y = own
    os.makedirs("elsewhere")
    np.savez_compressed("elsewhere/own.npz", x=x, y=y)
    assert train("elsewhere/own.npz", *SHORT, "--plain") == 0
    assert "finished before" in capsys.readouterr().out
    np.savez("own.npz", x=x, y=1 - y)
    assert "and not the same" in refused(capsys, "own.npz", *SHORT, "--plain")


def test_another_version_or_model_or_no_record_is_not_gone_on_with(capsys, monkeypatch):
    layers = keras.layers.Flatten(), keras.layers.Dense(2, "softmax")
    a_model("mine.keras", *layers)
    command = ["own.npz", *SHORT, "--model", "mine.keras"]
    assert train(*command) == 0
    a_model("mine.keras", keras.layers.Flatten(), keras.layers.Dense(2, "softmax"))
    assert "began with another model" in refused(capsys, *command)

    record = Path("results/train-own/training.json")
    told = json.loads(record.read_text())
    for change, words in (
        ({"versions": told["versions"] | {"keras": "3.0"}}, "holds a training of keras 3.0, and this is keras 3"),
        ({"seen": None}, "does not say which images it saw"),
        ({"settings": [3]}, "training.json is no record of a training that this version reads"),
    ):
        record.write_text(json.dumps(told | change))
        assert words in refused(capsys, *command)
    record.write_text("{")
    assert "training.json is no record of a training" in refused(capsys, *command)
    record.unlink()
    assert "model.keras is there without a training.json that says how it was made" in refused(capsys, *command)


def test_what_ended_before_anything_was_kept_is_begun_again(capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli.main(["train", "own.npz", *SHORT, "--plain"]) == 130
    assert train("own.npz", *SHORT, "--plain", "--seed", "3") == 0


def test_help_tells_what_data_is_and_how_the_model_is_used(capsys):
    with pytest.raises(SystemExit, match="0"):
        train("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "a folder with a sub-folder of pictures for each class" in said and "keras.saving.load_model" in said
    for option in ("--patience", "--accumulate", "--precision", "--stream", "--coordinator", "--clip-norm", "--scale"):
        assert option in said
