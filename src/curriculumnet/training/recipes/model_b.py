"""Model-B: the clean subset and nothing else."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_B = Recipe(
    description="the clean subset only",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-b",
    expected="top-1 error 54.1 % (52.3 to 55.9) on CIFAR-10N worst: test_resnet, 352 steps of 128, 4 min, an EPYC core",
    uses_curriculum=True,
    subsets=1,
    staged=False,
    balance="clean",
)
