"""The command line: thin commands over the engine, quick to answer `--help`."""

from __future__ import annotations

import json
import os
import sys
import traceback

from imagereg.cli.app import app
from imagereg.errors import ImageregError
from imagereg.running.configure_process import own_process

CANCELLED = 130


def main() -> None:
    """Run the command line and exit with 0, or the code of what went wrong.

    1 runtime failure, 2 usage or validation, 3 input unreadable, 4 resources, 130 cancelled.
    """
    own_process()
    try:
        app()
    except ImageregError as error:
        _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        _complain("stopped; finished slabs are kept and the same command goes on from them.", CANCELLED)
    except BrokenPipeError:
        # The reader of our output (head, less) went away: nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("IMAGEREG_DEBUG"):
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        _complain(
            f"unexpected {type(error).__name__} in {place.name}: {error}; set IMAGEREG_DEBUG=1 "
            "for the full traceback; please report it.",
            1,
        )


def _complain(sentence: str, code: int) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"event": "error", "message": sentence, "code": code}) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"imagereg: {sentence}\n")
    sys.exit(code)
