"""Whether two contenders computed the same: who did not is not timed."""

import numpy as np

# Of the distance from the reference, computed in strict float32 from the same numbers, relative to its norm.
# TF32 alone errs by 3e-4: the first tolerance would find it where strict float32 was asked for.
TOLERANCES = {"float32": 5e-5, "tf32": 3e-3, "bfloat16": 2e-2}
# On the CPU: of outputs whose spread is about one; bfloat16 by mistake would differ by a hundred times as much.
LARGEST_DIFFERENCE = 1e-4


def compare(results, name, reference, precision, device) -> dict:
    """How far results are from a reference's.

    Args:
        results: arrays by name, of outputs and perhaps of gradients.
        name, reference: of the contender that is the reference, and its arrays.
        precision: that was computed in.
        device: "cpu" or "gpu".

    Returns:
        `reference`, its name; `relative_error`, the worst distance relative to the reference's norm; where that is
        more than is allowed, `failed`, which says so.
    """
    errors, wrong = {}, None
    for result in results.keys() & reference.keys():
        ours, theirs = (one[result].astype("float64") for one in (results, reference))
        if ours.shape != theirs.shape:
            return {"reference": name, "failed": f"{result} of shape {ours.shape}, not {theirs.shape}"}
        distance = float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1))
        errors[result] = distance if np.isfinite(distance) else float("inf")
        largest = float(np.abs(ours - theirs).max(initial=0))
        if device == "cpu" and result == "outputs" and not largest <= LARGEST_DIFFERENCE:
            wrong = f"outputs differ from those of {name!r} by {largest:.2g}"
    worst = max(errors, key=errors.get)
    if not wrong and errors[worst] > TOLERANCES[precision]:
        wrong = (
            f"{worst} differ from those of {name!r} by {errors[worst]:.1e} of their norm; "
            f"{TOLERANCES[precision]:.0e} are allowed in {precision}"
        )
    told = {"reference": name, "relative_error": errors[worst] if np.isfinite(errors[worst]) else None}
    return told | ({"failed": wrong} if wrong else {})
