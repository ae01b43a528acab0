"""Keras finds what a saved model is made of by registered names: `import deformconv` is enough for it to know ours.

The classes themselves register when they are imported, and that imports Keras and an engine, seconds of work that
`import deformconv` must not ask for. So names are announced in their place, as soon as Keras is there; what stands
behind one is imported when a saved model asks for it.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAMES = {
    "deformconv.layers": (
        "ConvOffset2D",
        "DCNv3",
        "DCNv4",
        "DeformableConv2D",
        "DeformableRoIPooling2D",
        "SpatialTransformer",
    ),
    "deformconv.operators.deform_conv": ("DeformConv2D",),
    "deformconv.operators.roi_pool": ("DeformRoIPool2D",),
    "deformconv.sampling": ("BilinearSample",),
}


def announce() -> None:
    """Announces the names to Keras: now if it has been imported, else right after that."""
    if "keras" in sys.modules:
        _tell(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _WhenKerasComes())


def _tell(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for module, names in NAMES.items():
        for name in names:
            known.setdefault(f"deformconv>{name}", _stand_in(module, name))


def _stand_in(module: str, name: str) -> type:
    """A class that Keras can ask for an object, as it will; the true class, once imported, takes its place."""

    def from_config(cls: type, config: dict[str, Any]) -> Any:
        return getattr(import_module(module), name).from_config(config)

    return type(name, (), {"from_config": classmethod(from_config)})


class _WhenKerasComes:
    """Stands before Python's own finders, sees Keras pass, and goes."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_tell(module: ModuleType) -> None:
                load(module)
                if self in sys.meta_path:  # nobody has told yet
                    sys.meta_path.remove(self)
                    _tell(module)

            spec.loader.exec_module = load_and_tell  # type: ignore[method-assign]
        return spec
