"""How every command line of the project ends: one line for what the user can put right, and an honest exit code."""

import os
import sys
from collections.abc import Callable


def run_script(name: str, main: Callable[[], int]) -> int:
    """Call ``main`` and return its exit code: 2 for bad input or a refusing disk, 130 after Ctrl-C, 141 after `| head`.

    What scripts raise for bad input (`emt.options.UserError`, `emt.trace.TraceError`, ``analysis.AnalysisError``) and
    ``OSError`` become one line; anything else is a fault of ours and keeps its traceback.
    """
    from emt.options import UserError
    from emt.runs import explain_os_error

    try:
        code = main()
        sys.stdout.flush()
        return code
    except UserError as error:
        message = str(error)
    except BrokenPipeError:
        # Whoever read our lines has had enough; nobody is left to tell, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        message = explain_os_error(error)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except ValueError as error:
        # By name: those classes live where heavy packages are imported, and this layer may not know `analysis`.
        if not {"AnalysisError", "TraceError"} & {kind.__name__ for kind in type(error).__mro__}:
            raise
        message = str(error)
    print(f"{name}: {message}", file=sys.stderr)  # noqa: T201
    return 2
