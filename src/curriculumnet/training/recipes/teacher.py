"""A teacher chooses the subsets by what the network learns of them."""

from curriculumnet.training.recipes.recipe import Recipe

TEACHER = Recipe(
    description="all subsets at once, most of that of which most is learnt",
    source="Matiisen et al., Teacher-Student Curriculum Learning, 2017, arXiv:1707.00183",
    command="curriculumnet train WORK --recipe teacher",
    expected="top-1 error 55.6 % (53.8 to 57.4) on CIFAR-10N worst: test_resnet, 352 steps of 128, 4 min, an EPYC core",
    uses_curriculum=True,
    subsets=None,
    staged=False,
    balance="clean",
    course="teacher",
)
