"""Models on their way to other runtimes: ONNX files."""

from deformconv.exchange.onnx_export import export_onnx

__all__ = ["export_onnx"]
