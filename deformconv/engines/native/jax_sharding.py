"""A kernel's call in a program for several devices: each computes its own images, as it does all around."""

import math
from collections.abc import Callable, Sequence

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


def by_images(function: Callable, inputs: Sequence[bool], outputs: Sequence[bool]) -> Callable:
    """`function` of tensors, split among the devices as its images are: XLA would have each of them compute all.

    Args:
        function: gives a list of tensors.
        inputs, outputs: of each tensor, whether its first axis is the batch. An output without is a sum over the batch.

    Returns:
        A function of the same tensors to lower a primitive with: it has no derivatives of its own.
    """

    def named(mesh, axes):
        """How results and arguments are laid out, once `axes` of the mesh divide the batch."""
        first, whole = NamedSharding(mesh, PartitionSpec(axes or None)), NamedSharding(mesh, PartitionSpec())
        return [first if b else whole for b in outputs], tuple(first if b else whole for b in inputs)

    def partition(mesh, arguments, results):
        axes = _axes(mesh, arguments, inputs)

        def of_share(*tensors):
            made = function(*tensors)
            return [jax.lax.psum(m, axes) if axes and not b else m for m, b in zip(made, outputs, strict=True)]

        return mesh, of_share, *named(mesh, axes)

    def infer(mesh, arguments, results):  # for the partitioner before Shardy, which has no use for a rule
        return named(mesh, _axes(mesh, arguments, inputs))[0]

    def rule(mesh, arguments, results):
        return _rule(arguments, results, inputs, outputs)

    split = custom_partitioning(lambda *tensors: function(*tensors))
    split.def_partition(partition, infer, sharding_rule=rule)
    return split


def _axes(mesh, arguments, inputs):
    """Axes of the mesh, along which the batch is split: none if they leave a remainder, or cannot be known."""
    for argument, batched in zip(arguments, inputs, strict=True):
        if batched and (spec := getattr(argument.sharding, "spec", None)) and spec[0]:
            axes = (spec[0],) if isinstance(spec[0], str) else tuple(spec[0])
            return () if argument.shape[0] % math.prod(mesh.shape[axis] for axis in axes) else axes
    return ()


def _rule(arguments, results, inputs, outputs):
    """Shardy's rule: the batch runs through all; every other axis, with a name of its own, must be whole."""
    names = (f"n{i}" for i in range(100))
    whole = []

    def described(types, batched):
        for tensor, first in zip(types, batched, strict=True):
            own = [next(names) for _ in tensor.shape[first:]]
            whole.extend(own)
            yield " ".join((["batch"] if first else []) + own)

    rule = " -> ".join(", ".join(described(*side)) for side in ((arguments, inputs), (results, outputs)))
    summed = () if all(outputs) else ("batch",)
    return rule, {"reduction_factors": summed, "need_replication_factors": tuple(whole)}
