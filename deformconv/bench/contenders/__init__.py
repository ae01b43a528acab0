"""Who is measured: the one table. What a row names is imported in that contender's own process and nowhere else.

Another contender is a class in one of the files beside this one (`runner.Runner` says what is asked of it), and a row.
"""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """One row.

    Args:
        made_by: `module:class` in this folder.
        needs: the library that must be importable.
        engine: Keras's in its process, and that of the convolution that it is held against; None where there is none.
        family: "convolution", "deformable" or "gather": whose results are compared.
        devices: where it runs.
        precisions: what it can compute in, on a device that has them.
    """

    made_by: str
    needs: str
    engine: str | None = None
    family: str = "deformable"
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("float32",)

    @property
    def environment(self) -> dict[str, str]:
        return {"KERAS_BACKEND": self.engine} if self.engine else {}

    def load(self):
        """Its class, with the library behind it."""
        module, name = self.made_by.split(":")
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)


ON_BOTH = {"devices": ("cpu", "gpu"), "precisions": ("float32", "bfloat16", "tf32")}


def _on_tensorflow(made_by, **more):
    return Contender(f"on_tensorflow:{made_by}", "tensorflow", "tensorflow", **more)


def _on_jax(made_by, **more):
    return Contender(f"on_jax:{made_by}", "jax", "jax", **ON_BOTH | more)


def _on_torch(made_by, needs="torch", **more):
    return Contender(f"on_torch:{made_by}", needs, "torch", **ON_BOTH | more)


CONTENDERS = {
    "conv2d": _on_tensorflow("Conv2D", family="convolution"),
    "tensorflow": _on_tensorflow("Ours"),
    "tensorflow, stock": _on_tensorflow("Stock"),
    "tensorflow, XLA": _on_tensorflow("XLA"),
    "conv2d, jax": _on_jax("Conv2D", family="convolution"),
    "jax": _on_jax("Ours"),
    "gather, jax": _on_jax("Gather", family="gather"),
    "conv2d, torch": _on_torch("Conv2D", family="convolution"),
    "torch": _on_torch("Ours"),
    "torch, compiled": _on_torch("Compiled", devices=("gpu",)),
    "gather, torch": _on_torch("Gather", family="gather"),
    "openvino": Contender("runtimes:OpenVINO", "openvino"),
    "onnxruntime": Contender("runtimes:OnnxRuntime", "onnxruntime"),
    "ncnn": Contender("runtimes:NCNN", "ncnn"),
    "paddlepaddle": Contender("runtimes:PaddlePaddle", "paddle"),
    # Its kernel knows no bfloat16.
    "torchvision": _on_torch("TorchVision", needs="torchvision", precisions=("float32", "tf32")),
}
OURS = [name for name in CONTENDERS if name.split(",")[0] in ("tensorflow", "jax", "torch")]


def on(device) -> list[str]:
    """The contenders that run on a device, "cpu" or "gpu", be they installed or not."""
    return [name for name, contender in CONTENDERS.items() if device in contender.devices]


def installed(device="cpu") -> list[str]:
    """Of those the ones whose library can be found here."""
    return [name for name in on(device) if importlib.util.find_spec(CONTENDERS[name].needs)]
