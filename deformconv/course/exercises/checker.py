"""How an exercise checks the reader's function: against the truth, and against the mistakes people make."""

import numpy as np


def check(name, function, truth, cases, mistakes=(), draw=None) -> bool:
    """Compares `function` with `truth` on every case, says in one line how it went, and never raises.

    Args:
        name: the exercise's number, such as `"2.1"`.
        function: the reader's.
        truth: the function that is right.
        cases: tuples of arguments, nothing square and nothing equal in them.
        mistakes: pairs `(wrong function, message)`: an answer equal to the wrong function's gets its message.
        draw: None, or called with the reader's array and the target of the first case that differs.

    Returns:
        Whether all cases agree.
    """
    for arguments in cases:
        want = np.asarray(truth(*arguments))
        try:
            got = function(*arguments)
        except NotImplementedError:
            print(f"Exercise {name}: not solved yet.\nReplace the line that raises, and run the cell again.")
            return False
        except Exception as error:  # whatever the reader's code raises is the reader's news, not a crash
            print(f"Exercise {name}: your function raised {type(error).__name__}: {error}")
            return False
        if got is None:
            print(f"Exercise {name}: your function returned None. Does it end with `return`?")
            return False
        got = np.asarray(got, dtype="float64")
        if got.shape != want.shape:
            print(f"Exercise {name}: the shape should be {want.shape}; yours is {got.shape}.")
            return False
        if not _agree(got, want):
            print(f"Exercise {name}: {_diagnose(got, want, arguments, mistakes)}")
            if draw is not None:
                draw(got, want)
            return False
    print(f"Exercise {name}: correct, on {len(cases)} cases.")
    return True


def _agree(got, want):
    return np.allclose(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


def _diagnose(got, want, arguments, mistakes):
    for wrong, message in mistakes:
        try:
            slip = np.asarray(wrong(*arguments))
        except Exception:  # a mistake that cannot even run on this case is not the one that was made
            continue
        if slip.shape == got.shape and _agree(got, slip):
            return message
    difference = np.abs(got - want)
    worst = np.unravel_index(np.nanargmax(difference), difference.shape) if difference.ndim else ()
    place = f" at index {tuple(int(i) for i in worst)}" if worst else ""
    values = f"got {got[worst]:.4g}, want {want[worst]:.4g}"
    return f"not yet. The largest error is {np.nanmax(difference):.3g}{place}: {values}."
