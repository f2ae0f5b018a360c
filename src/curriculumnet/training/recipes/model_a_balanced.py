"""Model-A with balanced categories: the control that tells balance from order."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_A_BALANCED = Recipe(
    description="all images at once, every category equally often",
    source="a control of this project",
    command="curriculumnet train WORK --recipe model-a-balanced",
    expected="top-1 error 68.1 % (66.0 to 70.2) on tinyweb40: resnet10t, 937 steps of 128, 15 min on an EPYC core",
    uses_curriculum=False,
    subsets=None,
    staged=False,
    balance="all",
)
