"""The contenders of `gpu.py` that run on JAX."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
from gpu_worker import Contender


class Jax(Contender):
    def _connect(self, device):
        self.device = jax.devices()[0]
        if device == "gpu" and self.device.platform not in ("gpu", "cuda"):
            raise RuntimeError(f"JAX {jax.__version__} sees no GPU, only {self.device.platform}")
        self.device_name = self.device.device_kind

    def versions(self):
        return {}

    def drop(self):
        self.call = None
        gc.collect()
        jax.clear_caches()
        return {}

    def _wait(self, results):
        jax.block_until_ready(results)

    def _peak(self):
        # The device's own statistics (memory_stats) know only the highest peak since the process began.
        return {"peak_bytes": self.planned_bytes, "peak_from": "XLA's plan: arguments, results, temporaries"}

    def _numpy(self, name, result, at):
        if not bool(jnp.isfinite(result).all()):
            raise ArithmeticError(f"{name}: not finite")
        flat = result.reshape(-1)
        if at is not None:
            flat = flat[at.astype("int32")]  # the largest case has fewer than 2^31 elements
        return np.asarray(flat.astype("float32"))

    def _build(self, arrays, index, upstream, precision, rounded, backward):
        names = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
        jax.config.update("jax_default_matmul_precision", names[precision])
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32

        def put(name, array):
            array = jax.device_put(array, self.device)
            if name == "offsets":  # they name a pixel and a fraction: never less than float32
                return array
            return (array.astype(jnp.bfloat16) if rounded == "bfloat16" else array).astype(dtype)

        tensors = {name: put(name, array) for name, array in arrays.items()}
        above = put("upstream", upstream)
        notes, at = {}, ()
        if self.kind == "conv":

            def function(inputs, kernel):
                layout = ("NHWC", "HWIO", "NHWC")
                return jax.lax.conv_general_dilated(inputs, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)

        elif self.kind == "gather":
            tensors["inputs"] = tensors["inputs"].reshape(-1, tensors["inputs"].shape[-1])
            at = (jax.device_put(index, self.device),)
            above = None
            notes["bytes_read"] = notes["bytes_written"] = index.size * tensors["inputs"][0].nbytes

            def function(inputs, at):
                return jnp.take(inputs, at, axis=0, mode="clip")  # JAX's own would check every index

        else:
            from deformconv import deform_conv2d

            def function(inputs, offsets, kernel, mask=None):
                return deform_conv2d(inputs, offsets, kernel, mask=mask, padding=1)

        arguments = list(tensors.values())

        def forward(above, at, *arguments):
            return {"outputs": function(*arguments, *at)}

        def both(above, at, *arguments):
            outputs, pull_back = jax.vjp(lambda *a: function(*a, *at), *arguments)
            gradients = pull_back(above)
            named = {f"gradient of {name}": g for name, g in zip(tensors, gradients, strict=True)}
            return {"outputs": outputs, **named}

        if above is None and backward:
            above = jnp.ones(jax.eval_shape(function, *arguments, *at).shape, dtype)
        compiled = jax.jit(both if backward else forward)
        above = above if backward else None
        plan = compiled.lower(above, at, *arguments).compile().memory_analysis()
        sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
        self.planned_bytes = sum(getattr(plan, size) for size in sizes) if plan else None
        self.call = lambda: compiled(above, at, *arguments)
        return notes
