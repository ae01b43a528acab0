"""The kernels as JAX primitives, with a rule for each transformation: `jvp`, `grad`, `vmap`, several devices, export.

Three primitives, for any operation: its value, its tangent and its gradients. A tangent is computed portably; but
transposed, which is how JAX comes to reverse mode, it is the gradients, by the kernels. Whatever is derived from
tangents and gradients in turn is portable.
"""

from functools import cache, partial

import jax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from deformconv.engines.native.jax_sharding import by_images

try:  # It has no public name. A primitive in it learns, when it is lowered, for which devices.
    from jax._src.dispatch import prim_requires_devices_during_lowering as NEED_DEVICES
except ImportError:
    NEED_DEVICES = set()


def value(operation, *tensors):
    """What an operation computes of tensors. The operation is hashable, and has

    - `batched`: of each tensor, whether its first axis is the batch, which is the value's in any case;
    - `kernels`: of each kernel for gradients, the indices of the tensors that it differentiates by;
    - `shape(*tensors)` of the value, and a ValueError where they do not fit together;
    - `portably(*tensors)`: the value, by standard operations;
    - `natively(*tensors)`: the value in a list, by the kernel;
    - `gradients(*tensors, upstream, by=indices)`: the list of gradients by the tensors of one of `kernels`.
    """
    return _value.bind(*_varying_alike(tensors), of=operation)[0]


def _varying_alike(tensors):
    """What is the same on all devices of a `shard_map` is said to vary, where other tensors do: the kernel, mostly."""
    axes = [_varying_axes(tensor) for tensor in tensors]
    missing = [tuple(frozenset().union(*axes) - own) for own in axes]
    return [_varying(tensor, names) if names else tensor for tensor, names in zip(tensors, missing, strict=True)]


# Both have changed their names. Before JAX 0.7, there was nothing of the kind.


def _varying_axes(tensor):
    kind = jax.typeof(tensor)
    if hasattr(kind, "manual_axis_type"):
        return kind.manual_axis_type.varying
    return getattr(kind, "vma", frozenset())


def _varying(tensor, names):
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(tensor, names, to="varying")
    return jax.lax.pvary(tensor, names)


# The three primitives, by standard operations: each gives a list.


def _portable_value(*tensors, of):
    return [of.portably(*tensors)]


def _portable_tangent(*tensors, of, by):
    """Tensors, and after them tangents of those at the indices `by`; the others stand still."""
    tensors, tangents = tensors[: len(of.batched)], tensors[len(of.batched) :]
    return [jax.jvp(_moving(of.portably, tensors, by), [tensors[i] for i in by], list(tangents))[1]]


def _portable_gradients(*tensors, of, by):
    """Tensors, and after them the gradient that comes from above."""
    *tensors, upstream = tensors
    return list(jax.vjp(_moving(of.portably, tensors, by), *(tensors[i] for i in by))[1](upstream))


def _moving(function, tensors, by):
    """`function` of the tensors at the indices `by` alone."""

    def of_moving(*moving):
        changed = dict(zip(by, moving, strict=True))
        return function(*(changed.get(i, tensor) for i, tensor in enumerate(tensors)))

    return of_moving


_value, _tangent, _gradients = (Primitive(f"deformconv_{name}") for name in ("value", "tangent", "gradients"))
_PORTABLY = {_value: _portable_value, _tangent: _portable_tangent, _gradients: _portable_gradients}


# What every primitive has: a type, a way to be run at once, and one to become a part of a program.


def _sides(primitive, of, by=()):
    """Of each input and of each output, whether its first axis is the batch."""
    if primitive is _value:
        return of.batched, (True,)
    if primitive is _tangent:
        return (*of.batched, *(of.batched[i] for i in by)), (True,)
    return (*of.batched, True), tuple(of.batched[i] for i in by)


def _types(primitive, *tensors, of, by=()):
    if primitive is _gradients:
        return [tensors[i].update(weak_type=False) for i in by]
    images = tensors[0]
    sharding = NamedSharding(images.sharding.mesh, PartitionSpec(*images.sharding.spec[:1]))
    shape = of.shape(*tensors[: len(of.batched)])
    return [images.update(shape=shape, weak_type=False, sharding=sharding)]


@cache
def _compiled(primitive, **parameters):
    return jax.jit(partial(primitive.bind, **parameters))


def _at_once(primitive, *tensors, **parameters):
    with jax.disable_jit(False):  # or it would come back here, again and again
        return _compiled(primitive, **parameters)(*tensors)


def _on_cpu(primitive, portably, context, *values, **parameters):
    """Lowers the kernel's call; but what is exported is to run without this package, too."""
    if context.module_context.lowering_parameters.for_export:
        return portably(context, *values, **parameters)

    def native(*tensors):
        of = parameters["of"]
        return of.natively(*tensors) if primitive is _value else of.gradients(*tensors, by=parameters["by"])

    program = context.module_context.axis_context
    if getattr(program, "num_devices", 0) != 1:
        if getattr(program, "device_assignment", ()) is None:  # this JAX does not heed NEED_DEVICES
            return portably(context, *values, **parameters)
        native = by_images(native, *_sides(primitive, **parameters))
    return mlir.lower_fun(native, multiple_results=True)(context, *values)


def _define(primitive, portably):
    primitive.multiple_results = True
    primitive.def_impl(partial(_at_once, primitive))
    primitive.def_abstract_eval(partial(_types, primitive))
    lowered = mlir.lower_fun(portably, multiple_results=True)
    mlir.register_lowering(primitive, lowered)
    if primitive is not _tangent:
        mlir.register_lowering(primitive, partial(_on_cpu, primitive, lowered), platform="cpu")
        NEED_DEVICES.add(primitive)
    batching.primitive_batchers[primitive] = partial(_vmap, primitive)


# Derivatives


def _jvp_of_value(tensors, tangents, *, of):
    by = _indices(type(tangent) is not ad.Zero for tangent in tangents)
    moving = _varying_alike([*tensors, *(tangents[i] for i in by)])
    return _value.bind(*tensors, of=of), _tangent.bind(*moving, of=of, by=by)


def _transpose_of_tangent(upstreams, *tensors, of, by):
    count = len(of.batched)
    wanted = {i for i, tangent in zip(by, tensors[count:], strict=True) if ad.is_undefined_primal(tangent)}
    found = _gradients_by(wanted, of, tensors[:count], upstreams[0])
    return [None] * count + [found[i] for i in by]


def _transpose_of_value(upstreams, *tensors, of):
    """It is linear in the images, or the weights, or the kernel: a gradient by these does not depend on them."""
    wanted = set(_indices(map(ad.is_undefined_primal, tensors)))
    known = [jnp.zeros(t.aval.shape, t.aval.dtype) if i in wanted else t for i, t in enumerate(tensors)]
    return _gradients_by(wanted, of, known, upstreams[0])


def _gradients_by(wanted, of, tensors, upstream):
    """Gradients by the tensors at the indices `wanted`, else None. A kernel that makes none of them is not called."""
    found = [None] * len(tensors)
    if type(upstream) is ad.Zero:
        return found
    inputs = _varying_alike([*tensors, upstream])
    for by in of.kernels:
        if not wanted.isdisjoint(by):
            for i, gradient in zip(by, _gradients.bind(*inputs, of=of, by=by), strict=True):
                found[i] = gradient if i in wanted else None
    return found


def _jvp_portably(primitive, tensors, tangents, **parameters):
    by = _indices(type(tangent) is not ad.Zero for tangent in tangents)
    function = _moving(partial(_PORTABLY[primitive], **parameters), tensors, by)
    _, along = jax.jvp(function, [tensors[i] for i in by], [tangents[i] for i in by])
    return primitive.bind(*tensors, **parameters), along


def _indices(chosen):
    return tuple(i for i, it_is in enumerate(chosen) if it_is)


ad.primitive_jvps[_value] = _jvp_of_value
ad.primitive_jvps[_tangent] = partial(_jvp_portably, _tangent)
ad.primitive_jvps[_gradients] = partial(_jvp_portably, _gradients)
ad.primitive_transposes[_value] = _transpose_of_value
ad.primitive_transposes[_tangent] = _transpose_of_tangent


# vmap


def _vmap(primitive, tensors, axes, **parameters):
    inputs, outputs = _sides(primitive, **parameters)
    mapped = set(_indices(axis is not None for axis in axes))
    tensors = [jnp.moveaxis(t, axes[i], 0) if i in mapped else t for i, t in enumerate(tensors)]
    size = tensors[min(mapped)].shape[0]

    def folded(tensor):  # the mapped axis is a part of the batch
        return jnp.reshape(tensor, (size * tensor.shape[1], *tensor.shape[2:]))

    if all(outputs) and all(inputs[i] for i in mapped):
        whole = [jnp.broadcast_to(t, (size, *t.shape)) if i not in mapped else t for i, t in enumerate(tensors)]
        batch = whole[0].shape[1]
        results = primitive.bind(
            *(folded(whole[i]) if batched else tensors[i] for i, batched in enumerate(inputs)), **parameters
        )
        results = [jnp.reshape(result, (size, batch, *result.shape[1:])) for result in results]
    else:  # each has a kernel of its own, or a gradient by it

        def one(moving):
            return primitive.bind(*(moving.get(i, tensor) for i, tensor in enumerate(tensors)), **parameters)

        results = jax.lax.map(one, {i: tensors[i] for i in mapped})
    return results, [0] * len(results)


for _primitive, _portable in _PORTABLY.items():
    _define(_primitive, _portable)
