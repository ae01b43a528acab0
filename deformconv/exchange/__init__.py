"""Models on their way to other runtimes and from them: ONNX files, and weights that were trained elsewhere."""

from deformconv.exchange.dcn_modules import import_dcnv3, import_dcnv4
from deformconv.exchange.onnx_export import export_onnx
from deformconv.exchange.onnx_import import import_onnx
from deformconv.exchange.openvino_extension import openvino_extension
from deformconv.exchange.state_dicts import import_mmcv, import_torchvision

__all__ = [
    "export_onnx",
    "import_dcnv3",
    "import_dcnv4",
    "import_mmcv",
    "import_onnx",
    "import_torchvision",
    "openvino_extension",
]
