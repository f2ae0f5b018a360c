"""Numbers and terms as a reader of the page meets them."""

from __future__ import annotations

from curriculumnet.work import tables

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

METRICS = {"top1_error": "top-1 error", "top5_error": "top-5 error"}


def count(number: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{number:,}"


def plural(number: int, one: str, many: str) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number:,} {one if number == 1 else many}"


def percent(share: float) -> str:
    """Return a share as a percentage: 0.351 is ``35.1 %``."""
    return f"{_hundredths(share)}{THIN}%"


def points(difference: float) -> str:
    """Return the size of a difference of shares in points, without its sign."""
    return _hundredths(abs(difference))


def signed(difference: float) -> str:
    """Return a difference of shares in points with its sign."""
    text = points(difference)
    if difference == 0:
        return text
    return f"{'+' if difference > 0 else MINUS}{text}"


def percent_interval(low: float, high: float) -> str:
    """Return an interval of shares: ``33.0 to 37.2 %``."""
    return f"{_hundredths(low)} to {_hundredths(high)}{THIN}%"


def signed_interval(low: float, high: float) -> str:
    """Return an interval of differences in points."""
    return f"{signed(low)} to {signed(high)}"


def number(value: float) -> str:
    """Return a number of any size in at most four digits: ``12,400``, ``3.14``, ``0.0021``."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)


def crops(number_of_crops: int) -> str:
    """Return how many crops of each image were looked at."""
    return "1 crop" if number_of_crops == 1 else f"{number_of_crops} crops"


def subset_names(n_subsets: int) -> tuple[str, ...]:
    """Return what the subsets are called, cleanest first."""
    if n_subsets == len(tables.SUBSETS):
        return tables.SUBSETS
    return tuple(f"subset {subset}" for subset in range(n_subsets))


def _hundredths(share: float) -> str:
    """Return 100 times a share with one decimal; with two where one would hide that it is not 0."""
    text = f"{100 * share:.1f}"
    if float(text) == 0 and share != 0:
        text = f"{100 * share:.2f}"
    return text.replace("-", MINUS)
