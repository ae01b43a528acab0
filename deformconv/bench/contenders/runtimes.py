"""The contenders with libraries of their own, all on the CPU in float32 and with channels first."""

import os
import tempfile

import numpy as np

from deformconv.bench.contenders.runner import Runner


class _Runtime(Runner):
    channels_first = True

    def load(self, case, given, precision, rounded):
        order = {"kernel": (3, 2, 0, 1)}
        self.prepare(
            case,
            {
                name: np.ascontiguousarray(array.transpose(order.get(name, (0, 3, 1, 2))))
                for name, array in given.items()
                if array is not None
            },
        )

    def prepare(self, case, first):
        """Makes `forward`, and `backward` if it can, of numbers with channels first: `(b, c, h, w)`."""
        raise NotImplementedError


class OnnxRuntime(_Runtime):
    """ONNX's operator, on a model of one node."""

    def prepare(self, case, first):
        import onnx
        import onnxruntime

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
        self.forward = lambda: {"outputs": session.run(None, feed)[0]}


class OpenVINO(_Runtime):
    """OpenVINO's operator, on a model of one node."""

    def prepare(self, case, first):
        import openvino as ov
        from openvino import opset8

        arrays = list(self.read(first | {"mask": first.get("mask")}).values())
        parameters = [opset8.parameter(array.shape, np.float32) for array in arrays]
        pad = [case.kernel // 2] * 2
        node = opset8.deformable_convolution(
            *parameters[:3], [1, 1], pad, pad, [1, 1], *parameters[3:], bilinear_interpolation_pad=True
        )
        model = ov.Model([node], parameters)
        # bfloat16 is its default where the processor has it.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _threads()}
        settings["PERFORMANCE_HINT"] = "LATENCY"
        request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        self.forward = lambda: {"outputs": request.infer(arrays)[0]}


class NCNN(_Runtime):
    """ncnn's layer, on a network of one."""

    def prepare(self, case, first):
        import ncnn

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
            return {"outputs": np.stack(outputs)}

        self.forward = forward


class PaddlePaddle(_Runtime):
    """PaddlePaddle's operator."""

    def prepare(self, case, first):
        import paddle

        paddle.set_device("cpu")
        tensors = {name: paddle.to_tensor(array) for name, array in first.items()}
        upstream = tensors.pop("upstream")
        for tensor in tensors.values():
            tensor.stop_gradient = False

        def function(inputs, offsets, kernel, mask=None):
            return paddle.vision.ops.deform_conv2d(inputs, offsets, kernel, padding=case.kernel // 2, mask=mask)

        def forward():
            with paddle.no_grad():
                return {"outputs": function(**tensors).numpy()}

        def backward():
            outputs = function(**tensors)
            gradients = paddle.grad(outputs, list(tensors.values()), grad_outputs=[upstream])
            named = {f"gradient of {n}": g for n, g in zip(tensors, gradients, strict=True)}
            return {"outputs": outputs, **named}

        self.forward, self.backward = forward, backward


def _threads():
    return int(os.environ["DEFORMCONV_BENCH_THREADS"])
