"""What PyTorch's transforms make of the operators: their derivatives, of any order, and `vmap`.

The first derivatives are operators, too. Theirs are the portable engine's: slow, exact, and rarely asked for.
"""

from functools import partial

import torch
from torch.autograd import forward_ad

from deformconv.engines import columns, grouped, portable
from deformconv.engines.native import torch_operators as operators


def beyond_operators():
    """Whether a transform is at work that operators of one's own cannot take part in.

    It is forward-mode differentiation, `functionalize`, or any of `torch.func` within a graph that is being compiled.
    What tells has no public name.
    """
    if forward_ad._current_level >= 0:
        return True  # `torch.func.jvp` and all that is made of it set it, too
    if not torch._C._are_functorch_transforms_active():
        return False
    if torch.compiler.is_compiling():
        return True
    levels = torch._C._functorch.get_interpreter_stack()
    return any(level.key() == torch._C._functorch.TransformType.Functionalize for level in levels)


def _aggregate(images, coords, weights):
    if weights is None:
        return grouped.sample(portable.sample, images, coords[:, :, :, 0])
    return grouped.aggregate(portable.sample, images, coords, weights)


def _convolve(images, offsets, weights, kernel, geometry, groups, offset_groups):
    return columns.convolve(
        portable.sample,
        images,
        offsets,
        kernel,
        mask=weights,
        bias=None,
        strides=geometry[:2],
        pads=geometry[2:4],
        dilation_rate=geometry[4:6],
        out_size=geometry[6:],
        groups=groups,
        offset_groups=offset_groups,
    )


def _differentiable(operator, portably, gradients):
    """An operator with its derivatives: pairs of the function that computes some, and by which arguments."""
    count = 1 + max(i for _, of in gradients for i in of)  # of the tensors, which come first

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:count])
        ctx.options = inputs[count:]

    def backward(ctx, upstream):
        given, by = ctx.saved_tensors, [None] * (count + len(ctx.options))
        for native, of in gradients:
            if not any(ctx.needs_input_grad[i] for i in of):
                continue  # a frozen kernel
            if beyond_operators():
                found = _gradient(portably, of, given, upstream, ctx.options)
            else:
                found = native(*given, upstream, *ctx.options)
            for i, gradient in zip(of, (found,) if isinstance(found, torch.Tensor) else found, strict=True):
                by[i] = None if given[i] is None else gradient
        return tuple(by)

    return _function(operator, setup_context, backward)


def _differentiable_gradient(operator, portably, of, count):
    """Likewise an operator that computes the gradients by the arguments `of`, out of `count` tensors."""

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[: count + 1])
        ctx.options = inputs[count + 1 :]

    def backward(ctx, *upstreams):
        *given, upstream = ctx.saved_tensors
        present = [i for i, tensor in enumerate(given) if tensor is not None]

        def first(upstream, *tensors):
            by = _gradient(portably, of, _put(given, present, tensors), upstream, ctx.options)
            return tuple(gradient for gradient in by if gradient is not None)

        upstreams = tuple(u for i, u in zip(of, upstreams, strict=True) if i in present)
        by_upstream, *found = _pulled_back(first, [upstream, *(given[i] for i in present)], upstreams)
        return (*_put([None] * count, present, found), by_upstream, *(None for _ in ctx.options))

    return _function(operator, setup_context, backward)


def _function(operator, setup_context, backward):
    """The operator as a function that every transform takes, but those of `beyond_operators`."""
    operator.register_autograd(backward, setup_context=setup_context)
    # `torch.func` knows nothing of that: it takes a Function.
    members = {"forward": lambda *arguments: operator(*arguments), "setup_context": setup_context, "backward": backward}
    members = {name: staticmethod(member) for name, member in members.items()}
    function = type("Deformable", (torch.autograd.Function,), members | {"generate_vmap_rule": True})

    def call(*arguments):
        return function.apply(*arguments) if torch._C._are_functorch_transforms_active() else operator(*arguments)

    return call


def _gradient(portably, of, given, upstream, options):
    """The portable engine's gradients by the arguments `of`; None for those that are not there."""
    present = [i for i in of if given[i] is not None]

    def values(*tensors):
        return portably(*_put(given, present, tensors), *options)

    by = _pulled_back(values, [given[i] for i in present], upstream)
    by = _put([None] * len(given), present, by)
    return tuple(by[i] for i in of)


def _put(those, places, others):
    """A copy of a list with others at some places."""
    those = list(those)
    for place, other in zip(places, others, strict=True):
        those[place] = other
    return those


def _pulled_back(function, tensors, upstreams):
    """The gradients of `upstreams` times `function(*tensors)` by these, themselves to be differentiated."""
    if torch._C._are_functorch_transforms_active():  # which know no `requires_grad_`; it has no public name
        return torch.func.vjp(function, *tensors)[1](upstreams)
    with torch.enable_grad():  # what `torch.func` cannot do within `save_on_cpu` or a checkpoint
        tensors = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in tensors]
        values = function(*tensors)
        return torch.autograd.grad(values, tensors, upstreams, create_graph=True, materialize_grads=True)


def _map_by_folding(operator, kernel, info, in_dims, *arguments):
    """`vmap` where the mapped axis becomes a part of the batch axis, which all tensors have but a kernel.

    Args:
        operator: which it is.
        kernel: the index of the kernel among the arguments, or None.
        info, in_dims, *arguments: as PyTorch gives them.
    """
    if kernel is not None and in_dims[kernel] is not None:
        return _map_one_by_one(operator, info, in_dims, *arguments)
    size = info.batch_size

    def folded(i, argument, axis):
        if i == kernel or not isinstance(argument, torch.Tensor):
            return argument
        mapped = argument.expand(size, *argument.shape) if axis is None else argument.movedim(axis, 0)
        return mapped.reshape(size * mapped.shape[1], *mapped.shape[2:])

    def unfolded(result):
        if result.ndim == 1:  # by weights that are not there
            return result, None
        return result.unflatten(0, (size, result.shape[0] // size)), 0

    results = operator(*map(folded, range(len(arguments)), arguments, in_dims))
    return unfolded(results) if isinstance(results, torch.Tensor) else tuple(zip(*map(unfolded, results), strict=True))


def _map_one_by_one(operator, info, in_dims, *arguments):
    """`vmap` of what no single call can do: each has a kernel of its own, or wants a gradient by the kernel."""
    size = info.batch_size

    def one(i, argument, axis):
        if not isinstance(argument, torch.Tensor) or axis is None:
            return argument
        return argument.select(axis, i) if size else argument.new_zeros(argument.movedim(axis, 0).shape[1:])

    results = [operator(*map(partial(one, i), arguments, in_dims)) for i in range(size or 1)]  # of none, the shapes
    if isinstance(results[0], torch.Tensor):
        return torch.stack(results)[:size], 0
    return tuple(torch.stack(each)[:size] for each in zip(*results, strict=True)), (0,) * len(results[0])


for _operator, _kernel in (
    (operators.aggregate, None),
    (operators.aggregate_gradient, None),
    (operators.convolve, 3),
    (operators.convolve_points_gradient, 3),
):
    _operator.register_vmap(partial(_map_by_folding, _operator, _kernel))
operators.convolve_kernel_gradient.register_vmap(partial(_map_one_by_one, operators.convolve_kernel_gradient))

_aggregate_gradient = _differentiable_gradient(operators.aggregate_gradient, _aggregate, (0, 1, 2), 3)
aggregate = _differentiable(operators.aggregate, _aggregate, [(_aggregate_gradient, (0, 1, 2))])
_points_gradient = _differentiable_gradient(operators.convolve_points_gradient, _convolve, (0, 1, 2), 4)
_kernel_gradient = _differentiable_gradient(operators.convolve_kernel_gradient, _convolve, (3,), 4)
convolve = _differentiable(operators.convolve, _convolve, [(_points_gradient, (0, 1, 2)), (_kernel_gradient, (3,))])
