"""The recipes, as data: which subsets take part when, with which weights, balanced how.

Each recipe has a file of its own with a header: source, command, expected score, minutes, hardware.
"""

from curriculumnet.errors import UnknownNameError
from curriculumnet.training.recipes.model_a import MODEL_A
from curriculumnet.training.recipes.model_a_balanced import MODEL_A_BALANCED
from curriculumnet.training.recipes.model_b import MODEL_B
from curriculumnet.training.recipes.model_c import MODEL_C
from curriculumnet.training.recipes.model_d import MODEL_D
from curriculumnet.training.recipes.recipe import Recipe
from curriculumnet.training.recipes.self_paced import SELF_PACED
from curriculumnet.training.recipes.teacher import TEACHER

RECIPES: dict[str, Recipe] = {
    "model-a": MODEL_A,
    "model-a-balanced": MODEL_A_BALANCED,
    "model-b": MODEL_B,
    "model-c": MODEL_C,
    "model-d": MODEL_D,
    "teacher": TEACHER,
    "self-paced": SELF_PACED,
}

__all__ = ["RECIPES", "Recipe", "find"]


def find(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    UnknownNameError
        There is none; the message lists them.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]
