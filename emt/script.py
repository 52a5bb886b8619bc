"""How every command line of the project ends: one line for what the user can put right, and an honest exit code."""

import sys
from collections.abc import Callable


def run_script(name: str, main: Callable[[], int]) -> int:
    """Call ``main`` and return its exit code: 2 for bad input or a refusing disk, 130 for Ctrl-C.

    What scripts raise for bad input (`emt.options.UserError`, `emt.trace.TraceError`, ``analysis.AnalysisError``) and
    ``OSError`` become one line; anything else is a fault of ours and keeps its traceback.
    """
    from emt.options import UserError
    from emt.runs import explain_os_error

    try:
        return main()
    except UserError as error:
        message = str(error)
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
