"""Analyses of populations: arrays in, frozen results out; no files, no figures, no torch.

Everything below is imported from its module on first use, so that ``import analysis`` costs nothing.
"""

from importlib import import_module
from typing import Any

COMMANDS = {
    "eigenvalue": "analysis.eigenvalue:summarise_eigenvalues",
    "embedding": "analysis.embedding:embed_population",
    "persistence": "analysis.persistence:analyse_persistence",
    "topology": "analysis.topology:analyse_topology",
    "compare": "analysis.comparison:compare_populations",
    "similarity": "analysis.similarity:compare_states",
    "match": "analysis.matching:match_memories",
    "memory": "analysis.memory:analyse_memory",
    "variables": "analysis.variables:find_variables",
    "dynamics": "analysis.dynamics:analyse_dynamics",
    "emergence": "analysis.emergence:follow_training",
    "report": "analysis.report:report_experiment",
}
"""Command of analyze.py -> the function behind it."""

_PUBLIC = {
    "population": ("AnalysisError", "NoMemoryError", "Population", "from_summary"),
    "spectra": (
        "SpectralError",
        "corrected_statistics",
        "eigenvalue_histograms",
        "eigenvalue_statistics",
        "histogram_to_eigenvalues",
        "match_modes",
        "spectral_error",
    ),
    "signatures": ("signature_table", "spectral_signature", "standardise"),
    "distances": (
        "circular_wasserstein",
        "distance_statistics",
        "find_outliers",
        "histogram_distance",
        "nearest_neighbours",
        "pairwise_distances",
        "pairwise_histogram_distances",
        "spectral_distance",
    ),
    "eigenvalue": ("EigenvalueSummary", "summarise_eigenvalues"),
    "embedding": (
        "Embedding",
        "classical_scaling",
        "embed_distances",
        "embed_population",
        "embedding_quality",
        "intrinsic_dimension",
        "principal_components",
        "signature_distances",
    ),
    "diagram_distances": ("diagram_distance", "pairwise_diagram_distances"),
    "persistence": (
        "Persistence",
        "analyse_persistence",
        "betti_numbers",
        "persistence_diagrams",
        "scale_free_features",
        "topological_features",
        "unit_circle",
    ),
    "nulls": ("BarTests", "bar_tests", "gaussian_cloud", "rotate_angles", "rotate_phases", "shuffle_time"),
    "topology": ("Topology", "analyse_topology"),
    "statistics": (
        "Interval",
        "PermutationTest",
        "benjamini_hochberg",
        "bootstrap_interval",
        "cliffs_delta",
        "cohens_d",
        "energy_test",
        "hedges_g",
        "holm",
        "mantel_test",
        "mean_difference",
        "mean_interval",
        "monte_carlo_test",
        "paired_distance_test",
        "permutation_test",
        "proportion_interval",
        "sign_flip_test",
    ),
    "comparison": ("Comparison", "compare_populations"),
    "similarity": ("Similarity", "compare_states", "dynamical_distances", "state_distances"),
    "learning": ("Learner", "LearningCurve", "LearningSummary", "summarise_learning"),
    "groups": ("Answered", "GroupSummary", "summarise_groups"),
    "token_losses": ("Losses", "TokenLosses", "compare_losses"),
    "companion": ("companion_cycles", "companion_eigenvalues", "companion_matrix"),
    "subspaces": ("leading_subspace", "left_singular_subspace", "principal_subspace", "subspace_overlap"),
    "summary": ("Circuit", "leading_eigenvalues", "sequence_accuracy", "summarise", "wrong_outputs"),
    "variable_basis": ("VariableBasis", "find_variable_basis"),
    "variable_codes": ("Certificate", "Code", "Trials", "certify", "fit_each", "fit_trajectories", "task_windows"),
    "variables": ("VariableMemories", "find_variables"),
    "dynamics": ("Dynamics", "MemberPlane", "analyse_dynamics", "non_normality", "sorted_modes", "transient_growth"),
    "emergence": ("Emergence", "follow_training"),
    "logs": ("MemoryLog", "memory_log", "memory_names", "select"),
    "replay": ("MatchGrids", "match_grids", "recall_error", "replay_memory"),
    "asks": ("Asks", "Reading", "asked_writes", "find_asks", "read_asks"),
    "ask_scores": ("MemberScores", "score_asks", "score_member", "shuffled_scores"),
    "questions": ("Answer", "QuestionGrid", "choose_questions", "describe_asks", "question_grid"),
    "matching": ("Match", "TrialGrid", "match_memories"),
    "memory": (
        "MemoryAnalysis",
        "MemoryContents",
        "analyse_memory",
        "class_separation",
        "component_auc",
        "effective_rank",
    ),
    "write_similarity": ("WriteSimilarity", "compare_writes"),
    "findings": ("Experiment", "Member", "Section"),
    "report": ("Report", "report_experiment"),
    "tables": ("save_results",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["COMMANDS", *_MODULE_OF]


def results_folder(command: str) -> str:
    """Return the name of the folder that holds what a command of analyze.py makes."""
    return {"compare": "comparison_analysis", "report": "."}.get(command, f"{command}_analysis")


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(f"analysis.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
