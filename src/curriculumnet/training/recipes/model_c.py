"""Model-C: clean images first, then the noisy ones as well."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_C = Recipe(
    description="two stages: clean, then + noisy",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-c",
    expected="top-1 error 52.0 % (50.2 to 53.8) on CIFAR-10N worst: test_resnet, 352 steps of 128, 4 min, an EPYC core",
    uses_curriculum=True,
    subsets=2,
    staged=True,
    balance="clean",
)
