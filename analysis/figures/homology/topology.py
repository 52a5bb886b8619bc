"""Figures of `analysis.homology.topology`."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.captions import captioned
from analysis.figures.homology.nulls import draw_tests
from analysis.figures.homology.persistence import draw_bars
from analysis.figures.style import column_figure, single_axes, styled
from analysis.homology.diagram_distances import largest_scale
from analysis.homology.topology import Topology

N_EXAMPLES = 6


CAPTIONS = {
    "topology_tests": (
        "Longest bar in the states of each member (dot), and what 95 % of null clouds stay below (open marks); "
        "band: other subsets of the states. Dots above the open marks are structure beyond chance; the titles "
        "count them."
    ),
    "topology_barcodes": (
        "Bars from the scale at which a component, loop or void of the recorded states appears to that at "
        "which it vanishes; colours: dimension. One long bar among short ones is structure, as a ring of "
        "states."
    ),
}


@captioned(CAPTIONS)
def draw(topology: Topology) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of an analysis of trajectories and their names."""
    yield "topology_tests", draw_tests(topology.tests, topology.label, "distance of states")
    yield "topology_barcodes", _examples(topology)


@styled
def plot_barcode(topology: Topology, member: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the barcode of the model at position ``member``."""
    ax = single_axes(ax)
    draw_bars(
        ax, topology.diagrams[member], largest_scale([bars for model in topology.diagrams for bars in model])
    )
    ax.set(xlabel="scale (distance)", ylabel="bars")
    ax.set_title(topology.model_names[member])
    return ax


@styled
def _examples(topology: Topology) -> Figure:
    n_models = len(topology.model_names)
    shown = np.linspace(0, n_models - 1, min(N_EXAMPLES, n_models)).astype(int)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = column_figure(
        "double" if columns > 1 else "single", height=0.7 + 2.0 * rows, rows=rows, columns=columns
    )
    for position, ax in enumerate(axes.flat):
        if position < len(shown):
            plot_barcode(topology, int(shown[position]), ax)
        else:
            ax.remove()
    points = f"{topology.n_points} of {topology.n_states} states"
    figure.suptitle(f"{topology.label}: n = {n_models} models, {len(shown)} shown; {points}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
