"""Where the time goes: the parts of what costs more than one would like, each timed beside the whole.

    python -m deformconv.bench.account [FILE]

Each engine that is installed has a process of its own, in which all functions take turns. Beside the times: the peak of
memory of the masked reference case with gradients, above that of the process before; and what `import deformconv` and
`deformconv --help` cost. Prints tables, and writes FILE as JSON.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time

from deformconv.bench.files import write
from deformconv.bench.machine import peak_memory

BATCH, SIZE, CHANNELS, TAPS, ROUNDS = 8, 56, 64, 9, 15
ENGINES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}  # and what must be importable
PRODUCT = 2e-9 * BATCH * SIZE**2 * TAPS * CHANNELS * CHANNELS  # billions of operations


def of_engine() -> dict:
    """The account of Keras's engine: milliseconds of each part, and megabytes."""
    import keras
    import numpy as np

    from deformconv import deform_conv2d

    rng = np.random.default_rng(0)

    def normal(*shape, scale=1.0, dtype="float32"):
        return keras.ops.cast(scale * rng.standard_normal(shape, dtype="float32"), dtype)

    images, offsets = normal(BATCH, SIZE, SIZE, CHANNELS), normal(BATCH, SIZE, SIZE, 2 * TAPS, scale=2)
    kernel, mask = normal(3, 3, CHANNELS, CHANNELS, scale=0.04), keras.ops.abs(normal(BATCH, SIZE, SIZE, TAPS))

    def masked(x, o, k, m):
        return deform_conv2d(x, o, k, mask=m, padding="same")

    small = _compiled(masked, [normal(1, 4, 3, 2), normal(1, 4, 3, 18), normal(3, 3, 2, 2), normal(1, 4, 3, 9)], True)
    small()
    idle = _resident()
    _compiled(masked, [images, offsets, kernel, mask], True)()
    memory = round(peak_memory() - idle)

    times = {}
    for dtype in ("float32", "bfloat16") if keras.backend.backend() == "tensorflow" else ("float32",):
        times |= _taking_turns(_convolutions(images, offsets, kernel, dtype))
    if keras.backend.backend() == "tensorflow":
        times |= _taking_turns(_layers(images, rng))
    return {"milliseconds": times, "memory": memory}


def _resident() -> float:
    """The memory that the process holds now, in megabytes."""
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize() / 1e6


def _convolutions(images, offsets, kernel, dtype):
    """The deformable convolution, the engine's own, and the parts: the product, and reading under the taps."""
    from keras import ops

    from deformconv import deform_conv2d
    from deformconv.operators.aggregate import deform_aggregate2d

    images, kernel = ops.cast(images, dtype), ops.cast(kernel, dtype)
    columns = ops.ones((BATCH * SIZE**2, TAPS * CHANNELS), dtype)
    flat, ones = ops.reshape(kernel, (-1, CHANNELS)), ops.ones((BATCH, SIZE, SIZE, TAPS), dtype)

    def reads(x, o):
        return deform_aggregate2d(x, o, ones, kernel_size=(3, 3), padding="same")

    functions = {
        "its own convolution": _own_convolution(images, kernel),
        "deformable": (lambda x, o, k: deform_conv2d(x, o, k, padding="same"), [images, offsets, kernel]),
        "the product alone": (ops.matmul, [columns, flat]),
        "reading alone": (reads, [images, offsets]),
    }
    return {
        f"{name}, {dtype}{', with gradients' if gradients else ''}": _compiled(*function, gradients)
        for name, function in functions.items()
        for gradients in (False, True)
    }


def _own_convolution(images, kernel):
    """The engine's own, channels last in memory: PyTorch's tensors have other names for the same axes."""
    import keras

    if keras.backend.backend() != "torch":
        return lambda x, k: keras.ops.conv(x, k, padding="same"), [images, kernel]
    import torch

    own = images.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1)
    own = [tensor.contiguous(memory_format=torch.channels_last) for tensor in own]
    return lambda x, k: torch.nn.functional.conv2d(x, k, padding=1), own


def _layers(images, rng):
    """DCNv3 and ConvOffset2D, and the layers inside them."""
    from keras import ops

    from deformconv import ConvOffset2D, DCNv3, engines
    from deformconv.engines.fused import fused

    aggregation, flow = DCNv3(3), ConvOffset2D()
    for layer in (aggregation, flow):
        layer.build(images.shape)
        for weight in layer.weights:
            if "offset" in weight.path or "mask" in weight.path:
                weight.assign(0.05 * rng.standard_normal(weight.shape))
    features = aggregation._features(images)

    def activated(x):
        return aggregation.activation(aggregation.norm(x))

    offsets, mask = aggregation.offsets_and_mask(images)
    coords = ops.reshape(8 + 2 * flow.offset_conv(images), (BATCH, SIZE**2, CHANNELS, 2))
    functions = {
        "DCNv3": (aggregation, [images]),
        "DCNv3: a dense layer on the image, of two": (aggregation.input_proj, [images]),
        "DCNv3: depthwise convolution": (aggregation.dw_conv, [images]),
        "DCNv3: normalisation and GELU": (activated, [images]),
        "DCNv3: normalisation and GELU by XLA": (fused(activated), [images]),
        "DCNv3: offsets and mask of the features": (aggregation._offsets_and_mask, [features]),
        "DCNv3: the sum under the taps": (aggregation._aggregate, [images, offsets, mask]),
        "ConvOffset2D": (flow, [images]),
        "ConvOffset2D: the convolution that makes the offsets": (flow.offset_conv, [images]),
        "ConvOffset2D: reading each channel at its own points": (engines.sample, [images, coords]),
    }
    return {name: _compiled(*function, False) for name, function in functions.items()}


def _compiled(function, tensors, gradients):
    """A call without arguments that computes the outputs, and with them, if asked for, all gradients, and waits."""
    import keras

    engine = keras.backend.backend()
    if engine == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False)
        def both(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                outputs = function(*tensors)
            return outputs, tape.gradient(outputs, tensors, output_gradients=tf.ones_like(outputs))

        compiled = both if gradients else tf.function(function, autograph=False)
        return lambda: compiled(*tensors)
    if engine == "jax":
        import jax

        def pulled(*tensors):
            outputs, pull_back = jax.vjp(function, *tensors)
            return outputs, pull_back(outputs)

        compiled = jax.jit(pulled if gradients else function)
        return lambda: jax.block_until_ready(compiled(*tensors))
    import torch

    tensors = [tensor.detach().requires_grad_(gradients) for tensor in tensors]

    def call():
        outputs = function(*tensors)
        return torch.autograd.grad(outputs, tensors, outputs) if gradients else outputs

    return call


def _taking_turns(calls) -> dict[str, float]:
    """The median of each call, in milliseconds."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()  # caches as its own last call leaves them
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: round(1e3 * sorted(own)[ROUNDS // 2], 3) for name, own in times.items()}


def starts() -> dict[str, float]:
    """Seconds of processor time, the least of three: of importing the package, and of the command's help."""
    found = {}
    for name, command in {
        "import deformconv": ["-c", "import deformconv"],
        "deformconv --help": ["-m", "deformconv.cli", "--help"],
    }.items():
        each = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            each.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        found[name] = round(min(each), 3)
    return found


def main():
    if sys.argv[1:] == ["--engine"]:  # of the environment
        print(json.dumps(of_engine()))
        return
    from deformconv.study import provenance

    accounts = {}
    for engine, library in ENGINES.items():
        if importlib.util.find_spec(library) is None:
            continue
        environment = os.environ | {"KERAS_BACKEND": engine, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [sys.executable, "-m", "deformconv.bench.account", "--engine"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        accounts[engine] = json.loads(done.stdout.splitlines()[-1])
        print(f"\n{engine}: masked, with gradients, {accounts[engine]['memory']} MB above the idle process")
        for name, milliseconds in accounts[engine]["milliseconds"].items():
            print(f"{milliseconds:9.2f} ms  {name}")
    result = {
        "command": "python -m deformconv.bench.account",
        "hardware": provenance.hardware(),
        "versions": provenance.versions(),
        "product": f"{PRODUCT:.2f} billion operations, forward",
        "seconds_to_start": starts(),
        "engines": accounts,
    }
    print(f"\nprocessor time to start: {result['seconds_to_start']}")
    if len(sys.argv) > 1:
        write(sys.argv[1], result)


if __name__ == "__main__":
    main()
