"""Every configuration that is shipped is one that can be trained."""

import pytest

from emt.commands.sweep import questions, read
from emt.models import MODELS
from emt.options import load
from emt.tasks import TASKS
from emt.training import sweep as sweeps

SHIPPED = {
    f"{question}-{config.metadata['experiment_name']}": config
    for question in questions()
    for config in read(question)
    # Their stories and texts are the user's; test_catbabi.py and test_language_model.py train some.
    if not question.startswith(("catbabi/", "language_model/"))
}


def test_every_question_has_configurations_with_names_of_their_own():
    assert {"all_linear_vb", "repeat_copy", "catbabi/table1", "ethereal/map"} <= set(questions())
    for question in questions():
        names = [config.metadata["experiment_name"] for config in read(question)]
        assert len(set(names)) == len(names) > 0


def test_the_grid_is_whole():
    configs = read("all_linear_vb")
    assert len(configs) == 4 * 3 * 4 * 2
    assert {c.training.num_models for c in configs} == {20}


@pytest.mark.parametrize("config", SHIPPED.values(), ids=SHIPPED)
def test_every_configuration_is_valid(config):
    whole = sweeps.complete(config)
    task = load(TASKS, whole.task_name, "task")(**whole.task_options())
    build = load(MODELS, whole.model_type, "model_type")
    model = build([0], task.input_channels, task.output_channels, **whole.model_options())
    assert model.members == 1
    with pytest.raises(TypeError, match="unheard_of"):
        build([0], task.input_channels, task.output_channels, **whole.model_options(), unheard_of=1)
