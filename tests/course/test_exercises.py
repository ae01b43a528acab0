"""Every exercise: the solution passes, each mistake is met with its own message, a stub with the fixed line."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from solutions import EXERCISES

from deformconv import reference
from deformconv.course import exercises
from deformconv.training.scaling import zoomed_copy

LISTED = [(number, *mistake) for number, exercise in EXERCISES.items() for mistake in exercise.listed]
SLIPS = [(number, *slip) for number, exercise in EXERCISES.items() for slip in exercise.slips]
DRAWN = [number for number, exercise in EXERCISES.items() if exercise.draws]
every_exercise = pytest.mark.parametrize("number", EXERCISES)


def _ids(cases):
    return [f"{number} {words[:30]}" for number, _, words in cases]


def test_every_check_has_a_solution_here():
    assert {exercise.check.__name__ for exercise in EXERCISES.values()} == set(exercises.__all__)


@every_exercise
def test_the_solution_passes(number, capsys):
    assert EXERCISES[number].check(EXERCISES[number].solution)
    assert capsys.readouterr().out.startswith(f"Exercise {number}: correct, on ")


@pytest.mark.parametrize("number", ["P3.1", "P3.2"])
def test_networks_that_exercises_bring_have_their_own_layout(channels_first_setting, number):
    assert EXERCISES[number].check(EXERCISES[number].solution)


@pytest.mark.parametrize(("number", "wrong", "message"), LISTED, ids=_ids(LISTED))
def test_each_listed_mistake_gets_its_own_message(number, wrong, message, capsys):
    assert not EXERCISES[number].check(wrong)
    assert capsys.readouterr().out == f"Exercise {number}: {message}\n"


@pytest.mark.parametrize(("number", "wrong", "words"), SLIPS, ids=_ids(SLIPS))
def test_a_slip_of_the_readers_own_making_is_named(number, wrong, words, capsys):
    assert not EXERCISES[number].check(wrong)
    out = capsys.readouterr().out
    assert out.startswith(f"Exercise {number}: ") and words in out


@every_exercise
def test_at_least_five_mistakes_have_different_messages(number):
    messages = [message for _, message in EXERCISES[number].listed]
    assert len(set(messages)) == len(messages) >= 5


@every_exercise
def test_a_stub_is_met_with_one_fixed_line(number, capsys):
    def stub(*arguments):
        raise NotImplementedError

    assert not EXERCISES[number].check(stub)
    line = f"Exercise {number}: not solved yet.\nReplace the line that raises, and run the cell again.\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("number", DRAWN)
def test_a_wrong_array_is_drawn_beside_the_target(number):
    EXERCISES[number].check(EXERCISES[number].listed[0][0])
    assert [ax.get_title() for ax in plt.gcf().axes] == ["yours", "the target"]


def test_the_zoom_of_exercise_1_3_is_that_of_the_study():
    """About the middle of the image, the matrix does what `zoomed_copy` does."""
    image = np.random.default_rng(0).uniform(size=(1, 28, 28, 1)).astype("float32")
    matrix = EXERCISES["1.3"].solution((1.5, 1.5), (13.5, 13.5))
    coords = (matrix[:, :2] @ np.indices((28, 28)).reshape(2, -1) + matrix[:, 2:]).T
    seen = reference.bilinear_sample(image, coords[None])[0].reshape(28, 28, 1)
    np.testing.assert_allclose(seen, zoomed_copy(image, 1.5)[0], atol=1e-4)
