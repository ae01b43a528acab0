"""The kernels as JAX primitives, with a rule for each transformation: `jvp`, `grad`, `vmap`, several devices, export.

Three primitives, for any operation: its value, its tangent and its gradients. Tangents are computed portably, but
transposed, which is what reverse mode does, they are the kernels' gradients. What is derived further is portable.
"""

from functools import cache, partial

import jax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from deformconv.engines.native.jax_sharding import by_images

try:  # It has no public name. What splits a call among devices must be told which they are.
    from jax._src.dispatch import prim_requires_devices_during_lowering as NEEDS_DEVICES
except ImportError:
    NEEDS_DEVICES = set()


def value(operation, *tensors):
    """What an operation computes of tensors. It must be hashable, and have

    `shape(*tensors)`, a tuple, of the value;
    `portably(*tensors)`, the value by standard operations, and `natively(*tensors)`, a list of it alone, by the kernel;
    `gradients(*tensors, upstream, by=indices)`, a list, by the kernel that computes them for these tensors;
    `kernels`: of each of those, the indices of the tensors that it has gradients by;
    `batched`: of each tensor, whether its first axis is the batch. It is the value's, in any case.
    """
    return _value.bind(*_varying_alike(tensors), of=operation)[0]


def _varying_alike(tensors):
    """Within `shard_map`: what is the same on all devices is told to differ, as the others do."""
    axes = [getattr(jax.typeof(tensor), "vma", frozenset()) for tensor in tensors]
    missing = [frozenset().union(*axes) - own for own in axes]
    return [
        jax.lax.pcast(tensor, tuple(names), to="varying") if names else tensor
        for tensor, names in zip(tensors, missing, strict=True)
    ]


def _portable_value(*tensors, of):
    return [of.portably(*tensors)]


def _portable_tangent(*tensors, of, by):
    """`tensors` and after them the tangents of those at the indices `by`: all others stand still."""
    tensors, tangents = tensors[: len(of.batched)], tensors[len(of.batched) :]
    return [jax.jvp(_along(of.portably, tensors, by), [tensors[i] for i in by], list(tangents))[1]]


def _portable_gradients(*tensors, of, by):
    """`tensors` and after them the gradient by the value."""
    *tensors, upstream = tensors
    return list(jax.vjp(_along(of.portably, tensors, by), *(tensors[i] for i in by))[1](upstream))


def _along(function, tensors, by):
    """`function` of the tensors at the indices `by` alone."""

    def moved(*moving):
        changed = dict(zip(by, moving, strict=True))
        return function(*(changed.get(i, tensor) for i, tensor in enumerate(tensors)))

    return moved


_value, _tangent, _gradients = (Primitive(f"deformconv_{name}") for name in ("value", "tangent", "gradients"))
PORTABLY = {_value: _portable_value, _tangent: _portable_tangent, _gradients: _portable_gradients}


def _sides(primitive, of, by=()):
    """Of each input and each output of a primitive, whether its first axis is the batch."""
    if primitive is _value:
        return of.batched, (True,)
    if primitive is _tangent:
        return of.batched + tuple(of.batched[i] for i in by), (True,)
    return (*of.batched, True), tuple(of.batched[i] for i in by)


# Each primitive alone: run at once, and its type.


@cache
def _compiled(primitive, **parameters):
    return jax.jit(partial(primitive.bind, **parameters))


def _types(primitive, *tensors, of, by=()):
    if primitive is _gradients:
        return [tensors[i] for i in by]
    images, shape = tensors[0], of.shape(*tensors[: len(of.batched)])
    return [images.update(shape=shape, weak_type=False)]


# Derivatives


def _jvp_of_value(tensors, tangents, *, of):
    by = tuple(i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero)
    moving = _varying_alike([*tensors, *(tangents[i] for i in by)])
    return _value.bind(*tensors, of=of), _tangent.bind(*moving, of=of, by=by)


def _transpose_of_value(upstreams, *tensors, of):
    """The value is linear in the images, in the weights and in the kernel: in one of them, were the others known."""
    (upstream,) = upstreams
    wanted = [i for i, tensor in enumerate(tensors) if ad.is_undefined_primal(tensor)]
    known = [jnp.zeros(t.aval.shape, t.aval.dtype) if ad.is_undefined_primal(t) else t for t in tensors]
    return _gradients_by(wanted, of, known, upstream)


def _transpose_of_tangent(upstreams, *tensors, of, by):
    (upstream,), count = upstreams, len(of.batched)
    wanted = [i for i, tangent in zip(by, tensors[count:], strict=True) if ad.is_undefined_primal(tangent)]
    found = _gradients_by(wanted, of, tensors[:count], upstream)
    return [None] * count + [found[i] for i in by]


def _gradients_by(wanted, of, tensors, upstream):
    """Those by the tensors at the indices `wanted`, and None for the others: a kernel that has none of them is left out."""
    found = [None] * len(tensors)
    if type(upstream) is ad.Zero:
        return found
    for by in of.kernels:
        if set(by) & set(wanted):
            for i, gradient in zip(by, _gradients.bind(*_varying_alike([*tensors, upstream]), of=of, by=by), strict=True):
                found[i] = gradient if i in wanted else None
    return found


def _jvp_portably(primitive, tensors, tangents, **parameters):
    by = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]
    moved = _along(partial(PORTABLY[primitive], **parameters), tensors, by)
    return primitive.bind(*tensors, **parameters), jax.jvp(moved, [tensors[i] for i in by], [tangents[i] for i in by])[1]


ad.primitive_jvps[_value] = _jvp_of_value
ad.primitive_transposes[_value] = _transpose_of_value
ad.primitive_transposes[_tangent] = _transpose_of_tangent
for _primitive in (_tangent, _gradients):
    ad.primitive_jvps[_primitive] = partial(_jvp_portably, _primitive)


# vmap


def _vmap(primitive, tensors, mapped, **parameters):
    inputs, outputs = _sides(primitive, **parameters)
    tensors = [t if axis is None else jnp.moveaxis(t, axis, 0) for t, axis in zip(tensors, mapped, strict=True)]
    mapped = [axis is not None for axis in mapped]
    size = next(tensor.shape[0] for tensor, is_mapped in zip(tensors, mapped, strict=True) if is_mapped)
    if all(outputs) and all(batched for batched, is_mapped in zip(inputs, mapped, strict=True) if is_mapped):
        # The mapped axis becomes a part of the batch.
        def folded(tensor, is_mapped):
            tensor = tensor if is_mapped else jnp.broadcast_to(tensor, (size, *tensor.shape))
            return jnp.reshape(tensor, (size * tensor.shape[1], *tensor.shape[2:]))

        together = [folded(*tensor) if b else tensor[0] for b, *tensor in zip(inputs, tensors, mapped, strict=True)]
        results = primitive.bind(*together, **parameters)
        batch = tensors[0].shape[1 if mapped[0] else 0]
        results = [jnp.reshape(result, (size, batch, *result.shape[1:])) for result in results]
    else:
        # Each has a kernel of its own, or a gradient by it.
        def one(moving):
            rest = iter(moving)
            return primitive.bind(
                *(next(rest) if is_mapped else tensor for tensor, is_mapped in zip(tensors, mapped, strict=True)),
                **parameters,
            )

        results = jax.lax.map(one, [tensor for tensor, is_mapped in zip(tensors, mapped, strict=True) if is_mapped])
    return results, [0] * len(results)


# What a program holds: on a CPU the kernel; elsewhere, and in what is exported, standard operations.


def _natively(*tensors, of, by=None):
    if by is None:
        return of.natively(*tensors)
    return of.gradients(*tensors, by=by)


def _lowered_on_cpu(primitive, portably, context, *values, **parameters):
    if context.module_context.lowering_parameters.for_export:
        return portably(context, *values, **parameters)
    native, program = partial(_natively, **parameters), context.module_context.axis_context
    if getattr(program, "num_devices", 0) != 1:
        if getattr(program, "device_assignment", ()) is None:  # JAX knows `NEEDS_DEVICES` no more: standard operations
            return portably(context, *values, **parameters)
        native = by_images(native, *_sides(primitive, **parameters))
    return mlir.lower_fun(native, multiple_results=True)(context, *values)


for _primitive, _compute in PORTABLY.items():
    _primitive.multiple_results = True
    _primitive.def_impl(lambda *tensors, _primitive=_primitive, **parameters: _compiled(_primitive, **parameters)(*tensors))
    _primitive.def_abstract_eval(partial(_types, _primitive))
    batching.primitive_batchers[_primitive] = partial(_vmap, _primitive)
    _rule = mlir.lower_fun(_compute, multiple_results=True)
    mlir.register_lowering(_primitive, _rule)
    if _primitive is not _tangent:
        mlir.register_lowering(_primitive, partial(_lowered_on_cpu, _primitive, _rule), platform="cpu")
        NEEDS_DEVICES.add(_primitive)
