# Every public name of the package, once: editors and type checkers read them here, and so does `__init__.py`.

from . import diagnostics as diagnostics
from . import reference as reference
from . import training as training
from .exchange import export_onnx as export_onnx
from .exchange import import_dcnv3 as import_dcnv3
from .exchange import import_dcnv4 as import_dcnv4
from .exchange import import_mmcv as import_mmcv
from .exchange import import_onnx as import_onnx
from .exchange import import_torchvision as import_torchvision
from .exchange import openvino_extension as openvino_extension
from .layers import ConvOffset2D as ConvOffset2D
from .layers import DCNv3 as DCNv3
from .layers import DCNv4 as DCNv4
from .layers import DeformableConv2D as DeformableConv2D
from .layers import DeformableRoIPooling2D as DeformableRoIPooling2D
from .layers import SpatialTransformer as SpatialTransformer
from .operators import deform_conv2d as deform_conv2d
from .operators import deform_roi_pool2d as deform_roi_pool2d
from .sampling import bilinear_sample as bilinear_sample

__version__: str
