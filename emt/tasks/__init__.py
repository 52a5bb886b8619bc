"""Tasks by name. A new task is one file here and one line below."""

TASKS = {
    "variable_binding": "emt.tasks.variable_binding:VariableBinding",
    "associative_retrieval": "emt.tasks.associative_retrieval:AssociativeRetrieval",
    "catbabi": "emt.tasks.catbabi:CatBabi",
    "words": "emt.tasks.words:Words",
    "contextual_choice": "emt.tasks.contextual_choice:ContextualChoice",
    "graph_navigation": "emt.tasks.graph_navigation:GraphNavigation",
    "characters": "emt.tasks.characters:Characters",
    "flip_flop": "emt.tasks.flip_flop:FlipFlop",
    "unique_keys": "emt.tasks.key_value_pairs:UniqueKeys",
    "repeated_keys": "emt.tasks.key_value_pairs:RepeatedKeys",
    "parity": "emt.tasks.state_tracking:Parity",
    "modular_addition": "emt.tasks.state_tracking:ModularAddition",
    "word_problem": "emt.tasks.state_tracking:WordProblem",
    "mqar": "emt.tasks.recall:MQAR",
    "induction": "emt.tasks.recall:Induction",
    "selective_copy": "emt.tasks.recall:SelectiveCopy",
    "delayed_match": "emt.tasks.decisions:DelayedMatch",
    "context_integration": "emt.tasks.decisions:ContextIntegration",
}
