"""What the worker asks of a contender, whatever it computes with."""

import gc

import numpy as np


class Runner:
    """A contender in its process.

    Once it has loaded a case, `forward()` and `backward()` compute and return results by name: "outputs", and, of
    `backward`, "gradient of inputs" and so on. They may return before the work is done; `wait` waits for it. `backward`
    is None where there are no gradients. Whatever layout a contender wants, it gets before the clock runs.
    """

    reads = ("inputs", "offsets", "kernel", "mask")  # of a case's numbers; these are differentiated as well
    channels_first = False
    forward = backward = None

    def __init__(self, device):
        self.device = device  # "cpu" or "gpu"
        self.device_name = self.connect()

    def connect(self) -> str:
        """Finds the device, and says what it is called."""
        return "cpu"

    def versions(self) -> dict[str, str]:
        """Of what no package tells: CUDA, cuDNN."""
        return {}

    def load(self, case, given, precision, rounded):
        """Makes `forward` and `backward`.

        Args:
            case: a `cases.Case`.
            given: its numbers, as `cases.tensors` makes them.
            precision: "float32" (strictly), "tf32" or "bfloat16", to compute in.
            rounded: the precision that the numbers are rounded to before.
        """
        raise NotImplementedError

    def read(self, given) -> dict[str, np.ndarray]:
        """Of a case's numbers, those that this contender reads."""
        return {name: given[name] for name in self.reads if given[name] is not None}

    def notes(self, direction) -> dict:
        """What else is to be told of a direction, after its first call."""
        return {}

    def wait(self, results):
        """Returns when these results are there."""

    def array(self, name, result, at=None) -> np.ndarray:
        """A result as an array with channels last, or its elements `at` these places; an error if one is not finite."""
        array = np.asarray(result)
        if not np.isfinite(array).all():
            raise ArithmeticError(f"{name}: not finite")
        if self.channels_first:
            array = array.transpose(channels_last(name))
        return array if at is None else array.reshape(-1)[at]

    def peak(self, direction) -> dict:
        """The most memory of the device that a call takes: `peak`, in megabytes, and `peak_from`, who says so."""
        return {}

    def release(self):
        """Leaves memory that is not used to the others."""

    def drop(self):
        """Forgets the case."""
        self.forward = self.backward = None
        gc.collect()
        self.release()


def channels_last(name):
    """The order of axes that turns a result with channels first into one with channels last."""
    return (2, 3, 1, 0) if name == "gradient of kernel" else (0, 2, 3, 1)


def check_engine(engine):
    """This package computes on Keras's engine, which must be the one that is measured."""
    import keras

    if keras.backend.backend() != engine:
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}, not on {engine}")
