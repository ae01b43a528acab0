"""`openvino_extension`: lets OpenVINO read the `DeformConv` node, which it has an operator for and no way to."""

from typing import Any


def openvino_extension() -> Any:
    """An extension with which OpenVINO reads ONNX files that hold `DeformConv` nodes, `export_onnx`'s and others'.

    OpenVINO has the operator and runs it fast, but its reader of ONNX files knows no rule for the node: "No conversion
    rule found for operations: DeformConv". This is the rule. What the file computes stays the same; on processors with
    bfloat16 OpenVINO computes in it unless `INFERENCE_PRECISION_HINT` is `"f32"`.

    Returns:
        What `openvino.Core.add_extension` takes.

    Raises:
        ImportError: if openvino is missing.

    Example:
        >>> core = openvino.Core()  # doctest: +SKIP
        >>> core.add_extension(openvino_extension())  # doctest: +SKIP
        >>> model = core.compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})  # doctest: +SKIP
    """
    try:
        from openvino.frontend.onnx import ConversionExtension
    except ImportError as error:
        raise ImportError("`openvino_extension` needs openvino: pip install openvino") from error
    return ConversionExtension("DeformConv", _convert)


def _convert(node: Any) -> list[Any]:
    """ONNX's node as OpenVINO's."""
    from openvino import opset8 as ops

    # What is left out before the last input that is given arrives as a node of this type.
    given = [node.get_input(i) for i in range(node.get_input_size())]
    given = [None if one.get_node().get_type_name() == "NullNode" else one for one in given]
    inputs, kernel, offsets, bias, mask = given + [None] * (5 - len(given))
    top, left, bottom, right = node.get_attribute("pads", [0, 0, 0, 0])
    outputs = ops.deformable_convolution(
        inputs,
        offsets,
        kernel,
        strides=node.get_attribute("strides", [1, 1]),
        pads_begin=[top, left],
        pads_end=[bottom, right],
        dilations=node.get_attribute("dilations", [1, 1]),
        mask=mask,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,  # else points beyond the last row and column are moved onto it
    )
    if bias is not None:
        outputs = ops.add(outputs, ops.reshape(bias, [1, -1, 1, 1], special_zero=False))
    return outputs.outputs()
