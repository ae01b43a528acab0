"""Several devices and several processes give what one gives; what cannot be is refused; a dead one ends the others."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from deformconv.training import devices

ENGINE = keras.backend.backend()
PATIENCE = 600  # seconds; each process imports an engine, two at a time, on whatever machine this is
needs_jax = pytest.mark.skipif(ENGINE != "jax", reason="several processes need JAX")
# A few devices that are one processor; then the losses and weights of two looks on them.
VIRTUAL = """
import os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    one = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(one, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
"""
PROGRAM = (
    VIRTUAL
    + """
import json
options = json.loads(sys.argv[2])
import keras, numpy as np
from deformconv.layers import DeformableConv2D
from deformconv import training
from deformconv.training import devices
from deformconv.training.scaling import Scaling

devices.MEETING_SECONDS = options.get("meeting", 600)
rng = np.random.default_rng(0)
images, labels = rng.uniform(size=(60, 9, 7, 1)).astype("float32"), rng.integers(0, 10, size=60)

class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if options.get("dies_at") == batch:
            os.kill(os.getpid(), options["how"])

def train(validation):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((9, 7, 1))
    # No bias: BatchNorm takes it off again, so its gradient is rounding alone, and Adam makes whole steps of that.
    x = DeformableConv2D(4, (3, 2), use_bias=False, name="deformable")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(10, "softmax")(x))
    told = training.fit(model, images, labels, steps=8, batch_size=12, learning_rate=0.01, seed=1, scaling=Scaling(),
        every=4, validation=validation, callbacks=[Die()], **options.get("fit", {}))
    return told, model.get_weights()

try:
    with devices.spread(options.get("devices", "all"), options.get("coordinator"), options.get("process", (0, 1))):
        spread = devices.count()
        told, weights = train((images[:17], labels[:17]))
except devices.PeerLost as error:
    print(error, flush=True)
    os._exit(5)
print(json.dumps({"devices": spread, "told": told, "weights": [w.ravel().tolist() for w in weights]}))
"""
)


def environment(virtual=1):
    of_jax = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={virtual}"}
    return {**os.environ, **of_jax, "KERAS_BACKEND": ENGINE, "TF_CPP_MIN_LOG_LEVEL": "3"}


def start(virtual=1, **options):
    command = [sys.executable, "-c", PROGRAM, str(virtual), json.dumps(options)]
    return subprocess.Popen(
        command, env=environment(virtual), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process):
    """What it said, on either stream. Patience is for slow machines; nothing waits for it."""
    try:
        return process.communicate(timeout=PATIENCE)
    finally:
        process.kill()


def outcome(process):
    out, error = ended(process)
    assert process.returncode == 0, error[-3000:]
    return json.loads(out.splitlines()[-1])


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start_two(of_the_first=None, of_the_second=None, **options):
    address = free_address()
    first = start(coordinator=address, process=(0, 2), **{**options, **(of_the_first or {})})
    return first, start(coordinator=address, process=(1, 2), **{**options, **(of_the_second or {})})


@pytest.fixture(scope="module")
def alone():
    return outcome(start())


def assert_same(one, other):
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        assert one["told"][name] == pytest.approx(other["told"][name], rel=1e-5), name
    for mine, yours in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(mine, yours, atol=2e-5)


@pytest.mark.skipif(ENGINE == "torch", reason="PyTorch trains on one device here")
def test_several_devices_give_what_one_gives(alone):
    several = outcome(start(virtual=3))
    assert several["devices"] == 3 and alone["devices"] == 1
    assert_same(several, alone)


@pytest.mark.skipif(ENGINE == "torch", reason="PyTorch trains on one device here")
def test_some_of_the_devices_with_images_that_are_sent_along(alone):
    several = outcome(start(virtual=3, devices=2, fit={"resident": False}))
    assert several["devices"] == 2
    assert_same(several, alone)


@pytest.mark.skipif(ENGINE == "torch", reason="PyTorch trains on one device here")
def test_parts_of_a_batch_on_several_devices_are_those_of_one_or_are_refused():
    fit = {"accumulate": 2}  # BatchNorm sees other batches than without
    several = start(virtual=3, fit=fit)
    if ENGINE == "jax":
        assert_same(outcome(several), outcome(start(fit=fit)))
    else:
        assert "`accumulate` must be 1 with several devices on TensorFlow" in ended(several)[1]


@needs_jax
def test_two_processes_give_what_one_gives(alone):
    for process in start_two():
        told = outcome(process)
        assert told["devices"] == 2
        assert_same(told, alone)


@needs_jax
def test_two_processes_go_on_from_one_checkpoint(alone, tmp_path):
    """Ended in the first half, and started again; images are sent along, and only one of the two writes."""
    fit = {"checkpoint": str(tmp_path / "training.npz"), "logs": str(tmp_path / "logs"), "resident": False}
    for process in start_two(fit=fit, of_the_second={"dies_at": 1, "how": signal.SIGTERM}):
        _, error = ended(process)
        assert process.returncode == 128 + signal.SIGTERM, error[-3000:]  # both of them, at the look
    for process in start_two(fit=fit):
        assert_same(outcome(process), alone)
    lines = (tmp_path / "logs" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8]


@pytest.fixture
def own_model(tmp_path):
    """The options of `deformconv train` for a small model of one's own in `tmp_path`, and its first weights."""
    inputs = keras.Input((5, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(inputs)))
    model.save(tmp_path / "mine.keras")
    np.savez(tmp_path / "own.npz", x=np.zeros((40, 5, 4), "uint8"), y=np.arange(40) % 2)
    options = ["train", "own.npz", "--model", "mine.keras", "--steps", "4", "--batch-size", "6", "--out", "made"]
    return options, model.get_weights()


@pytest.mark.skipif(ENGINE == "torch", reason="PyTorch trains on one device here")
def test_the_command_trains_a_model_of_ones_own_on_several_devices(own_model, tmp_path):
    """Three of them: a batch that three cannot share is refused."""
    options, before = own_model
    command = [
        sys.executable,
        "-c",
        VIRTUAL + "from deformconv.cli import main; sys.exit(main(sys.argv[2:]))",
        "3",
        *options,
    ]
    command += ["--devices", "all"]
    how = {"cwd": tmp_path, "env": environment(virtual=3), "capture_output": True, "text": True}
    refused = subprocess.run([*command, "--batch-size", "7"], **how)
    assert refused.returncode != 0 and "Each of the 3 devices" in refused.stdout + refused.stderr
    process = subprocess.run(command, **how)
    assert process.returncode == 0, process.stderr
    after = keras.saving.load_model(tmp_path / "made/model.keras").get_weights()
    assert abs(before[1] - after[1]).max() > 0


@needs_jax
def test_the_command_trains_a_model_of_ones_own_with_two_processes(own_model, tmp_path):
    """They meet in one folder; the first writes the model, and only it tells."""
    options, before = own_model
    command = [sys.executable, "-m", "deformconv.cli", *options, "--coordinator", free_address(), "--process"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*command, f"{i}/2"], cwd=tmp_path, env=environment(), **streams) for i in range(2)]
    (out, error), (quiet, other) = map(ended, both)
    assert [process.returncode for process in both] == [0, 0], error + other
    assert "36 images to train on, 4 for validation" in out and "images to train on" not in quiet
    after = keras.saving.load_model(tmp_path / "made/model.keras").get_weights()
    assert abs(before[1] - after[1]).max() > 0


@needs_jax
def test_when_the_second_dies_the_first_says_so_and_ends():
    first, second = start_two(of_the_second={"dies_at": 1, "how": signal.SIGKILL})
    second.wait(timeout=PATIENCE)
    began = time.monotonic()
    out, error = ended(first)
    assert first.returncode == 5, error[-3000:]
    assert "Process 0 of 2 has lost another: see what that one says. Start all of them again" in out
    assert time.monotonic() - began < 2 * devices.HEARTBEAT_SECONDS
    ended(second)


@needs_jax
def test_when_the_first_dies_the_second_ends():
    """It may not get to say so itself: JAX ends a process that loses its coordinator, with a message of its own."""
    first, second = start_two(of_the_first={"dies_at": 1, "how": signal.SIGKILL})
    first.wait(timeout=PATIENCE)
    began = time.monotonic()
    out, error = ended(second)
    assert second.returncode not in (0, None)
    assert "has lost another" in out or "another task died" in error or "coordination service" in error
    assert time.monotonic() - began < 2 * devices.HEARTBEAT_SECONDS
    ended(first)


@needs_jax
@pytest.mark.parametrize("number", [0, 1])
def test_when_nobody_comes_it_says_so_and_ends(number):
    address = free_address()
    process = start(coordinator=address, process=(number, 2), meeting=3)
    _, error = ended(process)
    assert process.returncode == 2
    assert f"Process {number} of 2 has waited 3 s for the others at {address}. Is each of them started" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"devices": 99}, "`devices` must be 'all' or from 1 to [0-9]+, which are here; received 99"),
        ({"devices": 0}, "received 0"),
        ({"process": (2, 2)}, "`process` must be a number from 0 and how many there are; received 2 of 2"),
        ({"process": (0, 2)}, "`coordinator` and `process` belong together"),
        ({"coordinator": "127.0.0.1:9"}, "`coordinator` and `process` belong together"),
        ({"coordinator": "127.0.0.1:9", "process": (0, 2), "devices": 1}, "must be 'all'|need the JAX engine"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message), devices.spread(**arguments):
        pass


def test_several_processes_need_jax():
    if ENGINE == "jax":
        pytest.skip("this is it")
    several = devices.spread(coordinator="127.0.0.1:9", process=(0, 2))
    with pytest.raises(ValueError, match=f"need the JAX engine .*this is {ENGINE}"), several:
        pass


@pytest.mark.skipif(ENGINE == "torch", reason="PyTorch trains on one device here")
def test_a_batch_that_cannot_be_shared_out_is_refused():
    process = start(virtual=5)
    _, error = ended(process)
    assert "Each of the 5 devices must have as many images of a step as the next; received batch_size=12" in error
