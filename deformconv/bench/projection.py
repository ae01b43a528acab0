"""What ImageNet-size training would take on one device and on eight, on paper: a section of benchmarks/README.md.

    python -m deformconv.bench.projection

Computed from the results files: what a layer costs in a training step, and what the gradients of a network weigh. Where
there is no measurement of a GPU, terms of the GPU are assumptions, and stand as such beside each number.
"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
MARKS = "<!-- projection -->", "<!-- /projection -->"

IMAGES, EPOCHS, BATCH = 1_281_167, 90, 32  # of ImageNet's training set; of the usual schedule; on each device
# The layer whose cost was measured: 8 images of 56 x 56, 64 channels to 64, 3 x 3 taps.
REFERENCE_IMAGES, REFERENCE_WORK = 8, 8 * 56 * 56 * 64 * 64 * 9

# Assumptions, until gpu-*.json is there.
GPU_WORK = 1e13  # multiply-adds a second of a float32 convolution, forward and backward together counted once
LINK_BYTES = 2e11  # a second, each way, between the GPUs of one machine
LATENCY = 2e-5  # seconds for each of the all-reduce's steps


def resnet50(deformed=False):
    """The convolutions of ResNet-50 at 224 x 224 as `(output pixels, weights of a pixel, 3 x 3 deformable)`.

    With `deformed` every 3 x 3 convolution of the last three stages is deformable, as in Zhu et al. 2019, and brings
    the convolution that makes its offsets.
    """
    made = [(112**2, 7 * 7 * 3 * 64, False)]
    channels = 64
    for stage, (blocks, width, size) in enumerate(((3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7))):
        for block in range(blocks):
            before = size * 2 if block == 0 and stage else size  # the first of a stage reads a larger map
            made.append((before**2, channels * width, False))
            bends = deformed and stage > 0
            made.append((size**2, 9 * width * width, bends))
            if bends:
                made.append((size**2, 9 * width * 18, False))
            made.append((size**2, width * 4 * width, False))
            if block == 0:
                made.append((size**2, channels * 4 * width, False))
            channels = 4 * width
    return made


def parameters(layers, deformed=False):
    """All weights: of the convolutions, two for each channel of BatchNorm, the dense layer, the offsets' biases."""
    normalised = 64 + sum(
        blocks * (width + width + 4 * width) + 4 * width for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512))
    )
    biases = 18 * 13 if deformed else 0
    return sum(weights for _, weights, _ in layers) + 2 * normalised + 2048 * 1000 + 1000 + biases


def work(layers):
    """Multiply-adds of an image, forward: `(plain, deformable)`."""
    plain = sum(pixels * weights for pixels, weights, bends in layers if not bends)
    return plain, sum(pixels * weights for pixels, weights, bends in layers if bends)


def all_reduce_seconds(weights, devices, link=LINK_BYTES, latency=LATENCY):
    """A ring: each device sends and receives `2 (n - 1) / n` of the gradients' bytes, in `2 (n - 1)` steps."""
    if devices == 1:
        return 0.0
    return 2 * (devices - 1) / devices * 4 * weights / link + 2 * (devices - 1) * latency


def measured(folder=FOLDER / "results"):
    """For each machine `(name, seconds of a multiply-add in a plain layer, in a deformable one, whether assumed)`."""
    cpu = json.loads((folder / "cpu-2-cores.json").read_text())
    times = _times(cpu)
    plain, bent = times["conv2d"], times["tensorflow"]
    machines = [(cpu["hardware"], plain / REFERENCE_WORK, bent / REFERENCE_WORK, False)]
    files = sorted(folder.glob("gpu-*.json"))
    for path in files:
        times = _times(json.loads(path.read_text()))
        for engine in ("jax", "torch"):
            if {f"conv2d, {engine}", engine} <= times.keys():
                costs = (times[name] / REFERENCE_WORK for name in (f"conv2d, {engine}", engine))
                machines.append((f"{path.stem}, {engine}", *costs, False))
    if not files:
        machines.append(("a GPU (assumed)", 1 / GPU_WORK, bent / plain / GPU_WORK, True))
    return machines


def _times(report):
    """Seconds of the reference layer in float32, forward and backward, by contender."""
    return {
        row["contender"]: row["median"] / 1e3
        for row in report["results"]
        if row.get("case") == "reference"
        and row.get("direction") == "backward"
        and row.get("precision", "float32") == "float32"
        and "median" in row
    }


INTRODUCTION = f"""An image of 224 x 224, batches of {BATCH} on each device, {EPOCHS} epochs of ImageNet's {IMAGES:,}
images. Each layer is taken to run at the speed of the measured one, 8 images of 56 x 56 with 64 channels, forward and
backward; BatchNorm, pooling and reading the images count nothing. Gradients are float32, summed by a ring after the
step and not during it. So this says what order of size to expect, and no more.
"""
LINK = f"{LINK_BYTES / 1e9:.0f} GB/s each way and {1e6 * LATENCY:.0f} µs a step between GPUs"
ASSUMED = f"""
**No GPU was measured for this table.** Assumed of the GPU: {GPU_WORK:.0e} multiply-adds a second in a plain layer; a
deformable one slower by the factor that was measured on the CPU; {LINK}. Once
`gpu-*.json` is in `results/`, the command takes the times of the layers from there; the link stays an assumption.
"""
MEASURED = f"""
One GPU was measured, never eight. Assumed of the link: {LINK}.
"""
NETWORKS = {"ResNet-50": False, "ResNet-50, 13 deformable layers": True}


def section(machines):
    """The section of benchmarks/README.md."""
    lines = [
        INTRODUCTION,
        "| network | weights | multiply-adds, plain | deformable | all-reduce of 8, each device |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, deformed in NETWORKS.items():
        layers = resnet50(deformed)
        weights, (plain, bent) = parameters(layers, deformed), work(layers)
        sent = 2 * 7 / 8 * 4 * weights
        lines.append(f"| {name} | {weights:,} | {plain / 1e9:.2f} G | {bent / 1e9:.2f} G | {sent / 1e6:.0f} MB |")
    lines += [
        "",
        "| machine | network | ms an image | devices | images/s | share of all-reduce | 90 epochs |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for machine, plain_cost, bent_cost, _ in machines:
        for name, deformed in NETWORKS.items():
            layers = resnet50(deformed)
            plain, bent = work(layers)
            seconds = plain * plain_cost + bent * bent_cost
            for devices in (1, 8) if "GPU" in machine or "gpu" in machine else (1,):
                summing = all_reduce_seconds(parameters(layers, deformed), devices)
                step = BATCH * seconds + summing
                rate = devices * BATCH / step
                lines.append(
                    f"| {machine} | {name} | {1e3 * seconds:.3g} | {devices} | {rate:,.0f} | {summing / step:.1%} "
                    f"| {_long(EPOCHS * IMAGES / rate)} |"
                )
    lines.append(ASSUMED if any(assumed for *_, assumed in machines) else MEASURED)
    return "\n".join(lines).rstrip()


def _long(seconds):
    return f"{seconds / 86400:,.0f} days" if seconds > 3 * 86400 else f"{seconds / 3600:,.1f} hours"


def main():
    path = FOLDER / "README.md"
    begin, end = MARKS
    text = path.read_text()
    path.write_text(
        re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{section(measured())}\n{end}", text, flags=re.DOTALL)
    )
    print(f"Written into {path}.")


if __name__ == "__main__":
    main()
