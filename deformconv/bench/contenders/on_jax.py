"""The contenders on JAX, under `jax.jit`: this package's, JAX's own convolution, a gather."""

import jax
import jax.numpy as jnp
import numpy as np

from deformconv.bench.cases import corner_rows
from deformconv.bench.contenders.runner import Runner, check_engine

MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


class _OnJAX(Runner):
    def connect(self):
        self.place = jax.devices()[0]
        if self.device == "gpu" and self.place.platform not in ("gpu", "cuda"):
            raise RuntimeError(f"JAX {jax.__version__} sees no GPU, only {self.place.platform}")
        return self.place.device_kind

    def function(self, *tensors):
        """The outputs, of what the contender reads and, behind it, of `constants`."""
        raise NotImplementedError

    def constants(self, case, given):
        """What else it needs, and is not differentiated."""
        return ()

    def load(self, case, given, precision, rounded):
        jax.config.update("jax_default_matmul_precision", MATMUL[precision])
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32

        def put(name, array):
            array = jax.device_put(array, self.place)
            if name == "offsets":  # they name a pixel and a fraction: never less than float32
                return array
            return (array.astype(jnp.bfloat16) if rounded == "bfloat16" else array).astype(dtype)

        tensors = {name: put(name, array) for name, array in self.read(given).items()}
        names, arguments, constants = list(tensors), list(tensors.values()), self.constants(case, given)
        upstream = self.upstream(put("upstream", given["upstream"]), arguments, constants)

        def forward(arguments, constants):
            return {"outputs": self.function(*arguments, *constants)}

        def backward(upstream, arguments, constants):
            outputs, pull_back = jax.vjp(lambda *a: self.function(*a, *constants), *arguments)
            gradients = pull_back(upstream)
            return {"outputs": outputs, **{f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}}

        alone, both = jax.jit(forward), jax.jit(backward)
        self.calls = {
            "forward": (alone, (arguments, constants)),
            "backward": (both, (upstream, arguments, constants)),
        }
        self.forward = lambda: alone(arguments, constants)
        self.backward = lambda: both(upstream, arguments, constants)

    def upstream(self, upstream, arguments, constants):
        """The gradient that comes from above, given that of the case."""
        return upstream

    def wait(self, results):
        jax.block_until_ready(results)

    def array(self, name, result, at=None):
        if not bool(jnp.isfinite(result).all()):
            raise ArithmeticError(f"{name}: not finite")
        if at is not None:
            result = result.reshape(-1)[at.astype("int32")]  # the largest case has fewer than 2^31 elements
        return np.asarray(result.astype("float32"))

    def peak(self, direction):
        # The device's own statistics (memory_stats) know only the highest peak since the process began.
        call, arguments = self.calls[direction]
        plan = call.lower(*arguments).compile().memory_analysis()
        if plan is None:
            return {}
        sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
        megabytes = sum(getattr(plan, size) for size in sizes) / 1e6
        return {"peak": round(megabytes), "peak_from": "XLA's plan: arguments, results, temporaries"}

    def drop(self):
        self.calls = {}
        super().drop()
        jax.clear_caches()


class Ours(_OnJAX):
    """This package's `deform_conv2d`."""

    def connect(self):
        check_engine("jax")
        return super().connect()

    def function(self, inputs, offsets, kernel, mask=None):
        from deformconv import deform_conv2d

        return deform_conv2d(inputs, offsets, kernel, mask=mask, padding="same")


class Conv2D(_OnJAX):
    """JAX's own convolution, channels last."""

    reads = ("inputs", "kernel")

    def function(self, inputs, kernel):
        return jax.lax.conv_general_dilated(inputs, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


class Gather(_OnJAX):
    """One gather of the rows of pixels that the four corners of all sampling points need; backwards a scatter-add."""

    reads = ("inputs",)

    def constants(self, case, given):
        return (jax.device_put(corner_rows(case, given["offsets"]), self.place),)

    def upstream(self, upstream, arguments, constants):
        ((inputs,), (rows,)) = arguments, constants
        self.bytes = len(rows) * inputs[0, 0, 0].nbytes
        return jnp.ones((len(rows), inputs.shape[-1]), inputs.dtype)

    def notes(self, direction):
        return {"bytes_read": self.bytes, "bytes_written": self.bytes} if direction == "forward" else {}

    def function(self, inputs, rows):
        inputs = inputs.reshape(-1, inputs.shape[-1])
        return jnp.take(inputs, rows, axis=0, mode="clip")  # JAX's own would check every index
