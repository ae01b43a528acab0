"""What the pages show of speed and cost: each function writes a block of Markdown from `benchmarks/results/`."""

import json
from pathlib import Path

from deformconv.bench import costs as bench_costs
from deformconv.bench import forms as bench_forms

MEASURED = Path(__file__).parents[1] / "benchmarks" / "results"
SPEEDS = {
    "forward": ("forward", "tensorflow"),
    "forward, TensorFlow's own operations": ("forward", "tensorflow, stock"),
    "forward, OpenVINO": ("forward", "openvino"),
    "forward, onnxruntime": ("forward", "onnxruntime"),
    "forward and backward": ("backward", "tensorflow"),
    "forward and backward, PaddlePaddle": ("backward", "paddlepaddle"),
}


def speed() -> str:
    """What the layer costs on a CPU, from the committed benchmarks, as Markdown."""
    main, training, memory = (
        json.loads((MEASURED / f"cpu-2-cores{name}.json").read_text()) for name in ("", "-training", "-memory")
    )
    median = {(one["case"], one["contender"], one["direction"]): one["median"] for one in main["results"]}
    cases = list(dict.fromkeys(one["case"] for one in main["results"]))
    lines = ["| times Conv2D | " + " | ".join(cases) + " |", "|---|" + "---:|" * len(cases)]
    for label, (direction, contender) in SPEEDS.items():
        ratios = (median[case, contender, direction] / median[case, "conv2d", direction] for case in cases)
        lines.append(f"| {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    plain, deformable = (one["median"] for one in training["results"])
    return "\n".join(
        [
            *lines,
            "",
            f"Made by `{main['command']}` on {main['hardware']}; all contenders, quartiles and versions are in "
            "`benchmarks/results/`. A step of `deformable`, offsets alone, takes "
            f"{deformable / plain:.2f} times a training step of the plain CNN on {training['hardware']}. A convolution "
            f"whose column buffer would be 8 GB runs forward and backward in {memory['peak_gb']['backward']} GB.",
        ]
    )


ENGINE_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
ENGINES = {
    "TensorFlow": ("tensorflow", "conv2d"),
    "JAX": ("jax", "conv2d, jax"),
    "PyTorch": ("torch", "conv2d, torch"),
}


def engines() -> str:
    """What the same kernels cost on each engine in times of its own convolution, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-engines.json").read_text())
    median = {(one["case"], one["contender"], one["direction"]): one["median"] for one in measured["results"]}
    cases = list(dict.fromkeys(one["case"] for one in measured["results"]))
    lines = [f"| forward / with gradients | {' | '.join(cases)} |", "|---|" + "---:|" * len(cases)]
    for engine, (ours, own) in ENGINES.items():
        cells = (
            " / ".join(f"{median[case, ours, way] / median[case, own, way]:.2f}" for way in ("forward", "backward"))
            for case in cases
        )
        lines.append(f"| {engine} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Made by `{measured['command']}` on {measured['hardware']}."])


PARTS = ("reading alone", "the product alone", "deformable", "its own convolution")


def account() -> str:
    """Where the time goes, engine by engine and layer by layer, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-account.json").read_text())
    times = {ENGINE_NAMES[name]: engine["milliseconds"] for name, engine in measured["engines"].items()}
    lines = ["| milliseconds, forward / with gradients | " + " | ".join(PARTS) + " |", "|---|" + "---:|" * len(PARTS)]
    for engine, own in times.items():
        for dtype in ("float32", "bfloat16"):
            if f"{PARTS[0]}, {dtype}" in own:
                cells = (
                    f"{own[f'{part}, {dtype}']:.1f} / {own[f'{part}, {dtype}, with gradients']:.1f}" for part in PARTS
                )
                lines.append(f"| {engine}, {dtype} | {' | '.join(cells)} |")
    lines += ["", "| on TensorFlow, forward | milliseconds |", "|---|---:|"]
    layers = [(name, one) for name, one in times["TensorFlow"].items() if name.startswith(("DCNv3", "ConvOffset2D"))]
    lines += [f"| {name} | {milliseconds:.1f} |" for name, milliseconds in layers]
    memory = ", ".join(f"{engine['memory']} MB on {ENGINE_NAMES[name]}" for name, engine in measured["engines"].items())
    starts = " and ".join(f"`{name}` {seconds:.2f} s" for name, seconds in measured["seconds_to_start"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"The masked reference case with gradients takes, above what the process held before, {memory}. "
            f"Processor time: {starts}.",
            "",
            f"Made by `{measured['command']}` on {measured['hardware']}.",
        ]
    )


def other_forms() -> str:
    """What other forms cost on TensorFlow, each in times of Keras's own layer, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-forms.json").read_text())
    return f"{bench_forms.table(measured['results'])}\n\nMade by `{measured['command']}` on {measured['hardware']}."


def costs() -> str:
    """What each variant costs, from the committed benchmark, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-variants.json").read_text())
    return (
        f"{bench_costs.table(measured['results'])}\n\nA batch of {bench_costs.BATCH} images, float32. "
        f"Made by `{measured['command']}` on {measured['hardware']}."
    )
