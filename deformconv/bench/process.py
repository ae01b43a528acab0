"""A contender's process, as seen by the one that compares. Questions and answers are lines of JSON; see `worker`."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time

from deformconv.bench.contenders import CONTENDERS
from deformconv.bench.machine import ROOT


class Process:
    """Starts when it is first asked, and again after it has fallen: perhaps the next case suits it better.

    Args:
        name: of the contender.
        device: a `devices.Device`.
        place: "cpu" or "gpu", where it computes; None for the device's own.
        threads: of a contender on the CPU.
    """

    def __init__(self, name, device, *, place=None, threads=1):
        self.name, self.device, self.place, self.threads = name, device, place or device.name, threads
        self.process, self.answers, self.log = None, None, None

    def start(self):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deformconv.bench.worker", self.name, self.device.name, self.place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=self._environment(),
            text=True,
        )
        if self.device.name == "cpu" and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[: self.threads]
            os.sched_setaffinity(self.process.pid, cores)  # for libraries that count processors and take them all
        self.answers = queue.Queue()
        threading.Thread(target=_read, args=(self.process, self.answers), daemon=True).start()

    def _environment(self):
        path = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        environment = os.environ | CONTENDERS[self.name].environment | {"PYTHONPATH": os.pathsep.join(path)}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_ENABLE_X64": "0"}
        if self.device.name == "cpu":
            for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS"):
                environment[variable] = str(self.threads)
            environment["DEFORMCONV_BENCH_THREADS"] = str(self.threads)
        else:
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else JAX takes most of the memory that all share
        if self.place == "cpu":
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "KERAS_TORCH_DEVICE": "cpu"}
        return environment

    def ask(self, do, **question) -> dict:
        """The answer; where there is none, `failed` says why."""
        self.tell(do, **question)
        return self.answer()

    def tell(self, do, **question):
        """Asks, and does not wait for the answer."""
        if self.process is None:
            self.start()
        with contextlib.suppress(OSError):  # it has died, which `answer` tells
            print(json.dumps({"do": do, **question}), file=self.process.stdin, flush=True)

    def answer(self) -> dict:
        try:
            line = self.answers.get(timeout=self.device.answer_seconds)
        except queue.Empty:
            self.stop()
            return {"failed": f"no answer in {self.device.answer_seconds:.0f} s; stopped"}
        if line is None:
            self.log.seek(0)
            last_words = " ".join(self.log.read().split()[-40:])
            self.stop()
            return {"failed": f"it died: {last_words}"}
        time.sleep(self.device.pause)
        return json.loads(line)

    def leave_case(self):
        """Ends what a case began: the process where each case has its own, else what it holds."""
        if not self.device.one_process:
            self.stop()
        elif self.process is not None:
            self.ask("drop")

    def stop(self):
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _read(process, answers):
    for line in process.stdout:
        answers.put(line)
    answers.put(None)
