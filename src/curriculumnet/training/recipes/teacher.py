"""A teacher chooses the subsets by what the network learns of them."""

from curriculumnet.training.recipes.recipe import Recipe

TEACHER = Recipe(
    description="all subsets at once, most of that of which most is learnt",
    source="Matiisen et al., Teacher-Student Curriculum Learning, 2017, arXiv:1707.00183",
    command="curriculumnet train WORK --recipe teacher",
    expected="not measured yet",
    uses_curriculum=True,
    subsets=None,
    staged=False,
    balance="clean",
    course="teacher",
)
