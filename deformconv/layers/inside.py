"""What is inside a layer or model: its own weights, the layers it is made of, all layers however deep; what learns."""

import keras


def inner_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer or model is made of, in order, without those inside them. Keras has no public name."""
    return layer._flatten_layers(include_self=False, recursive=False)


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a layer that belong to none of its inner layers."""
    inside = {id(weight) for inner in inner_layers(layer) for weight in inner.weights}
    return [weight for weight in layer.weights if id(weight) not in inside]


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """All layers inside a layer or model, each once, in order; one that is made of others comes before these."""
    found: dict[int, keras.layers.Layer] = {}

    def look(inside: keras.layers.Layer) -> None:
        for inner in inner_layers(inside):
            if id(inner) not in found:  # a layer may even hold the one that it is in
                found[id(inner)] = inner
                look(inner)

    look(layer)
    return list(found.values())


def set_trainable(layer: keras.layers.Layer, value: bool) -> None:
    """Sets `trainable` of a layer and of all inside it.

    On TensorFlow `layer.trainable = True` does nothing where the layer says so already, whatever its parts say.
    """
    for each in (layer, *all_layers(layer)):
        type(each).trainable.fset(each, value)
