"""What of a layer does not learn, kept in its configuration. Keras keeps only whether the layer learns as a whole."""

from collections.abc import Iterator
from typing import Any

import keras

from deformconv.layers import inside
from deformconv.types import Config


class KeepsFrozen(keras.layers.Layer):
    """Base of the package's layers: a frozen part stays frozen wherever the layer's configuration goes.

    Args:
        frozen: names of weights and of inner layers that do not learn, such as `("kernel", "bias")`, `"offset_conv"`
            or `"offset_conv/bias"`. Setting `trainable` to False and to True again lets all of them learn.
        **kwargs: `name`, `dtype`, `trainable`.
    """

    def __init__(self, *, frozen: str | tuple[str, ...] | list[str] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self._frozen = (frozen,) if isinstance(frozen, str) else tuple(frozen)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the weights and inner layers that do not learn, in a layer that does."""
        if not self.built:
            return self._frozen
        return tuple(self._frozen_names()) if self.trainable else ()

    def _freeze(self) -> None:
        """Freezes what the configuration asks for. The last step of `build`."""
        if not self.trainable:
            inside.set_trainable(
                self, False
            )  # Keras holds the layer's own weights; nobody has told those of the inner layers
        parts = {name: part for part, name in self._parts()}
        for name in self._frozen:
            if name not in parts:
                raise ValueError(
                    f"`frozen` must hold names of weights and inner layers of {self.name!r}: {', '.join(parts)}; "
                    f"received {name!r}."
                )
            part = parts[name]
            if isinstance(part, keras.layers.Layer):
                inside.set_trainable(part, False)
            else:
                part.trainable = False

    def _parts(self) -> Iterator[tuple[Any, str]]:
        """Weights and inner layers with their names; the weights of an inner layer as `layer/weight`."""
        yield from ((weight, weight.name) for weight in inside.own_weights(self))
        for layer in self._inner_layers():
            yield layer, layer.name
            yield from ((weight, f"{layer.name}/{weight.name}") for weight in layer.weights)

    def _frozen_names(self) -> Iterator[str]:
        """An inner layer of which nothing learns is named as a whole."""
        whole = ""
        for part, name in self._parts():
            if isinstance(part, keras.layers.Layer):
                whole = name if part.weights and not part.trainable_weights else ""
                if whole:
                    yield name
            elif not part.trainable and not (whole and name.startswith(f"{whole}/")):
                yield name

    def _inner_layers(self) -> list[keras.layers.Layer]:
        """Those inner layers that the layer makes itself."""
        return inside.inner_layers(self)

    def get_config(self) -> Config:
        return {**super().get_config(), "frozen": self.frozen}
