"""Model-A: the baseline that knows nothing of subsets."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_A = Recipe(
    description="all images at once, no curriculum",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-a",
    expected="top-1 error 65.5 % (63.4 to 67.6) on tinyweb40: resnet10t, 937 steps of 128, 10 min on an EPYC core",
    uses_curriculum=False,
    subsets=None,
    staged=False,
    balance="none",
)
