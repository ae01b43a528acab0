"""Models on their way to other runtimes: ONNX files."""

from deformconv.exchange.onnx_export import export_onnx
from deformconv.exchange.openvino_extension import openvino_extension

__all__ = ["export_onnx", "openvino_extension"]
