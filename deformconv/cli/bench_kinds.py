"""What else `deformconv bench` measures on the CPU: training steps, variants, forms, growth; what all kinds share."""

import os
from pathlib import Path

from deformconv.cli.shared import check_choice

KINDS = ("training", "variants", "forms", "growth")


def run(options, kind, say):
    """Measures one of `KINDS`, prints a table and writes the file."""
    from deformconv.bench import costs, files, growth, machine, report

    measure, table = {
        "training": (_training, report.training_table),
        "variants": (_variants, costs.table),
        "forms": (_forms, _table_of_forms),
        "growth": (_growth, growth.table),
    }[kind]
    results = measure(options, say)
    say("")
    print(table(results))

    # Only now: each contender chooses its own engine, in its own process.
    from deformconv.study import provenance

    about = {"command": options.command_line, "hardware": provenance.hardware(), "threads": options.threads, "seed": 0}
    about["versions"] = provenance.versions()
    if kind == "growth":
        about["versions"] |= machine.versions({result["contender"] for result in results}, "cpu")
    about["results"] = results
    path = options.out or Path("results") / f"bench-{kind}.json"
    files.write_new(path, about)
    tell(path, about, pictures=kind == "growth")
    return 0


def tell(path, about, pictures):
    """Draws the pictures, and says what was written."""
    written = [path]
    if pictures:
        import matplotlib

        matplotlib.use("Agg")
        from deformconv.bench import report

        written += report.draw(about["results"], path)
    machine = about["gpu"]["name"] if "gpu" in about else about["hardware"]
    threads = f", {about['threads']} threads" if "threads" in about else ""
    print(f"\nOn {machine}{threads}. Written: {', '.join(map(str, written))}")


def contenders(options, device, otherwise=None) -> list[str]:
    """Those that were asked for, or else `otherwise`, or else all that can be measured here."""
    from deformconv.bench.contenders import installed, on
    from deformconv.bench.measure import DISPENSABLE

    here = installed(device)
    wanted = options.contenders or otherwise or (here if device == "cpu" else on(device))
    for name in wanted:
        check_choice("--contenders", name, on(device))
        if name not in here and (name != DISPENSABLE or options.contenders):
            raise ValueError(
                f'--contenders: {name} is not installed; pip install "deformconv[bench]" brings the peers.'
            )
    return [name for name in wanted if name in here]


def _growth(options, say):
    from deformconv.bench import growth

    memory = 0.8 * growth.available() if options.memory is None else 1e3 * options.memory
    names = contenders(options, "cpu", ["conv2d", "tensorflow"])
    seconds = options.seconds or growth.SECONDS
    return growth.run(names, threads=options.threads, memory=memory, seconds=seconds, progress=say)


def _training(options, say):
    _set_threads(options)
    from deformconv.bench import training

    return training.run(rounds=options.rounds, progress=say)


def _forms(options, say):
    _set_threads(options)
    from deformconv.bench import forms

    return forms.run(rounds=options.rounds, progress=say)


def _table_of_forms(results):
    from deformconv.bench import forms

    return forms.table(results)


def _set_threads(options):
    """Of the engine that this process is going to import."""
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(options.threads)


def _variants(options, say):
    from deformconv.bench import costs
    from deformconv.study.digits.variants import VARIANTS

    return costs.run(VARIANTS, options.threads, say)
