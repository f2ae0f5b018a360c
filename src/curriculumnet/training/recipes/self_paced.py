"""Easy images first, as the network itself finds them."""

from curriculumnet.training.recipes.recipe import Recipe

SELF_PACED = Recipe(
    description="no curriculum: the images of the lowest losses first, then more of them",
    source="Kumar et al., Self-Paced Learning for Latent Variable Models, NIPS 2010",
    command="curriculumnet train WORK --recipe self-paced",
    expected="top-1 error 55.3 % (53.6 to 57.1) on CIFAR-10N worst: test_resnet, 352 steps of 128, 4 min, an EPYC core",
    uses_curriculum=False,
    subsets=None,
    staged=False,
    balance="none",
    course="self-paced",
)
