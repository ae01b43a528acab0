"""`import_onnx`: a `DeformConv` node of an ONNX file, with the convolution that makes its offsets, as a layer."""

import importlib.util
from typing import Any

from deformconv.exchange.from_arrays import READ, check_arguments, deformable_conv
from deformconv.exchange.onnx_channels import Graph, attributes, geometry
from deformconv.layers import DeformableConv2D
from deformconv.types import StrPath


def import_onnx(path: StrPath, node: str | None = None, **layer_arguments: Any) -> DeformableConv2D:
    """A `DeformConv` node of an ONNX file as a `DeformableConv2D`, which takes images in its `data_format`.

    ====================================  ===========================================================================
    there                                 here
    ====================================  ===========================================================================
    `W`                                   `kernel`, transposed by `(2, 3, 1, 0)`, and halved where the mask is a
                                          plain sigmoid, since ours is twice one
    `B`                                   `bias`; the layer has none where there is none
    `offset`                              the first channels of `offset_conv`, in the same order
    `mask`                                the last channels of `offset_conv`
    `pads`                                `padding`: `[t, l, b, r]` is `((t, b), (l, r))`
    `strides`, `dilations`                `strides`, `dilation_rate`
    `group`, `offset_group`               `groups`, `offset_groups`
    ====================================  ===========================================================================

    A layer of ours makes its offsets by a convolution of its own. So those of the node must come from a `Conv` in the
    file, of the same image, with the kernel size, strides, padding and dilation of the node; the mask from the same
    `Conv` or another, through a `Sigmoid`. In between there may be `Split`, `Slice` and `Concat` of channels, `Add`,
    and `Mul` by a number. Files with other offsets are for `deform_conv2d`, which takes offsets from anywhere.

    What PyTorch exports of torchvision's `DeformConv2d` is such a file, and what `export_onnx` writes for images of a
    fixed size, where the layer has no `max_offset`, and not both strides and a dilation.

    Args:
        path: of the file.
        node: name of the node, or of its output, in a file with several.
        **layer_arguments: of `DeformableConv2D`, those that are not read from the file, such as `activation` or
            `name`.

    Returns:
        The layer, built.

    Raises:
        ValueError: if there is no such node, its weights are not in the file, its offsets or mask are made in another
            way, or an argument is one that is read.
        ImportError: if onnx is missing.

    Example:
        >>> from deformconv import import_onnx
        >>> layer = DeformableConv2D(6, (3, 2), strides=(2, 1), modulated=True)
        >>> _ = export_onnx(keras.Sequential([keras.Input((5, 4, 2)), layer]), "model.onnx")
        >>> import_onnx("model.onnx").strides
        (2, 1)
    """
    check_arguments(layer_arguments, (*READ, "strides", "padding", "dilation_rate"), "the file")
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("`import_onnx` needs onnx: pip install onnx")
    import onnx

    graph = Graph(onnx.load(path).graph)
    found = _find(graph, node)
    image, weight, offset, bias, mask = [*found.input, "", "", ""][:5]
    kernel = graph.weight(weight, "kernel", found)
    given = attributes(found)
    shape = geometry(given, kernel.shape[2:])
    groups = [given.get(name, 1) for name in ("group", "offset_group")]
    points = groups[1] * kernel.shape[2] * kernel.shape[3]

    offsets = graph.channels(offset, found)
    weighing = graph.channels(mask, found) if mask else None
    for made in (offsets, weighing):
        for conv in made.convs if made else ():
            _check_alike(graph, conv, found, image, shape)
    offsets.check("offset", found, 2 * points, kernel.shape[1] * groups[0], sigmoid=False)
    made = offsets
    if weighing:
        weighing.check("mask", found, points, kernel.shape[1] * groups[0], sigmoid=True)
        made = offsets.beside(weighing)
    top, left, bottom, right = shape["pads"]
    return deformable_conv(
        kernel,
        graph.weight(bias, "bias", found) if bias else None,
        made.kernel,
        made.bias,
        offset_groups=groups[1],
        mask_factor=weighing.factor if weighing else None,
        layer_arguments={
            "strides": shape["strides"],
            "padding": ((top, bottom), (left, right)),
            "dilation_rate": shape["dilations"],
            **layer_arguments,
        },
    )


def _find(graph: Graph, name: str | None) -> Any:
    nodes = [node for node in graph.nodes if node.op_type == "DeformConv" and node.domain in ("", "ai.onnx")]
    if not nodes:
        raise ValueError("`path` must be a file with a `DeformConv` node, which ONNX has from opset 19 on; it is not.")
    chosen = [node for node in nodes if name is None or name in (node.name, node.output[0])]
    if len(chosen) != 1:
        names = ", ".join(repr(node.name or node.output[0]) for node in nodes)
        raise ValueError(f"`node` must be one of {names}, the file's `DeformConv` nodes; received {name!r}.")
    return chosen[0]


def _check_alike(graph: Graph, conv: Any, node: Any, image: str, shape: dict[str, Any]) -> None:
    """The convolution for the offsets must look where the layer's own would."""
    if graph.source(conv.input[0]) != graph.source(image):
        raise ValueError(
            f"The image of `Conv` {conv.output[0]!r} must be that of `DeformConv` {node.output[0]!r}, whose offsets it "
            f"makes; it is {conv.input[0]!r}, not {image!r}. {ELSEWHERE}"
        )
    theirs = geometry(attributes(conv), graph.weight(conv.input[1], "kernel", conv).shape[2:])
    for name, value in shape.items():
        if theirs[name] != value:
            raise ValueError(
                f"`Conv` {conv.output[0]!r} must have {name}={value} as `DeformConv` {node.output[0]!r} has, whose "
                f"offsets it makes; it has {theirs[name]}. {ELSEWHERE}"
            )


ELSEWHERE = "A layer makes its offsets from its own image in its own steps; `deform_conv2d` takes them from anywhere."
