"""What the commands share: options for several devices, who tells, choices in words."""

import os
import sys
from contextlib import contextmanager

# Keras's policies that a network can be trained under.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def add_devices(command):
    command.add_argument(
        "--devices",
        default="1",
        metavar="N",
        help="share each batch among so many devices of this machine, or `all` of them (default 1); not with PyTorch",
    )
    command.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where the first of several processes listens, on as many machines; KERAS_BACKEND=jax only. Each "
        "is started by the same command with its own --process, all with one shared --out folder",
    )
    command.add_argument(
        "--process", type=_process, default=(0, 1), metavar="I/N", help="which of how many processes this is, from 0/N"
    )


def _process(text):
    number, count = map(int, text.split("/"))
    return number, count


@contextmanager
def spread(options):
    """The devices that the options ask for. With several processes, an error ends this one without a farewell."""
    from deformconv.training import devices

    several = options.process[1] > 1
    if options.devices != "all" and not options.devices.isdigit():
        raise ValueError(f"--devices must be a number or `all`; received {options.devices!r}.")
    wanted = "all" if options.devices == "all" or several else int(options.devices)
    try:
        with devices.spread(wanted, options.coordinator, options.process):
            yield
    except Exception as error:
        if not several:
            raise
        print(f"deformconv: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        os._exit(2)


def say(line):
    """Of several processes, one tells."""
    from deformconv.training import devices

    if devices.is_first():
        print(line, flush=True)


def check_choice(name, value, choices):
    """Raises a ValueError that lists the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; received {value!r}.")
