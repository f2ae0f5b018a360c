"""Model-B: the clean subset and nothing else."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_B = Recipe(
    description="the clean subset only",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-b",
    expected="not measured yet",
    uses_curriculum=True,
    subsets=1,
    staged=False,
    balance="clean",
)
