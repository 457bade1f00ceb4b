"""The command `ashore`: `python -m ashore_cli` does the same."""

import os
import sys

from ashore_cli.app import app
from ashore_cli.errors import DONE, explain


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        code = app(result_action="return_int_as_exit_code_else_zero")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:  # noqa: BLE001 - whatever it is, people get a sentence
        code = explain(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
