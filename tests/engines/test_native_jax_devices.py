"""The compiled kernels in JAX programs for several devices: each has its own images, and only sums are exchanged."""

import json
import os
import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's kernels", allow_module_level=True)

from deformconv.engines import native

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

# In a process of its own, for JAX asks but once how many devices there are. It prints, of each program, the largest
# relative difference from one device's numbers, the kernels that it calls, and what its devices exchange.
SCRIPT = """
import json, re
import jax, keras, numpy as np
from jax import numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from deformconv import DeformableConv2D, deform_conv2d, engines

rng = np.random.default_rng(0)
shapes = (8, 9, 7, 6), (8, 9, 7, 18), (3, 3, 6, 4), (8, 9, 7, 9)
tensors = [jnp.asarray(rng.normal(size=shape), "float32") for shape in shapes]
devices, by_all, told = np.array(jax.devices()), (0, 1, 2, 3), {}
mesh, square = Mesh(devices, ("batch",)), Mesh(devices.reshape(2, 2), ("one", "two"))
OURS, KERNEL = P("batch"), P()

def convolve(images, offsets, kernel, mask):
    return deform_conv2d(images, offsets, kernel, mask=mask, padding="same")

def loss(*tensors):
    return (convolve(*tensors) ** 2).sum()

step = jax.value_and_grad(loss, by_all)
expected = jax.jit(step)(*tensors)

def look(name, function, specs, mesh=mesh, tensors=tensors, expected=expected):
    placed = [jax.device_put(t, NamedSharding(mesh, spec)) for t, spec in zip(tensors, specs, strict=True)]
    program = jax.jit(function).lower(*placed).compile()
    text, results = program.as_text(), jax.tree.leaves(program(*placed))
    pairs = zip(results, jax.tree.leaves(expected), strict=True)
    differences = [np.abs(a - b).max() / np.abs(b).max() for a, b in pairs]
    exchanges = re.findall(r"(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?[(]", text)
    told[name] = [float(max(differences)), text.count("deformconv_handler"), sorted(set(exchanges))]

look("batch", step, [OURS, OURS, KERNEL, OURS])
look("images alone", step, [OURS, P(), KERNEL, P()])
look("two axes", step, [P(("one", "two"))] * 2 + [P(), P(("one", "two"))], square)
look("one of two axes", step, [P("one"), P("one"), P(), P("one")], square)
look("kernel split", step, [P("one"), P("one"), P(None, None, None, "two"), P("one")], square)
look("whole", step, [P()] * 4)
few = [t if i == 2 else t[:6] for i, t in enumerate(tensors)]

def uneven(split):
    # What XLA fills the last share up with is not zero here.
    def loss(images, offsets, kernel, mask):
        return ((convolve(split(images) + 1, offsets, kernel, split(mask) + 1) + 1) ** 2).sum()
    return jax.grad(loss, by_all)

split = lambda tensor: jax.lax.with_sharding_constraint(tensor, NamedSharding(mesh, OURS))
look("uneven", uneven(split), [P()] * 4, tensors=few, expected=jax.jit(uneven(lambda tensor: tensor))(*few))
second = jax.grad(lambda *t: (jax.grad(loss, 2)(*t) ** 2).sum(), by_all)
look("second derivatives", second, [OURS, OURS, KERNEL, OURS], expected=jax.jit(second)(*tensors))
one = lambda images, offsets, kernel, mask: convolve(images[None], offsets[None], kernel, mask[None])[0]
look("vmap", jax.vmap(one, (0, 0, None, 0)), [OURS, OURS, KERNEL, OURS], expected=convolve(*tensors))

specs = OURS, OURS, KERNEL, OURS
mapped = jax.shard_map(convolve, mesh=mesh, in_specs=specs, out_specs=OURS)
look("shard_map", jax.value_and_grad(lambda *t: (mapped(*t) ** 2).sum(), by_all), specs)

def inside(*tensors):
    value, gradients = step(*tensors)
    return jax.lax.psum(value, "batch"), gradients

look("step in shard_map", jax.shard_map(inside, mesh=mesh, in_specs=specs, out_specs=(P(), specs)), specs)
explicit = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Explicit,))
with jax.set_mesh(explicit):
    look("explicit", step, specs, explicit)

points = [jnp.asarray(rng.uniform(-1, 8, size=(8, 5, 2, 3, 2)), "float32"), jnp.ones((8, 5, 2, 3), "float32")]
aggregate = jax.value_and_grad(lambda *t: (engines.aggregate(*t) ** 2).sum(), (0, 1, 2))
given = [tensors[0], *points]
look("aggregate", aggregate, [OURS] * 3, tensors=given, expected=jax.jit(aggregate)(*given))

def losses():
    keras.utils.set_random_seed(0)
    layers = [DeformableConv2D(4, 3, padding="same"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((9, 7, 6)), *layers])
    model.compile("adam", "mse")
    return model.fit(tensors[0], np.ones((8, 4)), batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]

alone = losses()
keras.distribution.set_distribution(keras.distribution.DataParallel())
told["Keras"] = [float(np.abs(np.array(losses()) / alone - 1).max()), len(jax.devices())]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "program, exchanges",
    [
        ("batch", ["all-reduce"]),
        ("images alone", ["all-reduce"]),
        ("two axes", ["all-reduce"]),
        ("one of two axes", ["all-reduce"]),
        ("whole", []),
        ("shard_map", ["all-reduce"]),
        ("step in shard_map", ["all-reduce"]),
        ("explicit", ["all-reduce"]),
    ],
)
def test_devices_keep_their_images_and_exchange_nothing_but_sums(told, program, exchanges):
    difference, kernels, exchanged = told[program]
    assert difference < 1e-5
    assert kernels == 3
    assert exchanged == exchanges


def test_vmap_and_aggregate_are_split_as_well(told):
    assert told["vmap"][0] < 1e-5 and told["vmap"][1:] == [1, []]
    assert told["aggregate"][0] < 1e-5 and told["aggregate"][1:] == [2, ["all-reduce"]]  # that of the loss


@pytest.mark.parametrize("program", ["kernel split", "uneven", "second derivatives"])
def test_other_programs_have_one_devices_numbers(told, program):
    assert told[program][0] < 1e-5


def test_keras_trains_on_four_devices_as_on_one(told):
    difference, devices = told["Keras"]
    assert devices == 4 and difference < 1e-4
