"""How far a training is: its bar, and its end by SIGTERM."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from tqdm.auto import tqdm

from deformconv.training import devices


class Terminated(SystemExit):
    """SIGTERM came; the training's state is kept, and the same call goes on from it."""

    def __init__(self, message: str):
        super().__init__(128 + signal.SIGTERM)
        self.message = message


class Progress(keras.callbacks.Callback):
    """Counts the steps of a training, in as many parts as it has, and shows them with the loss and accuracy so far.

    Args:
        steps, done: in all, and before this process took it up.
        description: in front of the bar; None for none.
        accumulate: how many of Keras's steps are one.

    Attributes:
        done: steps so far.
        terminated: whether SIGTERM has come while `listening`; the step is ended then, and the part with it.
        seconds: after which a part is ended with its step, too.
    """

    def __init__(self, steps: int, done: int, description: str | None, accumulate: int = 1):
        super().__init__()
        self.done, self.before, self.accumulate = done, done, accumulate
        self.terminated = False
        self.seconds, self.began = float("inf"), 0.0
        self.bar = None
        if description and devices.is_first():
            self.bar = tqdm(total=steps, initial=done, desc=description, unit="step", mininterval=1)

    @contextmanager
    def listening(self, active: object) -> Iterator[None]:
        """Inside, SIGTERM is heeded at the end of a step, if `active` (and in the main thread, which alone can)."""
        if not active or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _on_signal(self, *_: object) -> None:
        self.terminated = True

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.before, self.began = self.done, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Keras counts whole calls: with several steps a call, the last may seem to pass the end.
        whole, rest = divmod(min(batch + 1, self.params["steps"]), self.accumulate)
        done, self.done = self.done, self.before + whole
        enough = self.terminated or time.monotonic() - self.began > self.seconds
        # Several processes stop together, at the next look.
        if enough and not rest and devices.this_process()[1] == 1:
            self.model.stop_training = True
        if self.bar is not None:
            self.bar.update(self.done - done)
            self.bar.set_postfix({name: f"{float(value):.3f}" for name, value in (logs or {}).items()}, refresh=False)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.bar is not None and self.done == self.bar.total:
            self.bar.close()
