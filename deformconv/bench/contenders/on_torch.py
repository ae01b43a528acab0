"""The contenders on PyTorch: this package's in two ways, PyTorch's own convolution, torchvision's, a gather."""

import torch

from deformconv.bench.cases import corner_rows
from deformconv.bench.contenders.runner import Runner, channels_last, check_engine


class _OnTorch(Runner):
    def connect(self):
        if self.device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        self.place = torch.device("cuda" if self.device == "gpu" else "cpu")
        return torch.cuda.get_device_name() if self.device == "gpu" else "cpu"

    def versions(self):
        return {"cuda (torch)": torch.version.cuda, "cudnn (torch)": torch.backends.cudnn.version()}

    def function(self, case, given):
        """The outputs, as a function of what the contender reads."""
        raise NotImplementedError

    def arranged(self, name, tensor):
        """A tensor in the layout that the contender wants."""
        return tensor

    def load(self, case, given, precision, rounded):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

        def put(name, array):
            tensor = torch.tensor(array, device=self.place)
            if name != "offsets":  # they name a pixel and a fraction: never less than float32
                tensor = (tensor.to(torch.bfloat16) if rounded == "bfloat16" else tensor).to(dtype)
            return self.arranged(name, tensor)

        tensors = {name: put(name, array).requires_grad_() for name, array in self.read(given).items()}
        names, arguments, function = list(tensors), list(tensors.values()), self.function(case, given)
        upstream = self.upstream(put("upstream", given["upstream"]), tensors)

        def forward():
            with torch.no_grad():
                return {"outputs": function(*arguments)}

        def backward():
            outputs = function(*arguments)
            gradients = torch.autograd.grad(outputs, arguments, upstream)
            return {"outputs": outputs, **{f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}}

        self.forward, self.backward = forward, backward

    def upstream(self, upstream, tensors):
        """The gradient that comes from above, given that of the case."""
        return upstream

    def wait(self, results):
        if self.device == "gpu":
            torch.cuda.synchronize()

    def array(self, name, result, at=None):
        if not torch.isfinite(result).all():
            raise ArithmeticError(f"{name}: not finite")
        if self.channels_first:
            result = result.permute(channels_last(name))
        if at is not None:
            result = result.reshape(-1)[torch.from_numpy(at).to(self.place)]
        return result.detach().float().cpu().numpy()

    def peak(self, direction):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self.wait(getattr(self, direction)())
        self.release()
        megabytes = torch.cuda.max_memory_allocated() / 1e6
        return {"peak": round(megabytes), "peak_from": "torch.cuda.max_memory_allocated"}

    def release(self):
        if self.device == "gpu":
            torch.cuda.empty_cache()


class Ours(_OnTorch):
    """This package's `deform_conv2d`, step by step."""

    def connect(self):
        check_engine("torch")
        return super().connect()

    def function(self, case, given):
        from deformconv import deform_conv2d

        def function(inputs, offsets, kernel, mask=None):
            return deform_conv2d(inputs, offsets, kernel, mask=mask, padding="same")

        return function


class Compiled(Ours):
    """The same under `torch.compile`; `graphs` says how many it made: with more than one, it did not take it whole."""

    def function(self, case, given):
        torch._dynamo.reset()  # else its limit of recompilations would leave later cases uncompiled
        torch._dynamo.utils.counters.clear()
        self.told = 0
        return torch.compile(super().function(case, given), dynamic=False)

    def notes(self, direction):
        before, self.told = self.told, torch._dynamo.utils.counters["stats"]["unique_graphs"]
        return {"graphs": self.told - before}


class Conv2D(_OnTorch):
    """PyTorch's own convolution, channels last in memory."""

    reads = ("inputs", "kernel")
    channels_first = True  # by their names; what lies in memory is another matter

    def arranged(self, name, tensor):
        order = (3, 2, 0, 1) if name == "kernel" else (0, 3, 1, 2)
        return tensor.permute(order).contiguous(memory_format=torch.channels_last)

    def function(self, case, given):
        def function(inputs, kernel):
            return torch.nn.functional.conv2d(inputs, kernel, padding=case.kernel // 2)

        return function


class TorchVision(_OnTorch):
    """`torchvision.ops.deform_conv2d` in its own layout, channels first: turning the tensors around is not timed."""

    channels_first = True

    def connect(self):
        name = super().connect()
        import torchvision
        from torchvision.ops import deform_conv2d

        try:  # it imports where its compiled half does not load
            one = torch.ones(1, 1, 1, 1, device=self.place)
            deform_conv2d(one, torch.zeros(1, 2, 1, 1, device=self.place), one)
        except RuntimeError as error:
            raise RuntimeError(f"torchvision {torchvision.__version__} has no such operator: {error}") from None
        return name

    def arranged(self, name, tensor):
        return tensor.permute((3, 2, 0, 1) if name == "kernel" else (0, 3, 1, 2)).contiguous()

    def function(self, case, given):
        from torchvision.ops import deform_conv2d

        def function(inputs, offsets, kernel, mask=None):
            return deform_conv2d(inputs, offsets, kernel, padding=case.kernel // 2, mask=mask)

        return function


class Gather(_OnTorch):
    """One gather of the rows of pixels that the four corners of all sampling points need; backwards a scatter-add."""

    reads = ("inputs",)

    def function(self, case, given):
        self.rows = torch.tensor(corner_rows(case, given["offsets"]), device=self.place)

        def function(inputs):
            return torch.index_select(inputs.reshape(-1, inputs.shape[-1]), 0, self.rows)

        return function

    def upstream(self, upstream, tensors):
        inputs = tensors["inputs"]
        self.bytes = len(self.rows) * inputs[0, 0, 0].nbytes
        return torch.ones(len(self.rows), inputs.shape[-1], dtype=inputs.dtype, device=self.place)

    def notes(self, direction):
        return {"bytes_read": self.bytes, "bytes_written": self.bytes} if direction == "forward" else {}

    def drop(self):
        self.rows = None
        super().drop()
