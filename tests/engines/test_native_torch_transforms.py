"""PyTorch's operators of the compiled kernels under its transforms: the results are the portable engine's."""

import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's kernels", allow_module_level=True)

import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from deformconv.engines import native

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

from torch_calls import aggregate_of, assert_same, call_of, gradients, portably, sample_of

from deformconv.engines.native import torch_operators as operators

CONVOLVE_ALL = {operators.CONVOLVE, operators.POINTS_GRADIENT, operators.KERNEL_GRADIENT}
MADE = pytest.mark.parametrize("made", [call_of, aggregate_of, sample_of])


@MADE
def test_first_and_second_derivatives_are_differences(rng, made):
    function, tensors = made(rng)
    tensors = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_second_derivatives_within_hooks_on_saved_tensors(rng):
    """Where `torch.func` refuses to work."""
    convolve, tensors = call_of(rng)

    def second(function):
        watched = [t.clone().requires_grad_() for t in tensors]
        with torch.autograd.graph.save_on_cpu():
            first = torch.autograd.grad(function(*watched).square().sum(), watched, create_graph=True)
            return torch.autograd.grad(sum(g.square().sum() for g in first), watched)

    assert_same(second(convolve), second(portably(convolve)))


@pytest.mark.parametrize(
    "operator, of",
    [
        ("aggregate", lambda images, coords, weights: (images, coords, weights)),
        ("aggregate_gradient", lambda images, coords, weights: (images, coords, weights, torch.ones(2, 7, 4))),
    ],
)
def test_what_the_operators_say_of_themselves_is_true(rng, operator, of):
    _, tensors = aggregate_of(rng, dtype="float32")
    torch.library.opcheck(getattr(operators, operator), of(*tensors))
    torch.library.opcheck(getattr(operators, operator), of(*tensors[:2], None)[:3] + of(*tensors)[3:])


@pytest.mark.parametrize("operator", ["convolve", "convolve_points_gradient", "convolve_kernel_gradient"])
@pytest.mark.parametrize("masked", [False, True])
def test_those_of_the_convolution_too(rng, operator, masked):
    _, (images, offsets, kernel, *mask) = call_of(rng, masked=masked, dtype="float32")
    upstream = [] if operator == "convolve" else [torch.ones(2, 3, 4, 6)]
    mask = mask[0] if mask else None
    arguments = (images, offsets, mask, kernel, *upstream, [2, 1, 2, 1, 1, 2, 3, 4], 2, 1)
    torch.library.opcheck(getattr(operators, operator), arguments)


@MADE
def test_reverse_mode_by_torch_func_runs_on_the_kernels(rng, ran, made):
    function, tensors = made(rng)
    arguments = tuple(range(len(tensors)))

    def first(function):
        return torch.func.grad(lambda *t: function(*t).square().sum(), arguments)

    def second(function):
        return torch.func.grad(lambda *t: sum(g.square().sum() for g in first(function)(*t)), arguments)

    got = first(function)(*tensors)
    assert len(ran) == (3 if made is call_of else 2)
    assert_same(got, first(portably(function))(*tensors))
    assert_same(second(function)(*tensors), second(portably(function))(*tensors))

    def second_by_last(function):
        """The others are known to none of the levels."""
        return torch.func.jacrev(torch.func.grad(lambda last: function(*tensors[:-1], last).square().sum()))(
            tensors[-1]
        )

    assert_same(second_by_last(function), second_by_last(portably(function)))
    jacobians = (torch.func.jacrev(f, arguments)(*tensors) for f in (function, portably(function)))
    assert_same(*jacobians)


@MADE
def test_forward_mode_works(rng, made):
    function, tensors = made(rng)
    tensors, tangents = tuple(tensors), tuple(torch.sin(t) for t in tensors)
    arguments = tuple(range(len(tensors)))

    def dual(function):
        with forward_ad.dual_level():
            outputs = function(*map(forward_ad.make_dual, tensors, tangents))
            return forward_ad.unpack_dual(outputs).tangent

    def dual_upstream(function):
        """The forward pass is over when the level begins."""
        watched = [t.clone().requires_grad_() for t in tensors]
        outputs = function(*watched)
        with forward_ad.dual_level():
            upstream = forward_ad.make_dual(torch.ones_like(outputs), torch.sin(outputs.detach()))
            return [forward_ad.unpack_dual(g).tangent for g in torch.autograd.grad(outputs, watched, upstream)]

    for transformed in (
        lambda f: torch.func.jvp(f, tensors, tangents),
        lambda f: torch.func.jacfwd(f, arguments)(*tensors),
        lambda f: torch.func.hessian(lambda c: f(tensors[0], c, *tensors[2:]).square().sum())(tensors[1]),
        lambda f: torch.func.jacrev(torch.func.jacfwd(lambda c: f(tensors[0], c, *tensors[2:]).sum()))(tensors[1]),
        lambda f: torch.func.linearize(f, *tensors)[1](*tangents),
        dual,
        dual_upstream,
    ):
        got, expected = transformed(function), transformed(portably(function))
        assert max(leaf.abs().max() for leaf in torch.utils._pytree.tree_leaves(expected)) > 1e-3
        assert_same(got, expected)


@MADE
@pytest.mark.parametrize("mapped", range(4))
def test_vmap_over_each_argument(rng, ran, made, mapped):
    function, tensors = made(rng)
    if mapped >= len(tensors):
        pytest.skip("has fewer arguments")
    axis = tensors[mapped].ndim  # the last; and those of another call are nested in it
    tensors[mapped] = torch.stack([tensors[mapped], tensors[mapped] / 2, -tensors[mapped]], axis)
    in_dims = tuple(axis if i == mapped else None for i in range(len(tensors)))
    arguments = tuple(range(len(tensors)))

    def outputs(function):
        return torch.func.vmap(function, in_dims)(*tensors)

    def by_sample(function, of):
        return torch.func.vmap(torch.func.grad(of(function), arguments), in_dims)(*tensors)

    got = outputs(function)
    assert ran
    assert_same(got, outputs(portably(function)))
    # What comes from above is mapped with the values of the one, and not mapped with those of the other.
    for of in (lambda f: lambda *t: f(*t).square().sum(), lambda f: lambda *t: f(*t).sum()):
        assert_same(by_sample(function, of), by_sample(portably(function), of))


def test_vmap_over_no_kernels_at_all(rng):
    convolve, (images, offsets, kernel, mask) = call_of(rng)
    outputs = torch.func.vmap(lambda one: convolve(images, offsets, one, mask))(kernel.expand(0, *kernel.shape))
    assert outputs.shape == (0, 2, 3, 4, 6)


def test_vmap_within_vmap_without_a_mask(rng):
    convolve, tensors = call_of(rng, masked=False)
    tensors = [torch.stack([t, t / 2, -t]) for t in tensors]
    tensors[2] = torch.stack([tensors[2], tensors[2] / 3])

    def nested(function):
        inner = torch.func.vmap(lambda *t: torch.func.grad(lambda *u: function(*u).square().sum(), (0, 1, 2))(*t))
        return torch.func.vmap(inner, (None, None, 0))(*tensors)

    assert_same(nested(convolve), nested(portably(convolve)))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_graph_holds_the_operators_whatever_the_sizes(rng, ran, backend):
    convolve, _ = call_of(rng)
    compiled = torch.compile(convolve, fullgraph=True, dynamic=True, backend=backend)
    for batch, size in ((2, (5, 4)), (3, (9, 7))):
        _, tensors = call_of(rng, batch, size)
        got = gradients(compiled, tensors)
        assert {operation for operation, _ in ran} == CONVOLVE_ALL
        assert_same(got, gradients(portably(convolve), tensors))
        ran.clear()
        gradients(compiled, tensors, wanted=(0, 1))
        assert operators.KERNEL_GRADIENT not in {operation for operation, _ in ran}


def test_transforms_compile_too(rng):
    """They take the portable engine there, whose results they had."""
    convolve, tensors = call_of(rng)
    tensors = tuple(tensors)

    def of(function):
        def transformed(*tensors):
            by_offsets = torch.func.grad(lambda *t: function(*t).square().sum(), 1)(*tensors)
            return by_offsets, torch.func.jvp(function, tensors, tensors)[1]

        return transformed

    compiled = torch.compile(of(convolve), fullgraph=True, backend="aot_eager")
    assert_same(compiled(*tensors), of(portably(convolve))(*tensors))


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_holds_pytorchs_own_operations(rng, ran, strict):
    convolve, tensors = call_of(rng)

    class Model(torch.nn.Module):
        def forward(self, *tensors):
            return convolve(*tensors)

    batch = {0: torch.export.Dim("batch", max=64)}
    program = torch.export.export(Model(), tuple(tensors), dynamic_shapes=((batch, batch, None, batch),), strict=strict)
    assert not [node for node in program.graph.nodes if "deformconv" in str(node.target)]
    _, tensors = call_of(rng, batch=5)
    assert_same(program.module()(*tensors), convolve(*tensors))


@pytest.mark.filterwarnings("ignore")
def test_a_trace_holds_pytorchs_own_operations(rng):
    convolve, tensors = call_of(rng)
    traced = torch.jit.trace(convolve, tuple(tensors))
    assert "deformconv::" not in str(traced.inlined_graph)
    assert_same(traced(*tensors), convolve(*tensors))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints(rng, ran, use_reentrant):
    convolve, tensors = call_of(rng)

    def backward(function):
        watched = [t.clone().requires_grad_() for t in tensors]
        function(*watched).square().sum().backward()
        return [t.grad for t in watched]

    got = backward(lambda *t: checkpoint(convolve, *t, use_reentrant=use_reentrant))
    assert [operation for operation, _ in ran].count(operators.CONVOLVE) == 2
    assert_same(got, backward(portably(convolve)))


def test_they_are_found_while_a_graph_is_compiled():
    """The first call of all, in a single graph: whether there are kernels is not for the compiler to follow."""
    script = """
import torch
from deformconv import deform_conv2d
from deformconv.engines.native import torch_operators
targets = []
def backend(graph, _):
    targets.extend(str(node.target) for node in graph.graph.nodes)
    return graph.forward
compiled = torch.compile(lambda *t: deform_conv2d(*t, padding="same"), fullgraph=True, backend=backend)
compiled(torch.ones(1, 5, 4, 2), torch.ones(1, 5, 4, 12), torch.ones(3, 2, 2, 6))
print("deformconv.convolve.default" in targets)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_functionalize(rng):
    convolve, tensors = call_of(rng)
    assert_same(torch.func.functionalize(convolve)(*tensors), portably(convolve)(*tensors))
