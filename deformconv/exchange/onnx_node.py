"""The `DeformConv` node, which tf2onnx does not know: ONNX has it from opset 19 on, tf2onnx goes up to 18.

Three steps: while TensorFlow traces the model, a stand-in operation carries each convolution's arguments (`record`);
tf2onnx turns it into a node of a domain of our own (`make_node`), which passes through the lift to opset 22; there
the node moves into ONNX's domain (`lift`).
"""

import json

OPSET = 22
DOMAIN = "deformconv"
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def record(inputs, offsets, kernel, *, mask, bias, strides, pads, out_size, dilation_rate, groups, offset_groups, **_):
    """In place of `deform_conv2d`: an operation that computes nothing; its token is its arguments, as JSON."""
    import tensorflow as tf

    size = [known if known is not None else tf.shape(inputs)[1 + i] for i, known in enumerate(inputs.shape[1:3])]
    before, after = [], []
    for i in range(2):
        span = (kernel.shape[i] - 1) * dilation_rate[i] + 1
        if strides[i] == 1 and not isinstance(pads[i], int):  # "same": the sum is known though the size is not
            before.append((span - 1) // 2)
            after.append(span - 1 - before[i])
        else:
            before.append(pads[i])
            # Less than zero where strides leave out the last pixels: then zero gives the same `out_size`.
            unseen = (out_size[i] - 1) * strides[i] + span - size[i] - pads[i]
            after.append(max(unseen, 0) if isinstance(unseen, int) else tf.maximum(unseen, 0))
    if not all(isinstance(zeros, int) for zeros in before + after):
        # Outside the image is zero already: zeros around it change the sizes and no value.
        inputs = tf.pad(inputs, [(0, 0), *zip(before, after, strict=True), (0, 0)])
        before = after = [0, 0]
    attributes = {
        "dilations": dilation_rate,
        "group": groups,
        "kernel_shape": tuple(kernel.shape[:2]),
        "offset_group": offset_groups,
        "pads": before + after,
        "strides": strides,
    }
    shape = (inputs.shape[0], *(n if isinstance(n, int) else None for n in out_size), kernel.shape[3])
    token = {"attributes": attributes, "shape": shape, "bias": bias is not None, "mask": mask is not None}
    tensors = [tensor for tensor in (inputs, kernel, offsets, bias, mask) if tensor is not None]
    [outputs] = tf.raw_ops.PyFunc(input=tensors, token=json.dumps(token), Tout=[inputs.dtype])
    return tf.ensure_shape(outputs, shape)  # unlike set_shape, outlives TensorFlow's own rewriting of the graph


def make_node(graph, node, name, _):
    """tf2onnx's handler of the stand-in: Transpose, `DeformConv` in `DOMAIN`, Transpose."""
    token = json.loads(node.get_attr_value("token"))
    batch, height, width, filters = (-1 if n is None else n for n in token["shape"])
    dtype = graph.get_dtype(node.input[0])
    graph.remove_node(name)

    def transposed(tensor, order):
        return graph.make_node("Transpose", [tensor], attr={"perm": order}).output[0]

    inputs, kernel, offsets, *rest = node.input
    operands = [
        transposed(inputs, TO_CHANNELS_FIRST),
        transposed(kernel, (3, 2, 0, 1)),
        transposed(offsets, TO_CHANNELS_FIRST),
        rest.pop(0) if token["bias"] else "",
    ]
    if token["mask"]:
        operands.append(transposed(rest.pop(0), TO_CHANNELS_FIRST))
    made = graph.make_node(
        "DeformConv",
        operands,
        attr=token["attributes"],
        name=f"{name}_deform_conv",
        shapes=[[batch, filters, height, width]],
        dtypes=[dtype],
        domain=DOMAIN,
    )
    graph.make_node(
        "Transpose",
        made.output,
        attr={"perm": TO_CHANNELS_LAST},
        name=name,
        outputs=node.output,
        shapes=[[batch, height, width, filters]],
        dtypes=[dtype],
    )


def lift(model):
    """From tf2onnx's opset to 22, where `DeformConv` is ONNX's own; checked."""
    from onnx import checker, helper, shape_inference, version_converter

    try:
        model = version_converter.convert_version(model, OPSET)
        for node in nodes(model.graph):
            if node.domain == DOMAIN:
                node.domain = ""
        used = {node.domain for node in nodes(model.graph)} | {""}
        kept = [opset for opset in model.opset_import if opset.domain in used]
        del model.opset_import[:]
        model.opset_import.extend(kept)
        model.ir_version = helper.find_min_ir_version_for(kept)
        checker.check_model(model, full_check=True)
    except (version_converter.ConvertError, checker.ValidationError, shape_inference.InferenceError) as error:
        raise RuntimeError(f"What tf2onnx made of the model is not valid ONNX: {error}") from error
    return model


def nodes(graph):
    """The nodes of a graph and of the graphs inside them, the bodies of loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)
