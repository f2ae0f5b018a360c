"""What a recipe is."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    description : str
        A line for lists of recipes.
    source : str
        Where it was published.
    command : str
        How it is run.
    expected : str
        What it was measured to give, on what, with which hardware and in how many minutes; `docs/results` has the rows.
    uses_curriculum : bool
        Whether it reads a curriculum.
    subsets : int or None
        How many subsets take part in the end, cleanest first; None means all.
    staged : bool
        Whether the subsets join one stage after the other, or all at once.
    balance : {"none", "clean", "all"}
        Which places of a batch are shared equally among the categories.
    course : {"laid down", "teacher", "self-paced"}
        Whether what takes part when is laid down, or who decides it as the network learns.
    """

    description: str
    source: str
    command: str
    expected: str
    uses_curriculum: bool
    subsets: int | None
    staged: bool
    balance: Literal["none", "clean", "all"]
    course: Literal["laid down", "teacher", "self-paced"] = "laid down"

    def taking_part(self, n_subsets: int) -> int:
        """Return how many subsets take part in the last stage."""
        if not self.uses_curriculum:
            return 1
        return n_subsets if self.subsets is None else min(self.subsets, n_subsets)
