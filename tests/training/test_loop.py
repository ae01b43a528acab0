"""The training loop, on a classifier small enough to see through: what it is fed, what it returns."""

import json

import keras
import numpy as np
import pytest

from deformconv import training
from deformconv.training import loop
from deformconv.training.feeds import shuffled
from deformconv.training.scaling import Scaling, warp

BATCH, HEIGHT, WIDTH = 6, 5, 4
TORCH = keras.backend.backend() == "torch"
MANY_A_CALL = pytest.mark.skipif(TORCH, reason="Keras calls PyTorch step by step")


@keras.saving.register_keras_serializable(package="tests")
class Recorder(keras.layers.Layer):
    """Passes images on and remembers the last batch of them."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(BATCH, *shape[1:]), initializer="zeros", trainable=False)

    def call(self, images):
        self.seen.assign(images)
        return images

    def compute_output_shape(self, shape):
        return shape  # without it PyTorch would call the layer on tensors that hold nothing


def small_classifier(recorder=True):
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((HEIGHT, WIDTH, 1))
    if recorder:
        x = Recorder(name="recorder")(x)
    return keras.Model(inputs, keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(x)))


def last_batch(model):
    return keras.ops.convert_to_numpy(model.get_layer("recorder").seen)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 10, size=40)


@pytest.fixture
def images(rng, labels):
    """The label is the place of the brightest pixel."""
    images = 0.2 * rng.uniform(size=(40, HEIGHT, WIDTH, 1)).astype("float32")
    images.reshape(40, -1)[np.arange(40), labels] = 1
    return images


@pytest.fixture
def fit(images, labels):
    """`fit(...)`: a trained new small classifier."""

    def fit(steps=3, batch_size=BATCH, recorder=True, **options):
        model = small_classifier(recorder)
        training.fit(model, images, labels, steps=steps, batch_size=batch_size, **options)
        return model

    return fit


def assert_same_weights(one, other, **tolerance):
    for mine, yours in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, yours, **tolerance)


def test_the_loss_falls_and_the_classifier_learns(images, labels):
    model = small_classifier()
    before = training.accuracy(model, images, labels, batch_size=BATCH)
    first, second = (
        training.fit(model, images, labels, steps=60, batch_size=BATCH, learning_rate=0.1) for _ in range(2)
    )
    assert first.keys() == {"loss", "accuracy", "seconds"}
    assert second["loss"] < 0.5 * first["loss"]
    assert before < 0.5 < first["accuracy"] < second["accuracy"]
    assert training.accuracy(model, images, labels, batch_size=BATCH) == 1


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(fit):
    first, again, other = (fit(seed=seed, scaling=Scaling()) for seed in ([1, 2], [1, 2], [2, 1]))
    np.testing.assert_array_equal(last_batch(first), last_batch(again))
    assert_same_weights(first, again, rtol=1e-6)
    assert abs(last_batch(first) - last_batch(other)).max() > 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_batches_are_warped_each_image_its_own_way_anew_in_each_step(fit, images, interpolation):
    scaling = Scaling(unscaled=0.3)
    model = fit(seed=4, scaling=scaling, interpolation=interpolation)
    rng = np.random.default_rng(4)
    index = shuffled(len(images), 3 * BATCH, rng)
    matrices = scaling.draw(3 * BATCH, HEIGHT, rng)
    expected = warp(images[index[-BATCH:]], matrices[-BATCH:], interpolation)
    np.testing.assert_allclose(last_batch(model), expected, atol=1e-6)


def test_without_scaling_the_images_are_left_alone(fit, images):
    model = fit(seed=4)
    index = shuffled(len(images), 3 * BATCH, np.random.default_rng(4))
    np.testing.assert_array_equal(last_batch(model), images[index[-BATCH:]])


@MANY_A_CALL
def test_many_steps_a_call_give_what_one_step_a_call_gives(fit):
    single, grouped = (fit(steps=7, seed=1, scaling=Scaling(), steps_per_call=n) for n in (1, 3))
    np.testing.assert_array_equal(last_batch(single), last_batch(grouped))
    assert_same_weights(single, grouped, atol=1e-6)


@pytest.mark.parametrize("learning_rate", [1, np.float32(1)])
def test_a_learning_rate_may_be_any_number(images, labels, learning_rate):
    told = training.fit(small_classifier(), images, labels, steps=1, batch_size=BATCH, learning_rate=learning_rate)
    assert np.isfinite(told["loss"])


def test_the_learning_rate_falls_to_zero(images, labels, monkeypatch):
    """Along half a cosine: halfway it is half, in the last step of four it is (1 + cos(3 pi / 4)) / 2."""
    made = []
    adam = keras.optimizers.Adam
    monkeypatch.setattr(keras.optimizers, "Adam", lambda rate, **options: made.append(rate) or adam(rate, **options))
    training.fit(small_classifier(), images, labels, steps=4, batch_size=BATCH, learning_rate=0.1)
    rates = [float(made[0](step)) for step in range(5)]
    np.testing.assert_allclose(rates, [0.1, 0.0853553, 0.05, 0.0146447, 0], atol=1e-6)
    training.fit(small_classifier(), images, labels, steps=6, batch_size=BATCH, learning_rate=0.1, warmup=2)
    rates = [float(made[1](step)) for step in range(7)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.0853553, 0.05, 0.0146447, 0], atol=1e-6)


def test_a_batch_in_parts_gives_the_step_of_the_whole(fit, images):
    options = {"steps": 5, "seed": 1, "scaling": Scaling(), "recorder": False}
    whole, parts = (fit(accumulate=n, clip_norm=0.5, **options) for n in (1, 3))
    assert_same_weights(whole, parts, atol=1e-5)
    other = fit(batch_size=BATCH // 3, **options)
    assert abs(whole.get_weights()[-1] - other.get_weights()[-1]).max() > 1e-3


def test_a_long_gradient_is_cut(images, labels, monkeypatch):
    """Under plain descent, whose step is as long as the gradient times the rate."""
    moved = {}
    for clip in (None, 1e-2):
        monkeypatch.setattr(keras.optimizers, "Adam", lambda rate, **options: keras.optimizers.SGD(1.0, **options))
        model = small_classifier()
        before = model.layers[-1].get_weights()
        training.fit(model, 50 * images, labels, steps=1, batch_size=BATCH, clip_norm=clip)
        after = model.layers[-1].get_weights()
        moved[clip] = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True)))
    assert moved[None] > 1
    assert moved[1e-2] == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.parametrize("accumulate", [0, 4])
def test_parts_that_do_not_make_a_batch_are_refused(fit, accumulate):
    with pytest.raises(ValueError, match=f"`accumulate` must divide `batch_size`, 6; received {accumulate}"):
        fit(accumulate=accumulate)


def test_a_schedule_of_ones_own(images, labels, fit):
    """A rate of zero from the third step on: as if it ended there."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.0])
    once, thrice = (fit(steps=steps, learning_rate=schedule) for steps in (2, 6))
    assert_same_weights(once.layers[-1], thrice.layers[-1])


@pytest.mark.parametrize(
    "options",
    [{}, {"scaling": Scaling()}, pytest.param({"scaling": Scaling(), "steps_per_call": 2}, marks=MANY_A_CALL)],
)
def test_streamed_images_give_the_batches_of_resident_ones(fit, options):
    resident, streamed = (fit(steps=7, seed=1, resident=kept, **options) for kept in (True, False))
    np.testing.assert_array_equal(last_batch(resident), last_batch(streamed))
    assert_same_weights(resident, streamed, rtol=1e-6)


def test_images_on_the_disk_are_read_batch_by_batch(images, labels, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")

    class Watched:
        shape, dtype, seen = mapped.shape, mapped.dtype, []

        def __len__(self):
            return len(mapped)

        def __getitem__(self, index):
            self.seen.append(np.size(mapped[index]) // mapped[0].size)
            return mapped[index]

    model, other = small_classifier(), small_classifier()
    training.fit(model, Watched(), labels, steps=4, batch_size=BATCH, resident=False)
    training.fit(other, images, labels, steps=4, batch_size=BATCH)
    assert_same_weights(model, other, rtol=1e-6)
    assert max(Watched.seen[1:]) == BATCH  # the first look is at the offsets


@pytest.mark.parametrize("resident", [True, False])
def test_bytes_are_divided_on_the_device(images, labels, resident):
    as_bytes = np.round(images * 255).astype("uint8")
    model, other = small_classifier(), small_classifier()
    training.fit(model, as_bytes, labels, steps=3, batch_size=BATCH, resident=resident, scaling=Scaling())
    training.fit(other, as_bytes / np.float32(255), labels, steps=3, batch_size=BATCH, scaling=Scaling())
    np.testing.assert_allclose(last_batch(model), last_batch(other), atol=1e-6)
    assert_same_weights(model, other, atol=1e-6)


@pytest.mark.parametrize("n", [4, 7, 13])  # of which none fills its last batch of 6
def test_validation_is_on_every_image_once(images, labels, n):
    model = small_classifier(recorder=False)
    kept = images[:n], labels[:n]
    told = training.fit(model, images[n:], labels[n:], steps=5, batch_size=BATCH, validation=kept, learning_rate=0.1)
    probabilities = keras.ops.convert_to_numpy(model(kept[0]))
    assert told["validation_accuracy"] == pytest.approx(np.mean(probabilities.argmax(-1) == kept[1]), abs=1e-6)
    assert told["validation_loss"] == pytest.approx(-np.log(probabilities[np.arange(n), kept[1]]).mean(), rel=1e-5)


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss(images, labels, tmp_path):
    """Labels of the validation set are wrong, so learning makes its loss rise, at once and for ever."""
    wrong = images[:12], (labels[:12] + 1) % 10
    model = small_classifier(recorder=False)
    options = {"batch_size": BATCH, "learning_rate": 0.1, "every": 3}
    told = training.fit(
        model, images[12:], labels[12:], steps=60, validation=wrong, patience=2, logs=tmp_path, **options
    )
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [record["validation_loss"] for record in records]
    lowest = int(np.argmin(losses))
    assert len(losses) == lowest + 3 < 20
    assert told["step"] == 3 * (lowest + 1)
    assert told["validation_loss"] == losses[lowest]
    probabilities = keras.ops.convert_to_numpy(model(wrong[0]))[np.arange(12), wrong[1]]
    assert -np.log(probabilities).mean() == pytest.approx(losses[lowest], rel=1e-5)


def test_a_look_comes_with_each_minute_and_does_not_count_for_patience(images, labels, tmp_path, monkeypatch):
    """A minute as short as a step: the same looks count, and the same weights are kept, as with a long one."""
    wrong = images[:12], (labels[:12] + 1) % 10
    options = {"steps": 60, "batch_size": BATCH, "learning_rate": 0.1, "every": 3, "validation": wrong, "patience": 2}
    told, kept, steps = [], [], []
    for seconds in (60, 1e-9):
        monkeypatch.setattr(loop, "LOOK_SECONDS", seconds)
        monkeypatch.setattr(loop, "LOOKING", float("inf"))
        model = small_classifier(recorder=False)
        logs = tmp_path / str(seconds)
        told.append(training.fit(model, images[12:], labels[12:], logs=logs, **options))
        kept.append(model)
        steps.append([json.loads(line)["step"] for line in (logs / "log.jsonl").read_text().splitlines()])
    assert told[0]["step"] == told[1]["step"]
    assert_same_weights(*kept, rtol=0)
    assert steps[1] == list(range(1, steps[0][-1] + 1)) and set(steps[0]) == set(range(3, steps[0][-1] + 1, 3))


def test_looks_that_take_long_come_less_often(images, labels, tmp_path, monkeypatch):
    """A tenth of the time at most is theirs, beside those that come by number."""
    monkeypatch.setattr(loop, "LOOK_SECONDS", 1e-9)
    monkeypatch.setattr(loop, "LOOKING", 1e-9)
    training.fit(small_classifier(), images, labels, steps=9, batch_size=BATCH, logs=tmp_path)
    looks = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert looks == [1, 9]


def test_an_error_in_reading_is_raised_as_it_was(images, labels):
    """On a thread of the engine's, which would wrap it."""

    class Torn:
        shape, dtype = images.shape, images.dtype

        def __len__(self):
            return len(images)

        def __getitem__(self, numbers):
            if 35 in np.arange(40)[numbers]:
                raise OSError("torn at 35")
            return images[numbers]

    for torn, kept in ((Torn(), images), (images, Torn())):
        with pytest.raises(OSError, match="^torn at 35$"):
            training.fit(
                small_classifier(recorder=False),
                torn,
                labels,
                steps=8,
                batch_size=BATCH,
                resident=False,
                validation=(kept, labels),
            )


def test_in_float16_the_loss_is_scaled_up_so_that_small_gradients_are_not_zero(images, labels, monkeypatch):
    made = []
    wrap = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(keras.optimizers, "LossScaleOptimizer", lambda inner: made.append(wrap(inner)) or made[0])
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    told = training.fit(model, images, labels, steps=60, batch_size=BATCH, learning_rate=0.1)
    assert float(made[0].dynamic_scale) > 1
    assert told["accuracy"] > 0.5


def test_what_is_frozen_stays(images, labels):
    model = small_classifier()
    dense = model.layers[-1]
    dense.kernel.trainable = False
    before = dense.get_weights()
    training.fit(model, images, labels, steps=2, batch_size=BATCH)
    np.testing.assert_array_equal(dense.get_weights()[0], before[0])
    assert abs(dense.get_weights()[1] - before[1]).min() > 0


def test_the_order_is_of_whole_permutations():
    order = shuffled(5, 13, np.random.default_rng(0))
    assert len(order) == 13
    assert set(order[:5]) == set(order[5:10]) == set(range(5))
    assert len(set(order[10:])) == 3
    assert list(order[:5]) != list(order[5:10])


def test_accuracy_is_the_share_of_right_answers():
    echo = keras.Sequential([keras.Input((10,)), keras.layers.Activation("linear")])
    answers = np.eye(10, dtype="float32")[[3, 1, 4, 1]]
    assert training.accuracy(echo, answers, np.array([3, 1, 4, 0]), batch_size=3) == 0.75


@pytest.mark.skipif(not TORCH, reason="only PyTorch goes step by step")
def test_many_steps_a_call_are_refused_on_pytorch(fit):
    with pytest.raises(ValueError, match="`steps_per_call` must be 1 on PyTorch, .*; received 3"):
        fit(steps_per_call=3)


@pytest.mark.parametrize("steps_per_call", [1, pytest.param(3, marks=MANY_A_CALL)])
def test_a_description_shows_a_bar_that_counts_every_step(fit, capsys, steps_per_call):
    fit(steps=7, description="regular, seed 0", steps_per_call=steps_per_call)
    shown = capsys.readouterr().err
    assert "regular, seed 0: 100%" in shown and "7/7" in shown and "loss=" in shown


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 0}, "`steps`, `batch_size` and `every` must be positive; received 0, 6 and 100"),
        ({"batch_size": -1}, "`steps`, `batch_size` and `every` must be positive; received 3, -1 and 100"),
        ({"every": 0}, "`steps`, `batch_size` and `every` must be positive; received 3, 6 and 0"),
        ({"patience": 2}, "`patience` needs `validation`, whose loss it is about"),
        ({"validation": ([], [])}, "at least one; received 0 for 0"),
        ({"scaling": Scaling(), "interpolation": "cubic"}, "`interpolation` must be"),
    ],
)
def test_bad_settings_are_refused(fit, changes, message):
    with pytest.raises(ValueError, match=message):
        fit(**changes)


@pytest.mark.parametrize(
    "n_images, n_labels, message", [(40, 39, "39 for 40 images"), (0, 0, "at least one; received 0 for 0")]
)
def test_images_and_labels_that_do_not_match_are_refused(images, labels, n_images, n_labels, message):
    with pytest.raises(ValueError, match=message):
        training.fit(small_classifier(), images[:n_images], labels[:n_labels], steps=2)
