"""How much memory a large deformable convolution takes, forward and backward: one whose column buffer would be 8 GB.

    python -m deformconv.bench.memory [FILE]

Prints the peak of the whole process, TensorFlow included, and writes it to FILE as JSON.
"""

import json
import os
import sys

from deformconv.bench.files import write
from deformconv.bench.machine import peak_memory

SIZE, CHANNELS, FILTERS, TAPS = 1864, 64, 16, 9


def main():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from deformconv import deform_conv2d
    from deformconv.engines import native
    from deformconv.study import provenance

    tf.random.set_seed(0)
    native.kernels()
    steps = {"libraries": peak_memory()}
    inputs = tf.random.normal([1, SIZE, SIZE, CHANNELS])
    offsets = tf.random.normal([1, SIZE, SIZE, 2 * TAPS])
    kernel = tf.random.normal([3, 3, CHANNELS, FILTERS])
    steps["inputs"] = peak_memory()
    with tf.GradientTape() as tape:
        tape.watch([inputs, offsets, kernel])
        outputs = deform_conv2d(inputs, offsets, kernel, padding="same")
    steps["forward"] = peak_memory()
    gradients = tape.gradient(outputs, [inputs, offsets, kernel])
    steps["backward"] = peak_memory()
    result = {
        "case": f"1 x {SIZE} x {SIZE}, {CHANNELS} -> {FILTERS}, {TAPS} taps, float32",
        "column_buffer_gb": round(SIZE**2 * CHANNELS * TAPS * 4 / 1e9, 2),
        "peak_gb": {name: round(megabytes / 1e3, 2) for name, megabytes in steps.items()},
        "cpu_kernels": native.status(),
        "hardware": provenance.hardware(),
        "versions": provenance.versions(),
        "command": "python -m deformconv.bench.memory",
    }
    assert all(bool(tf.math.is_finite(tf.reduce_sum(gradient))) for gradient in gradients)
    print(json.dumps(result, indent=1))
    if len(sys.argv) > 1:
        write(sys.argv[1], result)


if __name__ == "__main__":
    main()
