"""Model-D: the whole curriculum, from clean to highly noisy."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_D = Recipe(
    description="three stages: clean, + noisy, + highly noisy",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-d",
    expected="top-1 error 68.7 % (66.6 to 70.7) on tinyweb40: resnet10t, 937 steps of 128, 10 min on an EPYC core",
    uses_curriculum=True,
    subsets=None,
    staged=True,
    balance="clean",
)
