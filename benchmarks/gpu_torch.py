"""The contenders of `gpu.py` that run on PyTorch."""

import gc

import numpy as np
import torch
from gpu_worker import Contender


class Torch(Contender):
    def _connect(self, device):
        if device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        self.device_name = torch.cuda.get_device_name() if device == "gpu" else "cpu"
        if self.kind == "torchvision":
            import torchvision
            from torchvision.ops import deform_conv2d

            try:  # it imports where its compiled half does not load
                one = torch.ones(1, 1, 1, 1, device=self.device)
                deform_conv2d(one, torch.zeros(1, 2, 1, 1, device=self.device), one)
            except RuntimeError as error:
                raise RuntimeError(f"torchvision {torchvision.__version__} has no such operator: {error}") from None

    def versions(self):
        return {"cuda (torch)": torch.version.cuda, "cudnn (torch)": torch.backends.cudnn.version()}

    def drop(self):
        self.call = None
        gc.collect()
        self._release()
        return {}

    def _release(self):
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _wait(self, results):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _peak(self):
        if self.device.type != "cuda":
            return {"peak_bytes": None, "peak_from": None}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._wait(self.call())
        self._release()
        return {"peak_bytes": torch.cuda.max_memory_allocated(), "peak_from": "torch.cuda.max_memory_allocated"}

    def _numpy(self, name, result, at):
        if not torch.isfinite(result).all():
            raise ArithmeticError(f"{name}: not finite")
        # back to Keras's layout
        if self.kind in ("conv", "torchvision"):
            result = result.permute(2, 3, 1, 0) if name == "gradient of kernel" else result.permute(0, 2, 3, 1)
        flat = result.reshape(-1)
        if at is not None:
            flat = flat[torch.from_numpy(at).to(self.device)]
        return flat.detach().float().cpu().numpy()

    def _build(self, arrays, index, upstream, precision, rounded, backward):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

        def put(name, array):
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
            if name == "offsets":  # they name a pixel and a fraction: never less than float32
                return tensor
            return (tensor.to(torch.bfloat16) if rounded == "bfloat16" else tensor).to(dtype)

        tensors = {name: put(name, array) for name, array in arrays.items()}
        above = put("upstream", upstream)
        notes = {}
        if self.kind == "conv":
            tensors["inputs"] = tensors["inputs"].permute(0, 3, 1, 2)  # in memory still channels-last
            tensors["kernel"] = tensors["kernel"].permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            above = above.permute(0, 3, 1, 2)

            def function(inputs, kernel):
                return torch.nn.functional.conv2d(inputs, kernel, padding=1)

        elif self.kind == "torchvision":
            from torchvision.ops import deform_conv2d

            # Its own layout, channels first: turning the tensors around is not timed.
            kernel = tensors.pop("kernel").permute(3, 2, 0, 1).contiguous()
            tensors = {name: tensor.permute(0, 3, 1, 2).contiguous() for name, tensor in tensors.items()}
            tensors = {"inputs": tensors.pop("inputs"), "offsets": tensors.pop("offsets"), "kernel": kernel, **tensors}
            above = above.permute(0, 3, 1, 2).contiguous()

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, padding=1, mask=mask)

        elif self.kind == "gather":
            tensors["inputs"] = tensors["inputs"].reshape(-1, tensors["inputs"].shape[-1])
            at = torch.from_numpy(index).to(self.device)
            above = None
            notes["bytes_read"] = notes["bytes_written"] = at.numel() * tensors["inputs"][0].nbytes

            def function(inputs):
                return torch.index_select(inputs, 0, at)

        else:
            from deformconv import deform_conv2d

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, mask=mask, padding=1)

            if self.name.endswith("compile"):
                torch._dynamo.reset()  # else its limit of recompilations would leave later cases uncompiled
                torch._dynamo.utils.counters.clear()
                function = torch.compile(function, dynamic=False)

        arguments = list(tensors.values())
        if above is None and backward:
            above = torch.ones_like(function(*arguments))

        def forward():
            with torch.no_grad():
                return {"outputs": function(*arguments)}

        def both():
            outputs = function(*arguments)
            gradients = torch.autograd.grad(outputs, arguments, above)
            named = {f"gradient of {name}": g for name, g in zip(tensors, gradients, strict=True)}
            return {"outputs": outputs, **named}

        for tensor in arguments:
            tensor.requires_grad_(backward)
        self.call = both if backward else forward
        if self.name.endswith("compile"):
            self.call()
            notes["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        return notes
