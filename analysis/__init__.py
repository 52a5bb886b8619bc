"""Analyses of populations: arrays in, frozen results out; no files, no figures, no torch.

Everything below is imported from its module on first use, so that ``import analysis`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import Any

from analysis.command import Command, by_name

COMMANDS = by_name(
    [
        Command("eigenvalue", "analysis.spectra.eigenvalue:summarise_eigenvalues", takes="population"),
        Command("embedding", "analysis.spectra.embedding:embed_population", takes="population"),
        Command("persistence", "analysis.homology.persistence:analyse_persistence", takes="population"),
        Command("topology", "analysis.homology.topology:analyse_topology", takes="recording"),
        Command(
            "compare",
            "analysis.spectra.comparison:compare_populations",
            takes="populations",
            results="comparison_analysis",
        ),
        Command("similarity", "analysis.states.similarity:compare_states", takes="recordings"),
        Command("dimensionality", "analysis.states.dimensionality:measure_dimensionality", takes="recording"),
        Command("decode", "analysis.conditions.decoding:decode_label", takes="recording"),
        Command("trajectories", "analysis.conditions.trajectories:follow_conditions", takes="recording"),
        Command("geometry", "analysis.conditions.geometry:compare_conditions", takes="recording"),
        Command("degeneracy", "analysis.degeneracy.measure:measure_degeneracy", takes="networks"),
        Command("match", "analysis.memory.matching:match_memories", takes="recording", memory=True),
        Command("memory", "analysis.memory.contents:analyse_memory", takes="recording", memory=True),
        Command("capacity", "analysis.memory.capacity:measure_capacity", takes="lengths", memory=True),
        Command("variables", "analysis.variables.find:find_variables", takes="recording", theory=True),
        Command("dynamics", "analysis.states.dynamics:analyse_dynamics", takes="dynamics"),
        Command(
            "interventions",
            "analysis.interventions.summary:summarise_interventions",
            takes="interventions",
        ),
        Command("emergence", "analysis.spectra.emergence:follow_training", takes="checkpoints", theory=True),
        Command("report", "analysis.report.overview:report_experiments", takes="experiments", results="."),
    ]
)
"""Commands of `emt analyze` by name."""

_PUBLIC = {
    "errors": ("AnalysisError", "NoMemoryError"),
    "population": ("Population", "from_summary"),
    "spectra.values": (
        "SpectralError",
        "corrected_statistics",
        "eigenvalue_histograms",
        "eigenvalue_statistics",
        "histogram_to_eigenvalues",
        "match_modes",
        "spectral_error",
    ),
    "spectra.signatures": ("signature_table", "spectral_signature", "standardise"),
    "spectra.distances": (
        "circular_wasserstein",
        "distance_statistics",
        "find_outliers",
        "histogram_distance",
        "nearest_neighbours",
        "pairwise_distances",
        "pairwise_histogram_distances",
        "spectral_distance",
    ),
    "spectra.eigenvalue": ("EigenvalueSummary", "summarise_eigenvalues"),
    "spectra.embedding": (
        "Embedding",
        "classical_scaling",
        "embed_distances",
        "embed_population",
        "embedding_quality",
        "intrinsic_dimension",
        "principal_components",
        "signature_distances",
    ),
    "homology.diagram_distances": ("diagram_distance", "pairwise_diagram_distances"),
    "homology.persistence": (
        "Persistence",
        "analyse_persistence",
        "betti_numbers",
        "persistence_diagrams",
        "scale_free_features",
        "topological_features",
        "unit_circle",
    ),
    "homology.nulls": (
        "BarTests",
        "bar_tests",
        "gaussian_cloud",
        "rotate_angles",
        "rotate_phases",
        "shuffle_time",
    ),
    "homology.topology": ("Topology", "analyse_topology"),
    "statistics": (
        "ChanceTest",
        "Interval",
        "Jackknife",
        "PermutationTest",
        "Trend",
        "benjamini_hochberg",
        "bootstrap_interval",
        "chance_test",
        "cliffs_delta",
        "cohens_d",
        "energy_test",
        "hedges_g",
        "holm",
        "jackknife",
        "mantel_test",
        "mean_difference",
        "mean_interval",
        "monte_carlo_test",
        "pair_mean",
        "paired_distance_test",
        "permutation_test",
        "proportion_interval",
        "sign_flip_test",
        "trend",
    ),
    "spectra.comparison": ("Comparison", "compare_populations"),
    "states.similarity": ("Similarity", "compare_states", "dynamical_distances", "state_distances"),
    "states.dimensionality": (
        "Dimensionality",
        "covariance_spectrum",
        "effective_rank",
        "expected_participation_ratio",
        "measure_dimensionality",
        "participation_ratio",
        "shuffle_units",
    ),
    "conditions.decoding": ("Decoding", "decode_label"),
    "conditions.trajectories": ("Trajectories", "follow_conditions"),
    "conditions.geometry": ("Geometry", "compare_conditions"),
    "degeneracy.measure": ("Degeneracy", "measure_degeneracy"),
    "degeneracy.networks": ("Networks",),
    "statistics.over_time": ("ChanceOverTime", "chance_over_time"),
    "accuracy.learning": ("Learner", "LearningCurve", "LearningSummary", "summarise_learning"),
    "accuracy.groups": ("Answered", "GroupSummary", "summarise_groups"),
    "accuracy.token_losses": ("Losses", "TokenLosses", "compare_losses"),
    "variables.companion": ("companion_cycles", "companion_eigenvalues", "companion_matrix"),
    "variables.subspaces": (
        "leading_subspace",
        "left_singular_subspace",
        "principal_subspace",
        "subspace_overlap",
    ),
    "evaluation.from_recording": ("recorded_members", "summarise_recording"),
    "evaluation.summary": (
        "TrainedMember",
        "leading_eigenvalues",
        "sequence_accuracy",
        "summarise",
        "wrong_outputs",
    ),
    "variables.from_powers": ("VariableBasis", "find_variable_basis"),
    "variables.from_trajectories": (
        "Certificate",
        "Code",
        "Trials",
        "certify",
        "fit_each",
        "fit_trajectories",
        "task_windows",
    ),
    "variables.find": ("VariableMemories", "find_variables"),
    "states.dynamics": (
        "Dynamics",
        "MemberPlane",
        "analyse_dynamics",
        "non_normality",
        "sorted_modes",
        "transient_growth",
    ),
    "spectra.emergence": ("Emergence", "follow_training"),
    "memory.log": ("MemoryLog", "memory_log", "memory_names", "select"),
    "memory.replay": ("MatchGrids", "match_grids", "recall_error", "replay_memory"),
    "memory.queries": ("Queries", "Reading", "queried_writes", "find_queries", "read_queries"),
    "memory.query_scores": ("MemberScores", "score_queries", "score_member", "shuffled_scores"),
    "memory.question_grids": (
        "Answer",
        "QuestionGrid",
        "choose_questions",
        "describe_queries",
        "question_grid",
    ),
    "memory.matching": ("Match", "TrialGrid", "match_memories"),
    "memory.contents": (
        "MemoryAnalysis",
        "MemoryContents",
        "analyse_memory",
    ),
    "memory.separation": ("class_separation", "component_auc"),
    "memory.capacity": ("Capacity", "measure_capacity"),
    "memory.capacity_lines": (
        "delta_rule",
        "least_squares",
        "mean_of_values",
        "rank_floor",
        "repeated_sum",
        "summed",
        "value_floor",
    ),
    "memory.write_similarity": ("WriteSimilarity", "compare_writes"),
    "interventions.summary": ("Interventions", "summarise_interventions"),
    "report.sections": ("Experiment", "Experiments", "Member", "Section"),
    "report.overview": ("Overview", "report_experiments"),
    "report.page": ("Report", "report_experiment"),
    "tables": ("save_results",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["COMMANDS", *_MODULE_OF]

RENAMED = {
    "Asks": "Queries",
    "Circuit": "TrainedMember",
    "asked_writes": "queried_writes",
    "describe_asks": "describe_queries",
    "find_asks": "find_queries",
    "read_asks": "read_queries",
    "score_asks": "score_queries",
}
"""Old public names and the new ones: the old ones still work, with a `DeprecationWarning`."""


def __getattr__(name: str) -> Any:
    if name in RENAMED:
        new = RENAMED[name]
        warnings.warn(f"analysis.{name} is now called analysis.{new}", DeprecationWarning, stacklevel=2)
        name = new
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(f"analysis.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
