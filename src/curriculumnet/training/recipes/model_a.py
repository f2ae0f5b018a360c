"""Model-A: the baseline that knows nothing of subsets."""

from curriculumnet.training.recipes.recipe import Recipe

MODEL_A = Recipe(
    description="all images at once, no curriculum",
    source="Guo et al., CurriculumNet, ECCV 2018, section 4.2",
    command="curriculumnet train WORK --recipe model-a",
    expected="not measured yet",
    uses_curriculum=False,
    subsets=None,
    staged=False,
    balance="none",
)
