"""Model-A with balanced categories: the control that tells balance from order."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_A_BALANCED = Recipe(
    description="all images at once, every category equally often",
    source="a control of this project",
    command="curriculumnet train WORK --recipe model-a-balanced",
    expected="not measured yet",
    uses_curriculum=False,
    subsets=None,
    staged=False,
    balance="all",
)
