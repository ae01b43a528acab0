"""Where the channels of a tensor in an ONNX graph come from: which convolution makes them, with what weights."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deformconv.exchange.onnx_node import nodes


@dataclass(frozen=True)
class Channels:
    """`factor * sigmoid(kernel * image + bias)`, or the same without the sigmoid and with a factor of 1."""

    kernel: np.ndarray  # (n, channels, kh, kw)
    bias: np.ndarray  # (n,)
    convs: tuple[Any, ...]
    sigmoid: bool = False
    factor: float = 1.0

    def taken(self, which: Any) -> "Channels":
        return replace(self, kernel=self.kernel[which], bias=self.bias[which])

    def beside(self, *others: "Channels") -> "Channels":
        """These channels and then those of others, before any sigmoid."""
        every = (self, *others)
        kernel, bias = (np.concatenate([getattr(one, name) for one in every]) for name in ("kernel", "bias"))
        return replace(self, kernel=kernel, bias=bias, convs=tuple(conv for one in every for conv in one.convs))

    def is_like(self, other: "Channels") -> bool:
        """Whether the two differ in weights alone."""
        mine, theirs = ((one.sigmoid, one.factor, one.kernel.shape[1:]) for one in (self, other))
        return mine == theirs

    def times(self, number: float) -> "Channels":
        if self.sigmoid:
            return replace(self, factor=self.factor * number)
        return replace(self, kernel=self.kernel * number, bias=self.bias * number)

    def check(self, name: str, node: Any, count: int, seen: int, *, sigmoid: bool) -> None:
        if self.sigmoid != sigmoid or not self.factor > 0:
            made = "by a convolution and a sigmoid, times a number > 0" if sigmoid else "by a convolution, no sigmoid"
            raise ValueError(f"The {name} of `DeformConv` {node.output[0]!r} must be made {made}; it is not.")
        if self.kernel.shape[:2] != (count, seen):
            raise ValueError(
                f"The {name} of `DeformConv` {node.output[0]!r} must have {count} channels, made of {seen}; "
                f"received {self.kernel.shape[0]}, made of {self.kernel.shape[1]}."
            )


class Graph:
    """An ONNX graph: its nodes, its constants, and who makes which tensor."""

    def __init__(self, graph: Any):
        from onnx import numpy_helper

        self.nodes = list(nodes(graph))
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                [(kind, value)] = attributes(node).items()
                held = numpy_helper.to_array(value) if kind == "value" else np.asarray(value)
                self._constants[node.output[0]] = held

    def constant(self, name: str) -> np.ndarray | None:
        """The array of this name, also where it is transposed on the way; None if it is computed from others."""
        if name in self._constants:
            return self._constants[name]
        maker = self.makers.get(name)
        if maker is None or maker.op_type not in ("Identity", "Transpose"):
            return None
        held = self.constant(maker.input[0])
        return held if held is None or maker.op_type == "Identity" else held.transpose(attributes(maker).get("perm"))

    def weight(self, name: str, what: str, node: Any) -> np.ndarray:
        held = self.constant(name)
        if held is None:
            raise ValueError(f"The {what} of {node.op_type} {node.output[0]!r} must be in the file; {name!r} is not.")
        return held

    def source(self, name: str) -> tuple[Any, ...]:
        """The tensor that this one is, and the order of its axes, one turn after the other."""
        turns: list[Any] = []
        while (maker := self.makers.get(name)) and maker.op_type in ("Identity", "Transpose"):
            if maker.op_type == "Transpose":
                turns.append(tuple(attributes(maker).get("perm", ())))
            name = maker.input[0]
        return name, *turns

    def channels(self, name: str, node: Any) -> Channels:
        """What makes the tensor `name`, `(batch, n, height, width)`, on its way to `node`.

        Raises:
            ValueError: if that is no convolution, or something stands in between that is not known here.
        """
        maker = self.makers.get(name)
        if maker is not None:
            made = self._made_by(maker, name, node)
            if made is not None:
                return made
        found = "is an input or a constant" if maker is None else f"comes from `{maker.op_type}`"
        raise ValueError(
            f"The offsets and the mask of `DeformConv` {node.output[0]!r} must come from a `Conv` in the file; "
            f"{name!r} {found}, which is not followed. `deform_conv2d` takes them from anywhere."
        )

    def _made_by(self, maker: Any, name: str, node: Any) -> Channels | None:
        given, inputs = attributes(maker), list(maker.input)
        match maker.op_type:
            case "Conv" if given.get("group", 1) == 1:
                kernel = self.weight(inputs[1], "kernel", maker)
                bias = self.weight(inputs[2], "bias", maker) if len(inputs) > 2 and inputs[2] else None
                return Channels(kernel, np.zeros(len(kernel), kernel.dtype) if bias is None else bias, (maker,))
            case "Identity":
                return self.channels(inputs[0], node)
            case "Sigmoid":
                made = self.channels(inputs[0], node)
                return None if made.sigmoid else replace(made, sigmoid=True)
            case "Concat" if given["axis"] in (1, -3):
                first, *rest = (self.channels(one, node) for one in inputs)
                return first.beside(*rest) if all(first.is_like(one) for one in rest) else None
            case "Split" if given.get("axis", 0) in (1, -3):
                made = self.channels(inputs[0], node)
                sizes = self.constant(inputs[1]) if len(inputs) > 1 and inputs[1] else given.get("split")
                if sizes is None:  # equal parts, but for the last
                    sizes = [-(-len(made.bias) // len(maker.output))] * len(maker.output)
                start = int(np.sum(sizes[: (at := list(maker.output).index(name))]))
                return made.taken(slice(start, start + int(sizes[at])))
            case "Slice":
                starts, ends, axes, steps = (self.constant(one) for one in (*inputs[1:], "", "")[:4])
                if axes is None or axes.tolist() not in ([1], [-3]) or starts is None or ends is None:
                    return None
                step = 1 if steps is None else int(steps[0])
                return self.channels(inputs[0], node).taken(slice(int(starts[0]), int(ends[0]), step))
            case "Mul" | "Add":
                return self._with_constant(maker, node)
        return None

    def _with_constant(self, maker: Any, node: Any) -> Channels | None:
        """Times a number, or plus a number for each channel."""
        held = [self.constant(one) for one in maker.input]
        if sum(one is None for one in held) != 1:
            return None
        made = self.channels(maker.input[0 if held[0] is None else 1], node)
        value = next(one for one in held if one is not None)
        if maker.op_type == "Mul":
            return made.times(float(value.reshape(()))) if value.size == 1 else None
        by_channel = value.shape[-3:] == (len(made.bias), 1, 1) and value.size == len(made.bias)
        if made.sigmoid or not (value.size == 1 or by_channel):
            return None
        return replace(made, bias=made.bias + value.reshape(-1))


def attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def geometry(given: dict[str, Any], kernel_shape: Any) -> dict[str, Any]:
    """Where a convolution with these attributes looks; `pads` is a string where they depend on the image's size."""
    strides, dilations = (tuple(given.get(name, (1, 1))) for name in ("strides", "dilations"))
    kernel_shape = tuple(given.get("kernel_shape", kernel_shape))
    pads: Any = tuple(given.get("pads", (0, 0, 0, 0)))
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        total = [(taps - 1) * rate for taps, rate in zip(kernel_shape, dilations, strict=True)]
        less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        pads = less + more if auto == "SAME_UPPER" else more + less
        if max(strides) > 1:
            pads = f"those of auto_pad={auto}"
    return {"kernel_shape": kernel_shape, "strides": strides, "dilations": dilations, "pads": pads}
