"""What the measurements of speed share."""

import statistics
import time
from collections.abc import Callable, Mapping


def median_times(forms: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return median seconds of this thread for each form. Forms take turns; a first turn does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(turns + 1):
        for name, form in forms.items():
            start = time.thread_time()
            form()
            seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
