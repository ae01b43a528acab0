"""Who is measured: each contender turns a case into two functions without arguments, which compute and wait.

    forward, backward = contender(case, tensors)

`forward` returns the outputs as an array, channels last; `backward` computes them and every gradient, and is None
where there are none. Whatever layout a contender wants, it gets before the clock runs.
"""

import contextlib
import os

import numpy as np


def conv2d(case, given):
    """Keras's own convolution, without offsets: the yardstick. It has fewer numbers to read and to differentiate."""
    import keras
    import tensorflow as tf

    def function(inputs, kernel):
        return keras.ops.conv(inputs, kernel, padding="same")

    return _with_tensorflow(function, [given["inputs"], given["kernel"]], given, tf)


def tensorflow(case, given):
    import tensorflow as tf

    return _ours_on_tensorflow(given, tf)


def tensorflow_stock(case, given):
    import tensorflow as tf

    from deformconv.engines.switches import stock_operations

    return _ours_on_tensorflow(given, tf, stock_operations)


def tensorflow_xla(case, given):
    import tensorflow as tf

    return _ours_on_tensorflow(given, tf, jit_compile=True)


def _ours_on_tensorflow(given, tf, within=contextlib.nullcontext, **options):
    from deformconv import deform_conv2d

    names = _names(given)

    def function(*tensors):
        with within():
            return deform_conv2d(**dict(zip(names, tensors, strict=True)), padding="same")

    return _with_tensorflow(function, [given[name] for name in names], given, tf, **options)


def _with_tensorflow(function, arrays, given, tf, **options):
    tensors = [tf.convert_to_tensor(array) for array in arrays]
    upstream = tf.constant(given["upstream"])

    @tf.function(**options)
    def both(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        gradients = tape.gradient(outputs, tensors, output_gradients=upstream)
        if any(gradient is None for gradient in gradients):
            raise ValueError("a gradient was not computed: the time would be too short")
        # With the outputs: the gradient alone would not need them, and a graph leaves out what is not needed.
        return outputs, gradients

    alone = tf.function(function, **options)
    # Eager execution on a CPU returns when the work is done.
    return lambda: alone(*tensors).numpy(), lambda: both(*tensors)


def jax(case, given):
    import jax

    from deformconv import deform_conv2d

    names = _names(given)
    tensors = [jax.numpy.asarray(given[name]) for name in names]
    upstream = jax.numpy.asarray(given["upstream"])

    def function(*tensors):
        return deform_conv2d(**dict(zip(names, tensors, strict=True)), padding="same")

    def both(*tensors):
        outputs, pull_back = jax.vjp(function, *tensors)
        return outputs, pull_back(upstream)

    alone, both = jax.jit(function), jax.jit(both)
    return lambda: np.asarray(alone(*tensors)), lambda: jax.block_until_ready(both(*tensors))


def torch(case, given):
    import torch

    from deformconv import deform_conv2d

    names = _names(given)
    tensors = [torch.tensor(given[name]) for name in names]
    watched = [tensor.clone().requires_grad_() for tensor in tensors]
    upstream = torch.tensor(given["upstream"])

    def function(tensors):
        return deform_conv2d(**dict(zip(names, tensors, strict=True)), padding="same")

    def alone():
        with torch.no_grad():
            return function(tensors).numpy()

    return alone, lambda: torch.autograd.grad(function(watched), watched, upstream)


def _names(given):
    return [name for name in ("inputs", "offsets", "kernel", "mask") if given[name] is not None]


def _channels_first(given):
    """As the peers want them: `(b, c, h, w)`, the kernel `(filters, channels, h, w)`."""
    order = {"kernel": (3, 2, 0, 1)}
    return {
        name: np.ascontiguousarray(array.transpose(order.get(name, (0, 3, 1, 2))))
        for name, array in given.items()
        if array is not None
    }


def onnxruntime(case, given):
    import onnx
    import onnxruntime

    first = _channels_first(given)
    feed = {"X": first["inputs"], "W": first["kernel"], "offset": first["offsets"]}
    if case.masked:
        feed["mask"] = first["mask"]
    pad = case.kernel // 2
    inputs = ["X", "W", "offset", *(["", "mask"] if case.masked else [])]
    node = onnx.helper.make_node("DeformConv", inputs, ["Y"], pads=[pad] * 4, kernel_shape=[case.kernel] * 2)
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "one_node",
        [make(name, onnx.TensorProto.FLOAT, array.shape) for name, array in feed.items()],
        [make("Y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others are measured in between
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)[0].transpose(0, 2, 3, 1), None


def openvino(case, given):
    import openvino as ov
    from openvino import opset8

    first = _channels_first(given)
    names = ["inputs", "offsets", "kernel", *(["mask"] if case.masked else [])]
    parameters = [opset8.parameter(first[name].shape, np.float32) for name in names]
    pad = [case.kernel // 2] * 2
    node = opset8.deformable_convolution(
        *parameters[:3], [1, 1], pad, pad, [1, 1], *parameters[3:], bilinear_interpolation_pad=True
    )
    model = ov.Model([node], parameters)
    # bfloat16 is its default where the processor has it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _threads(), "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    arrays = [first[name] for name in names]
    return lambda: request.infer(arrays)[0].transpose(0, 2, 3, 1), None


def ncnn(case, given):
    import tempfile

    import ncnn

    first = _channels_first(given)
    names = ["inputs", "offsets", *(["mask"] if case.masked else [])]
    numbers = {0: case.filters, 1: case.kernel, 4: case.kernel // 2, 5: 0, 6: first["kernel"].size}
    layers = [f"Input {name} 0 1 {name}" for name in names]
    layers.append(
        f"DeformableConv2D conv {len(names)} 1 {' '.join(names)} outputs "
        + " ".join(f"{key}={value}" for key, value in numbers.items())
    )
    net = ncnn.Net()
    net.opt.num_threads = _threads()
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/net.param", "w") as file:
            file.write("\n".join(["7767517", f"{len(layers)} {len(layers)}", *layers]) + "\n")
        with open(f"{folder}/net.bin", "wb") as file:
            file.write(np.uint32(0).tobytes() + first["kernel"].tobytes())  # 0: float32 follows
        net.load_param(f"{folder}/net.param")
        net.load_model(f"{folder}/net.bin")
    # Its layer takes one image at a time.
    images = [{name: ncnn.Mat(first[name][i]).clone() for name in names} for i in range(case.batch)]

    def forward():
        outputs = []
        for image in images:
            extractor = net.create_extractor()
            for name, array in image.items():
                extractor.input(name, array)
            outputs.append(np.array(extractor.extract("outputs")[1]))
        return np.stack(outputs).transpose(0, 2, 3, 1)

    return forward, None


def paddlepaddle(case, given):
    import paddle

    paddle.set_device("cpu")
    first = {name: paddle.to_tensor(array) for name, array in _channels_first(given).items()}
    names = ["inputs", "offsets", "kernel", *(["mask"] if case.masked else [])]
    for name in names:
        first[name].stop_gradient = False

    def function():
        inputs, offsets, kernel, *mask = (first[name] for name in names)
        return paddle.vision.ops.deform_conv2d(
            inputs, offsets, kernel, padding=case.kernel // 2, mask=mask[0] if mask else None
        )

    def alone():
        with paddle.no_grad():
            return function().numpy().transpose(0, 2, 3, 1)

    def both():
        return paddle.grad(function(), [first[name] for name in names], grad_outputs=[first["upstream"]])

    return alone, both


def torchvision(case, given):
    import torch
    from torchvision.ops import deform_conv2d

    first = {name: torch.tensor(array) for name, array in _channels_first(given).items()}
    names = ["inputs", "offsets", "kernel", *(["mask"] if case.masked else [])]
    watched = {name: first[name].clone().requires_grad_() for name in names}

    def function(tensors):
        inputs, offsets, kernel, *mask = (tensors[name] for name in names)
        return deform_conv2d(inputs, offsets, kernel, padding=case.kernel // 2, mask=mask[0] if mask else None)

    def alone():
        with torch.no_grad():
            return function(first).permute(0, 2, 3, 1).numpy()

    return alone, lambda: torch.autograd.grad(function(watched), list(watched.values()), first["upstream"])


def _threads():
    return int(os.environ["DEFORMCONV_BENCH_THREADS"])


# name: (function, what must be importable, environment)
CONTENDERS = {
    "conv2d": (conv2d, "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "tensorflow": (tensorflow, "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "tensorflow, stock": (tensorflow_stock, "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "tensorflow, XLA": (tensorflow_xla, "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "jax": (jax, "jax", {"KERAS_BACKEND": "jax"}),
    "torch": (torch, "torch", {"KERAS_BACKEND": "torch"}),
    "openvino": (openvino, "openvino", {}),
    "onnxruntime": (onnxruntime, "onnxruntime", {}),
    "ncnn": (ncnn, "ncnn", {}),
    "paddlepaddle": (paddlepaddle, "paddle", {}),
    "torchvision": (torchvision, "torchvision", {}),
}
OURS = [name for name in CONTENDERS if name.split(",")[0] in ("tensorflow", "jax", "torch")]
