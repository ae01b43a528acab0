"""Several devices and several machines, by means of the engines themselves: each batch is shared out among them.

JAX: any number of devices, in one process or in several that talk to each other (`keras.distribution.DataParallel`,
`jax.distributed`). TensorFlow: the devices of one machine (`tf.distribute.MirroredStrategy`). PyTorch: one device.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import keras
import numpy as np

# So long processes wait for each other at the beginning; a peer that says nothing for so long is taken for dead.
MEETING_SECONDS, HEARTBEAT_SECONDS = 300, 30

_process = (0, 1)


class PeerLost(OSError):
    """Another process of the same training has died."""


@contextmanager
def spread(
    devices: int | Literal["all"] = "all",
    coordinator: str | None = None,
    process: tuple[int, int] = (0, 1),
) -> Iterator[None]:
    """Models that are made and trained inside share each batch among devices, weights being the same on all of them.

    Args:
        devices: how many of this machine's devices, or `"all"`.
        coordinator: `"host:port"` on which process 0 listens, where there are several; JAX only. Keras must not have
            computed anything before.
        process: `(number, how many)` of this process; each brings its own devices, all of them.

    Raises:
        ValueError: if the engine cannot do so, or there are not that many devices.
        PeerLost: if another process dies on the way. End this one by `os._exit` then: in good order it would wait for
            the other. If one does not come in the beginning, or the first dies, the process is ended with a message.
    """
    engine = keras.backend.backend()
    number, count = process
    if not 0 <= number < count:
        raise ValueError(f"`process` must be a number from 0 and how many there are; received {number} of {count}.")
    if (count > 1) != (coordinator is not None):
        raise ValueError("`coordinator` and `process` belong together: several processes meet at one address.")
    if count > 1 and engine != "jax":
        raise ValueError(f"Several processes need the JAX engine (KERAS_BACKEND=jax); this is {engine}.")
    if count > 1 and devices != "all":
        raise ValueError(f"With several processes `devices` must be 'all'; received {devices!r}.")
    with _met(coordinator, number, count), _shared_out(engine, devices):
        yield


@contextmanager
def _shared_out(engine: str, devices: int | Literal["all"]) -> Iterator[None]:
    names = _chosen(devices)
    if len(names) == 1:
        yield
    elif engine == "jax":
        before = keras.distribution.distribution()
        # Each process feeds its own share of a batch, so Keras has nothing to divide.
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)
    elif engine == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(names).scope():
            yield
    else:
        raise ValueError(f"PyTorch trains on one device here; received {len(names)}. JAX and TensorFlow take several.")


def _chosen(devices: int | Literal["all"]) -> list[str]:
    names = engine_devices()
    accelerators = [name for name in names if not name.lower().startswith("cpu")]
    names = accelerators or names
    if devices == "all":
        return names
    if not 1 <= devices <= len(names):
        raise ValueError(f"`devices` must be 'all' or from 1 to {len(names)}, which are here; received {devices}.")
    return names[:devices]


@contextmanager
def _met(coordinator: str | None, number: int, count: int) -> Iterator[None]:
    """All processes come together at the beginning and at the end, unless there is only one."""
    global _process
    if count == 1:
        yield
        return
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    with _ending(f"Process {number} of {count} has waited {MEETING_SECONDS} s for the others at {coordinator}."):
        jax.distributed.initialize(
            coordinator,
            count,
            number,
            initialization_timeout=2 * MEETING_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    _process = number, count
    try:
        yield
    except Exception as error:
        if "Gloo" not in str(error):
            raise
        raise PeerLost(
            f"Process {number} of {count} has lost another: see what that one says. Start all of them again; they go "
            "on from the last checkpoint."
        ) from error
    jax.distributed.shutdown()
    _process = 0, 1


@contextmanager
def _ending(message: str) -> Iterator[None]:
    """Whoever is inside for too long is ended, with the message: JAX would end it as well, with a page of addresses."""

    def end() -> None:
        print(f"{message} Is each of them started, with this address?", file=sys.stderr, flush=True)
        os._exit(2)

    timer = threading.Timer(MEETING_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def engine_devices() -> list[str]:
    """What the engine in use can compute on here: `"gpu:0"`, `"cpu:0"` and the like."""
    if keras.backend.backend() != "torch":
        return keras.distribution.list_devices()
    import torch  # which Keras has no list for

    found = [f"gpu:{number}" for number in range(torch.cuda.device_count())]
    return found or ["mps:0" if torch.backends.mps.is_available() else "cpu:0"]


def this_process() -> tuple[int, int]:
    """The number of this process and how many there are."""
    return _process


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return this_process()[0] == 0


def count() -> int:
    """Among how many devices a batch is shared."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def first_says(number: int) -> int:
    """What process 0 gives here; every process must come by."""
    if this_process()[1] == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def anyone_says(flag: bool) -> bool:
    """Whether any process gives True here; every process must come by."""
    if this_process()[1] == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.int32(flag)).any())


@contextmanager
def alone() -> Iterator[None]:
    """Inside, models are of this process alone again: for tests, which need no sharing out."""
    before = keras.distribution.distribution()
    if before:
        keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        if before:
            keras.distribution.set_distribution(before)
