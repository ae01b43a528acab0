"""One contender of `gpu.py`, a process of its own: it answers lines of JSON on its standard output.

prepare: build, run once, write a sample of the results for the parent to check; calibrate: how many calls make a turn,
and their memory; round: the seconds of one call, over that many; reference: results in strict float32; drop.
"""

import gc
import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path

import numpy as np

OFFSET_SCALE = 2  # pixels, standard deviation: neighbours, now and then outside the image
SAMPLE = 1 << 20  # elements of a result that are compared; they lie anywhere in it
WARM_UP_CALLS = 3


def main(name, device):
    # Whatever a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.modules["tensorflow"] = None  # a machine without it: no engine measured here may ask for it
    contender = None

    def answer(**content):
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        contender = _contender(name, device)
        answer(device=contender.device_name, versions=contender.versions())
    except Exception as error:
        answer(error=_told(error))
        return 1
    for line in sys.stdin:
        question = json.loads(line)
        try:
            content = getattr(contender, question.pop("do"))(**question)
        except Exception as error:
            content = {"error": _told(error)}
        if "error" in content:  # only now: until here the error's traceback held the tensors of the call
            contender.drop()
        answer(**content)
    return 0


def _told(error):
    """One line for the report; the whole of it goes to the log."""
    traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name in ("keras", "namex", "optree"):
        text += ": give a folder with wheels of keras, namex and optree by --wheels"
    return f"{type(error).__name__}: {text}"[:500]


def _contender(name, device):
    import gpu_report

    engine = gpu_report.CONTENDERS[name]["engine"]
    contender = {"torch": Torch, "jax": Jax}[engine](name, device)
    if name.startswith("deformconv"):
        import keras

        from deformconv import deform_conv2d  # noqa: F401  (here, for an error at the start)

        if keras.backend.backend() != engine:
            raise RuntimeError(f"Keras runs on {keras.backend.backend()}, not on {engine}")
    return contender


def arrays_of(case, seed):
    """The numbers that all contenders get, in Keras's layout, and the gradient that comes from above."""
    batch, height, width = case["batch"], case["height"], case["width"]
    channels, filters, (kh, kw) = case["channels"], case["filters"], case["kernel_size"]

    def normal(stream, *shape):
        return np.random.default_rng([seed, stream]).standard_normal(shape, dtype="float32")

    arrays = {
        "inputs": normal(0, batch, height, width, channels),
        "offsets": normal(1, batch, height, width, kh * kw * 2) * OFFSET_SCALE,
        "kernel": normal(2, kh, kw, channels, filters) / (kh * kw * channels) ** 0.5,
    }
    if case["mask"]:
        arrays["mask"] = 1 / (1 + np.exp(-normal(3, batch, height, width, kh * kw)))
    return arrays, normal(4, batch, height, width, filters)


def corner_rows(case, offsets):
    """The row of pixels under each corner of each sampling point, held within its image: `(4 * points,)`."""
    batch, height, width = offsets.shape[:3]
    kh, kw = case["kernel_size"]
    taps = np.stack(np.meshgrid(np.arange(kh) - kh // 2, np.arange(kw) - kw // 2, indexing="ij"), -1).reshape(-1, 2)
    here = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    corner = np.floor(offsets.reshape(batch, height, width, kh * kw, 2)).astype("int32")
    corner += (here[:, :, None] + taps).astype("int32")
    first = (np.arange(batch, dtype="int32") * (height * width))[:, None, None, None]
    rows = []
    for down in (0, 1):
        for right in (0, 1):
            y = np.clip(corner[..., 0] + down, 0, height - 1)
            x = np.clip(corner[..., 1] + right, 0, width - 1)
            rows.append((first + y * width + x).reshape(-1))
    return np.concatenate(rows)


class Contender:
    """What the engines share: checking and timing. `self.call()` runs the case and returns its results by name."""

    def __init__(self, name, device):
        self.name, self.call = name, None
        self.kind = name.partition("-")[0]  # conv, torchvision, deformconv or gather
        self._connect(device)

    def prepare(self, case, precision, direction, seed, folder):
        return self._first_call(case, direction, seed, Path(folder) / f"{self.name}.npz", precision, precision)

    def reference(self, case, precision, direction, seed, folder):
        """In strict float32, of the numbers that this precision rounds the inputs to."""
        file = Path(folder) / f"{self.name}-reference.npz"
        answer = self._first_call(case, direction, seed, file, "float32", precision)
        self.drop()
        return answer

    def _first_call(self, case, direction, seed, file, precision, rounded):
        self.drop()
        arrays, upstream = arrays_of(case, seed)
        index = corner_rows(case, arrays["offsets"]) if self.kind == "gather" else None
        used = {"conv": ("inputs", "kernel"), "gather": ("inputs",)}.get(self.kind, tuple(arrays))
        arrays = {name: arrays[name] for name in used}
        begun = time.perf_counter()
        notes = self._build(arrays, index, upstream, precision, rounded, direction == "forward+backward") or {}
        results = self.call()
        self._wait(results)
        notes["first_call"] = time.perf_counter() - begun
        np.savez(file, **self._sampled(results, seed))
        results = None
        self._release()
        return {"file": str(file), **notes}

    def _sampled(self, results, seed):
        samples = {}
        for name, result in results.items():
            size = int(np.prod(result.shape))
            at = None
            if size > SAMPLE:
                at = np.random.default_rng([seed, 5]).integers(0, size, SAMPLE)
            samples[name] = self._numpy(name, result, at)
        return samples

    def calibrate(self, round_seconds):
        for _ in range(WARM_UP_CALLS):
            self._wait(self.call())
        dispatches, wholes = [], []
        for _ in range(5):
            begun = time.perf_counter()
            results = self.call()
            dispatches.append(time.perf_counter() - begun)
            self._wait(results)
            wholes.append(time.perf_counter() - begun)
            results = None
        # The first turns show what a call takes when the next is already waiting.
        calls = max(1, int(round_seconds / statistics.median(wholes)))
        calls = min(max(1, int(round_seconds / self.round(calls)["seconds"])), 10_000)
        return {"calls": calls, "dispatch": statistics.median(dispatches), **self._peak()}

    def round(self, calls):
        results = self.call()  # caches and clocks as the call before would leave them
        self._wait(results)
        begun = time.perf_counter()
        for _ in range(calls):
            results = None  # never two results at once
            results = self.call()
        self._wait(results)
        seconds = (time.perf_counter() - begun) / calls
        results = None
        self._release()
        return {"seconds": seconds}

    def _release(self):
        """Leaves unused memory to the others."""


class Torch(Contender):
    def _connect(self, device):
        import torch

        if device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        self.device_name = torch.cuda.get_device_name() if device == "gpu" else "cpu"
        if self.kind == "torchvision":
            import torchvision
            from torchvision.ops import deform_conv2d

            try:  # it imports where its compiled half does not load
                one = torch.ones(1, 1, 1, 1, device=self.device)
                deform_conv2d(one, torch.zeros(1, 2, 1, 1, device=self.device), one)
            except RuntimeError as error:
                raise RuntimeError(f"torchvision {torchvision.__version__} has no such operator: {error}") from None

    def versions(self):
        import torch

        return {"cuda (torch)": torch.version.cuda, "cudnn (torch)": torch.backends.cudnn.version()}

    def drop(self):
        self.call = None
        gc.collect()
        self._release()
        return {}

    def _release(self):
        import torch

        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _wait(self, results):
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _peak(self):
        import torch

        if self.device.type != "cuda":
            return {"peak_bytes": None, "peak_from": None}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._wait(self.call())
        self._release()
        return {"peak_bytes": torch.cuda.max_memory_allocated(), "peak_from": "torch.cuda.max_memory_allocated"}

    def _numpy(self, name, result, at):
        import torch

        if not torch.isfinite(result).all():
            raise ArithmeticError(f"{name}: not finite")
        # back to Keras's layout
        if self.kind in ("conv", "torchvision"):
            result = result.permute(2, 3, 1, 0) if name == "gradient of kernel" else result.permute(0, 2, 3, 1)
        flat = result.reshape(-1)
        if at is not None:
            flat = flat[torch.from_numpy(at).to(self.device)]
        return flat.detach().float().cpu().numpy()

    def _build(self, arrays, index, upstream, precision, rounded, backward):
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

        def put(name, array):
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
            if name == "offsets":  # they name a pixel and a fraction: never less than float32
                return tensor
            return (tensor.to(torch.bfloat16) if rounded == "bfloat16" else tensor).to(dtype)

        tensors = {name: put(name, array) for name, array in arrays.items()}
        above = put("upstream", upstream)
        notes = {}
        if self.kind == "conv":
            tensors["inputs"] = tensors["inputs"].permute(0, 3, 1, 2)  # in memory still channels-last
            tensors["kernel"] = tensors["kernel"].permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            above = above.permute(0, 3, 1, 2)

            def function(inputs, kernel):
                return torch.nn.functional.conv2d(inputs, kernel, padding=1)

        elif self.kind == "torchvision":
            from torchvision.ops import deform_conv2d

            # Its own layout, channels first: turning the tensors around is not timed.
            kernel = tensors.pop("kernel").permute(3, 2, 0, 1).contiguous()
            tensors = {name: tensor.permute(0, 3, 1, 2).contiguous() for name, tensor in tensors.items()}
            tensors = {"inputs": tensors.pop("inputs"), "offsets": tensors.pop("offsets"), "kernel": kernel, **tensors}
            above = above.permute(0, 3, 1, 2).contiguous()

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, padding=1, mask=mask)

        elif self.kind == "gather":
            tensors["inputs"] = tensors["inputs"].reshape(-1, tensors["inputs"].shape[-1])
            at = torch.from_numpy(index).to(self.device)
            above = None
            notes["bytes_read"] = notes["bytes_written"] = at.numel() * tensors["inputs"][0].nbytes

            def function(inputs):
                return torch.index_select(inputs, 0, at)

        else:
            from deformconv import deform_conv2d

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, mask=mask, padding=1)

            if self.name.endswith("compile"):
                torch._dynamo.reset()  # else its limit of recompilations would leave later cases uncompiled
                torch._dynamo.utils.counters.clear()
                function = torch.compile(function, dynamic=False)

        arguments = list(tensors.values())
        if above is None and backward:
            above = torch.ones_like(function(*arguments))

        def forward():
            with torch.no_grad():
                return {"outputs": function(*arguments)}

        def both():
            outputs = function(*arguments)
            gradients = torch.autograd.grad(outputs, arguments, above)
            named = {f"gradient of {name}": g for name, g in zip(tensors, gradients, strict=True)}
            return {"outputs": outputs, **named}

        for tensor in arguments:
            tensor.requires_grad_(backward)
        self.call = both if backward else forward
        if self.name.endswith("compile"):
            self.call()
            notes["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        return notes


class Jax(Contender):
    def _connect(self, device):
        import jax

        self.device = jax.devices()[0]
        if device == "gpu" and self.device.platform not in ("gpu", "cuda"):
            raise RuntimeError(f"JAX {jax.__version__} sees no GPU, only {self.device.platform}")
        self.device_name = self.device.device_kind

    def versions(self):
        return {}

    def drop(self):
        import jax

        self.call = None
        gc.collect()
        jax.clear_caches()
        return {}

    def _wait(self, results):
        import jax

        jax.block_until_ready(results)

    def _peak(self):
        # The device's own statistics (memory_stats) know only the highest peak since the process began.
        return {"peak_bytes": self.planned_bytes, "peak_from": "XLA's plan: arguments, results, temporaries"}

    def _numpy(self, name, result, at):
        import jax.numpy as jnp

        if not bool(jnp.isfinite(result).all()):
            raise ArithmeticError(f"{name}: not finite")
        flat = result.reshape(-1)
        if at is not None:
            flat = flat[at.astype("int32")]  # the largest case has fewer than 2^31 elements
        return np.asarray(flat.astype("float32"))

    def _build(self, arrays, index, upstream, precision, rounded, backward):
        import jax
        import jax.numpy as jnp

        names = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
        jax.config.update("jax_default_matmul_precision", names[precision])
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32

        def put(name, array):
            array = jax.device_put(array, self.device)
            if name == "offsets":  # they name a pixel and a fraction: never less than float32
                return array
            return (array.astype(jnp.bfloat16) if rounded == "bfloat16" else array).astype(dtype)

        tensors = {name: put(name, array) for name, array in arrays.items()}
        above = put("upstream", upstream)
        notes, at = {}, ()
        if self.kind == "conv":

            def function(inputs, kernel):
                layout = ("NHWC", "HWIO", "NHWC")
                return jax.lax.conv_general_dilated(inputs, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)

        elif self.kind == "gather":
            tensors["inputs"] = tensors["inputs"].reshape(-1, tensors["inputs"].shape[-1])
            at = (jax.device_put(index, self.device),)
            above = None
            notes["bytes_read"] = notes["bytes_written"] = index.size * tensors["inputs"][0].nbytes

            def function(inputs, at):
                return jnp.take(inputs, at, axis=0, mode="clip")  # JAX's own would check every index

        else:
            from deformconv import deform_conv2d

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, mask=mask, padding=1)

        arguments = list(tensors.values())

        def forward(above, at, *arguments):
            return {"outputs": function(*arguments, *at)}

        def both(above, at, *arguments):
            outputs, pull_back = jax.vjp(lambda *a: function(*a, *at), *arguments)
            gradients = pull_back(above)
            named = {f"gradient of {name}": g for name, g in zip(tensors, gradients, strict=True)}
            return {"outputs": outputs, **named}

        if above is None and backward:
            above = jnp.ones(jax.eval_shape(function, *arguments, *at).shape, dtype)
        compiled = jax.jit(both if backward else forward)
        above = above if backward else None
        plan = compiled.lower(above, at, *arguments).compile().memory_analysis()
        sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
        self.planned_bytes = sum(getattr(plan, size) for size in sizes) if plan else None
        self.call = lambda: compiled(above, at, *arguments)
        return notes
