"""What each variant of the study costs: `python -m deformconv.bench.costs VARIANT`, one process each, a JSON object.

Peak memory is a process's own, so each variant has one to itself.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

BATCH, FORWARDS = 128, 20


def run(variants, threads, progress=None) -> list[dict]:
    """Measures variants one after the other; see `measure` for what is told of each."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    environment |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    results = []
    for variant in variants:
        if progress:
            progress(variant)
        command = [sys.executable, "-m", "deformconv.bench.costs", variant]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{variant} could not be measured: {' '.join(done.stderr.split()[-40:])}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return results


def measure(variant) -> dict:
    """One variant's cost at a batch of 128 images of noise.

    Returns:
        `parameters` and `trained_parameters`; `forward` and `step`, the medians of a forward pass and a training step,
        in milliseconds; `memory`, what training added to the process's peak, in megabytes.
    """
    from deformconv import training
    from deformconv.bench.machine import peak_memory
    from deformconv.bench.training import time_steps
    from deformconv.study.digits.variants import VARIANTS

    kind = VARIANTS[variant]
    model = kind.network()
    if kind.train_only:
        kind.train_only(model)
    images = np.random.default_rng(0).random((BATCH, 28, 28, 1), dtype="float32")
    model.predict(images, batch_size=BATCH, verbose=0)
    forward = []
    for _ in range(FORWARDS):
        start = time.perf_counter()
        model.predict_on_batch(images)
        forward.append(time.perf_counter() - start)
    before = peak_memory()
    clock = time_steps(model)
    return {
        "variant": variant,
        "parameters": model.count_params(),
        "trained_parameters": training.count_trained(model),
        "forward": round(1e3 * float(np.median(forward)), 2),
        "step": round(1e3 * float(np.median(clock.seconds)), 2),
        "memory": round(peak_memory() - before),
    }


def table(results) -> str:
    """The costs as a Markdown table."""
    lines = [
        "| variant | weights | trained | forward, ms | training step, ms | memory of training, MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in results:
        lines.append(
            f"| {one['variant']} | {one['parameters']:,} | {one['trained_parameters']:,} | {one['forward']:.0f} | "
            f"{one['step']:.0f} | {one['memory']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
