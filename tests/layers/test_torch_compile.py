"""`torch.compile` takes every layer as one graph, with sizes that are known and with sizes that are not."""

import keras
import numpy as np
import pytest

from deformconv import ConvOffset2D, DCNv3, DCNv4, DeformableConv2D, SpatialTransformer

LAYERS = {
    "DeformableConv2D": lambda: DeformableConv2D(
        6, (3, 2), modulated=True, strides=2, dilation_rate=2, padding="same", max_offset=2
    ),
    "ConvOffset2D": ConvOffset2D,
    "DCNv3": lambda: DCNv3((3, 2), groups=2, center_feature_scale=True),
    "DCNv4": lambda: DCNv4(3, groups=2, remove_center=True, center_feature_scale=True, dw_kernel_size=3),
    "SpatialTransformer": lambda: SpatialTransformer(keras.layers.GlobalAveragePooling2D()),
}


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's compiler")
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_graph(rng, name, dynamic):
    import torch

    layer = LAYERS[name]()
    inputs = torch.tensor(rng.normal(size=(2, 7, 5, 4)).astype("float32"))
    layer(inputs)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.3))
    torch._dynamo.reset()
    # What is made of the graph is another matter: `backend="eager"` runs it as it was taken.
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="eager")
    np.testing.assert_allclose(compiled(inputs).detach().numpy(), layer(inputs).detach().numpy(), atol=1e-6)
