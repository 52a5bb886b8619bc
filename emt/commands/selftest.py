"""Show on this machine that the analyses give the right numbers: systems whose answers are known by derivation.

Every system of `emt.commands.known_systems` runs through the analyses it has an answer for; a line for each
quantity says what is expected, what came out, and ok or FAULT. With ``--calibrate`` every test that gives a
p-value is run on data without an effect, and its rate of false positives is printed
(`emt.commands.calibration`).
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from emt import stopping
from emt.commands.known_systems.answers import Answer
from emt.commands.output import say
from emt.options import Parser

SYSTEMS = (
    *("circles:roots_of_unity", "circles:rotations", "circles:loop_of_roots", "circles:points_on_a_line"),
    *("shifts:shifted_spectra", "shifts:sets_that_differ", "shifts:sets_that_do_not_differ"),
    *("states:equal_variances", "states:rotated_copy", "states:ring_and_line", "states:blobs"),
    *("codes:turning_code", "codes:two_circles", "codes:rectangle", "differences:linear_networks"),
    *("stores:linear_memory", "stores:delta_rule", "stores:dictionary"),
    *("capacities:tight_frame", "capacities:reflections", "cells:constant_gates"),
    *("networks:planted_variables", "networks:no_variables"),
    *(
        "attractors:line_attractor",
        "attractors:ring_attractor",
        "attractors:non_normal_pair",
        "attractors:latches",
    ),
    *("registers:exchanged_registers", "registers:exchanged_slots", "registers:registers_of_others"),
    "signed_memory:signed_writes",
    *("own:own_networks", "own:own_memory", "training:spectrum_after_accuracy", "pages:experiment_page"),
)
"""Systems, "module:function" of `emt.commands.known_systems`, in the order of the table."""


@dataclass(frozen=True)
class Line:
    """One line of the table: a system, its answer, and why there is none where the analysis failed."""

    system: str
    answer: Answer
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the value is right."""
        return not self.error and self.answer.ok

    def __str__(self) -> str:
        a, verdict = self.answer, "ok" if self.ok else "FAULT"
        numbers = f"{a.expected:>12.6g} {a.got:>12.6g} {a.tolerance:>9.1g}"
        return f"{self.system:24} {a.command:14} {a.quantity:46} {numbers}  {verdict}{self.error and ': ' + self.error}"


HEADER = f"{'system':24} {'command':14} {'quantity':46} {'expected':>12} {'got':>12} {'tolerance':>9}"


def main(arguments: list[str] | None = None) -> int:
    """Run the selftest, or the calibration; return 1 where a number is wrong."""
    given = parser().parse_args(arguments)
    if given.calibrate:
        from emt.commands import calibration

        return calibration.run(given.draws, given.seed, given.json)
    return run(SYSTEMS, given.json)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = Parser(prog="emt selftest", description=(__doc__ or "").partition("\n\n")[0])
    made.add_argument(
        "--calibrate", action="store_true", help="false-positive rates of all tests instead; minutes"
    )
    made.add_argument(
        "--draws", type=_positive, default=200, help="with --calibrate: data sets without an effect"
    )
    made.add_argument("--seed", type=int, default=0, help="with --calibrate: seed of the data sets")
    made.add_argument("--json", type=Path, metavar="PATH", help="also write the table to this file")
    return made


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer ≥ 1; got {text}")
    return number


def run(systems: Sequence[str], path: Path | None = None) -> int:
    """Run systems, print their lines as they come, and return 1 if a number is wrong, else 0."""
    start, lines = time.monotonic(), []
    say(f"{'':8}{HEADER}")
    for place, system in enumerate(systems, 1):
        for line in lines_of(system):
            lines.append(line)
            say(f"{f'{place}/{len(systems)}':8}{line}", flush=True)
    faults = [line for line in lines if not line.ok]
    commands = {line.answer.command for line in lines}
    verdict = f"FAULT in {len(faults)} of" if faults else "ok:"
    say(f"{verdict} {len(lines)} numbers of {len(commands)} commands, {time.monotonic() - start:.0f} s")
    if path is not None:
        write_table([{"system": line.system, **asdict(line.answer), "ok": line.ok} for line in lines], path)
    return 1 if faults else 0


def lines_of(system: str) -> Iterable[Line]:
    """Yield a system's lines; an analysis that raises is a fault, and the others go on."""
    module, _, name = system.partition(":")
    shown = name.replace("_", " ")
    try:
        for answer in getattr(import_module(f"emt.commands.known_systems.{module}"), name)():
            yield Line(shown, answer)
    except Exception as error:
        # Compiled code may turn an interruption into an error of its own.
        stopping.check()
        nothing = Answer("", "", float("nan"), float("nan"), 0.0)
        yield Line(shown, nothing, f"{type(error).__name__}: {error}")


def write_table(rows: list[dict[str, object]], path: Path) -> None:
    """Write a table as JSON, a list of rows."""
    from analysis.tables import to_json
    from emt.files import write_bytes

    write_bytes(path, to_json(rows))
    say(f"table: {path}")
