"""What a command of `emt analyze` is: a function of this package, what that function is given, where its results go."""

from collections.abc import Iterable
from dataclasses import dataclass

from emt.errors import RegistrationError

SUBJECTS = {
    "population": "the `Population` of one evaluation summary",
    "populations": "a list of populations, one for each summary",
    "recording": "the Trace beside one summary (`emt.trace`)",
    "recordings": "label -> Trace, one for each summary",
    "networks": "label -> `Networks`: Trace, outputs on other trials and options of each summary",
    "lengths": "sequence length -> Trace, all recorded runs beside one summary",
    "dynamics": "the fixed points and Lyapunov exponents beside one summary (`emt.dynamics_file`)",
    "interventions": "the effects of interventions beside one summary (`emt.effects`)",
    "checkpoints": "training step -> `Population`, of one summary's evaluated checkpoints",
    "experiments": "the `Experiments` of all summaries with the results beside them",
}
"""What the first parameter of an analysis may be given."""

SEVERAL = ("populations", "recordings", "networks", "experiments")
"""Subjects that come from several summaries."""


@dataclass(frozen=True)
class Command:
    """One command of `emt analyze`.

    Attributes
    ----------
    name
        What the user types.
    function
        The analysis, "analysis.room.module:function"; its figures are in "analysis.figures.room.module".
    takes
        What its first parameter is given, one of `SUBJECTS`.
    results
        Folder of its tables and figures, beside the summary or, of several summaries, in the working
        directory; NAME_analysis by default.
    memory
        Whether it needs an associative memory.
    theory
        Whether it needs a task with a linear operator, of which a theory says the spectrum.

    Raises
    ------
    RegistrationError
        If there is no such subject, or ``function`` names no function of a module.

    Examples
    --------
    >>> Command("eigenvalue", "analysis.spectra.eigenvalue:summarise_eigenvalues", takes="population").folder
    'eigenvalue_analysis'
    """

    name: str
    function: str
    takes: str
    results: str = ""
    memory: bool = False
    theory: bool = False

    def __post_init__(self) -> None:
        where = f"analysis/__init__.py: command {self.name!r}"
        if self.takes not in SUBJECTS:
            raise RegistrationError(
                f"{where}: expected takes to be one of {', '.join(SUBJECTS)}; got {self.takes!r}"
            )
        package, _, rest = self.function.partition(".")
        if package != "analysis" or rest.count(":") != 1:
            raise RegistrationError(
                f'{where}: expected "analysis.room.module:function"; got {self.function!r}'
            )

    @property
    def several(self) -> bool:
        """Whether it analyses several evaluation summaries."""
        return self.takes in SEVERAL

    @property
    def folder(self) -> str:
        """Name of the folder that holds its results."""
        return self.results or f"{self.name}_analysis"

    @property
    def figures(self) -> str:
        """Module that draws its result."""
        return self.function.partition(":")[0].replace("analysis.", "analysis.figures.", 1)


def by_name(commands: Iterable[Command]) -> dict[str, Command]:
    """Return commands by name.

    Raises
    ------
    RegistrationError
        If two have one name, or one folder of results.
    """
    found: dict[str, Command] = {}
    for command in commands:
        for other in found.values():
            if command.name == other.name or command.folder == other.folder:
                raise RegistrationError(
                    f"analysis/__init__.py: expected commands with names and folders of their own; {command.name!r} "
                    f"({command.function}) and {other.name!r} ({other.function}) clash"
                )
        found[command.name] = command
    return found
