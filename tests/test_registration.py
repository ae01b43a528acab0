"""`import deformconv` is enough to load a saved model, in whatever order it and Keras are imported; and it is quick."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from deformconv import DeformableConv2D, bilinear_sample, layers, registration
from deformconv.operators import deform_conv, roi_pool


def run(script, folder):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model that has a layer of this package, and a function."""
    images, points = keras.Input((5, 4, 2)), keras.Input((9, 2))
    outputs = bilinear_sample(DeformableConv2D(3, (3, 2), padding="same")(images), points)
    folder = tmp_path_factory.mktemp("saved")
    keras.Model([images, points], outputs).save(folder / "model.keras")
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "import deformconv, keras",
        "import keras, deformconv",
        "import keras; from deformconv import deform_conv2d",
        "from deformconv import deform_conv2d; import keras",  # our operators are what imports Keras
        "import deformconv.layers.dcnv4, keras",
    ],
)
def test_a_saved_model_loads(saved, imports):
    script = "model = keras.saving.load_model('model.keras'); print(model.output.shape); model.save('again.keras')"
    assert run(f"{imports}\n{script}", saved) == "(None, 9, 3)\n"


def test_keras_may_be_looked_for_and_fail_to_come_at_first(saved):
    script = """
import importlib.util, os, sys
import deformconv
assert importlib.util.find_spec("keras").origin.endswith("__init__.py")
engine = os.environ.get("KERAS_BACKEND")
os.environ["KERAS_BACKEND"] = "none such"
try:
    import keras
except Exception:
    pass
else:
    raise SystemExit("there is such an engine")
for name in [name for name in sys.modules if name.split(".")[0] == "keras"]:
    del sys.modules[name]
os.environ.pop("KERAS_BACKEND") if engine is None else os.environ.update(KERAS_BACKEND=engine)
import keras
print(keras.saving.load_model("model.keras").output.shape)
"""
    assert run(script, saved) == "(None, 9, 3)\n"


def test_the_import_is_quick_and_leaves_the_engines_alone(tmp_path):
    script = """
import time
before = time.process_time()
import deformconv
spent = time.process_time() - before
import sys
print(spent < 0.3, sorted({"keras", "tensorflow", "jax", "torch", "matplotlib"} & set(sys.modules)))
"""
    assert run(script, tmp_path) == "True []\n"


def test_every_class_that_registers_is_announced_where_it_is():
    announced = {name: module for module, names in registration.NAMES.items() for name in names}
    sources = Path(registration.__file__).parent.rglob("*.py")
    pattern = re.compile(r"register_keras_serializable\(package=\"deformconv\"\)\nclass (\w+)")
    assert {name for source in sources for name in pattern.findall(source.read_text())} == set(announced)
    for module in (layers, deform_conv, roi_pool):
        for name in registration.NAMES[module.__name__]:
            assert keras.saving.get_registered_object(f"deformconv>{name}") is getattr(module, name)
