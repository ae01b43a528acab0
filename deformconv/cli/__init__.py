"""The command line: `deformconv reproduce | train | mnist-scale | bench | data | info`."""

import argparse
import logging
import os
import shlex
import sys
import warnings

from deformconv.cli import bench, data, mnist_scale, reproduce, train

DESCRIPTION = "Deformable convolution for Keras 3: the study behind the book, its data, this machine."


def main(arguments=None) -> int:
    """Runs one command; errors that a user can act on are one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    # TensorFlow greets at import; who wants to read that sets the variable to 0.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *_, **__: print(f"deformconv: warning: {message}", file=sys.stderr)
    options.command_line = shlex.join(["deformconv", *arguments])
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"deformconv: error: {' '.join(str(error).split())}", file=sys.stderr)  # Keras's have many lines
        return 2
    except SystemExit as ended:
        if hasattr(ended, "message"):  # SIGTERM, in a training that keeps its state
            print(f"\ndeformconv: terminated; {ended.message}; the same command goes on from there.", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("\ndeformconv: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="deformconv", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (reproduce, train, mnist_scale, bench, data):
        command.add(commands)
    return parser
