"""The sentence on top: what the curriculum gained, with its interval, or that it gained nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from curriculumnet.reporting import wording
from curriculumnet.reporting.categories import category_errors
from curriculumnet.reporting.contents import Contents, Row, Run
from curriculumnet.work.tables import LABEL_NAMES, SPLIT_NAMES

_RECIPES = ("model-d", "model-c", "model-b")
"""Of several curriculum runs the fullest recipe speaks for the curriculum."""


_OF_A_CURRICULUM = {
    "recipe", "curriculum", "stages", "places", "balance", "noisy_share", "subset_weights", "weight_norm",
    "stage_shares", "stage_steps", "stage_schedule", "stage_until", "teacher", "cache", "seed",
}  # fmt: skip
"""Settings in which a training along a curriculum may differ from its baseline: the curriculum's, and such as do not
matter."""

_ENOUGH = 10
"""Test images from which a category counts in the mean over categories: one picture would else weigh like a hundred."""

_SEEN = 0.0005
"""The least difference of two such means that is not 0.0 points as it is written."""


@dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Attributes
    ----------
    finding : str
        ``gain`` (the whole interval is above 0), ``harm`` (below 0), ``none`` (it holds 0), ``mixed`` (it does not, but
        the mean over the categories says the opposite), or ``unmeasured``.
    sentence : str
        The sentence on top.
    details : tuple of str
        Sentences below it.
    row : dict or None
        The comparison it rests on, as a row of comparisons.json.
    """

    finding: str
    sentence: str
    details: tuple[str, ...]
    row: Row | None


def choose_pair(runs: Sequence[Run], comparisons: Sequence[Row]) -> tuple[str, str] | None:
    """Return the run and the baseline that the page compares unless told otherwise; None when no two were compared.

    A run that followed a curriculum is set against one of the recipe `model-a`, rather one of the same settings;
    failing that, the first pair that was compared is taken. Of equals one that is called as its recipe wins, then the
    newest.
    """
    place = {run.name: index for index, run in enumerate(runs)}
    compared = {(row["run"], row["baseline"]) for row in comparisons}
    pairs = [pair for pair in compared if pair[0] in place and pair[1] in place]

    def rank(pair: tuple[str, str]) -> tuple[int, ...]:
        run, baseline = (runs[place[name]] for name in pair)
        recipe = _RECIPES.index(run.recipe) if run.recipe in _RECIPES else len(_RECIPES)
        return (
            not (run.follows_curriculum and not baseline.follows_curriculum),
            baseline.recipe != "model-a",
            bool(differing(run, baseline)),
            recipe,
            baseline.name != baseline.recipe,
            run.name != run.recipe,
            -place[pair[0]],
            -place[pair[1]],
        )

    return min(pairs, key=rank, default=None)


def differing(run: Run, baseline: Run) -> list[str]:
    """Return the names of the settings in which two runs differ besides the curriculum."""
    # Later settings are written down only where they are not the default.
    names = (run.settings.keys() | baseline.settings.keys()) - _OF_A_CURRICULUM
    found = (name for name in names if run.settings.get(name) != baseline.settings.get(name))
    return sorted(name.replace("_", " ") for name in found)


def between(comparisons: Sequence[Row], run: str, baseline: str) -> list[Row]:
    """Return the rows that compare two runs, the most telling first.

    Clean labels come before the crawl's own, test before validation images, one crop before ten, top-1 before top-5.
    """
    rows = [row for row in comparisons if (row["run"], row["baseline"]) == (run, baseline)]
    return sorted(rows, key=importance)


def importance(row: Row) -> tuple[bool, bool, int, str]:
    """Return the place of a figure among others: clean labels, test images, one crop, top-1 first."""
    return row["labels"] != "clean", row["split"] != "test", row["crops"], row["metric"]


def figure(run: Run, like: Row, metric: str | None = None) -> Row | None:
    """Return the run's figure over all categories on the same images, labels and crops as another row."""
    wanted = {key: like[key] for key in ("split", "labels", "crops", "metric")} | {"category": None}
    wanted["metric"] = metric or like["metric"]
    return next((row for row in run.metrics if all(row[key] == value for key, value in wanted.items())), None)


def judge(contents: Contents, pair: tuple[str, str] | None) -> Verdict:
    """Say what was gained."""
    verdict = _judge(contents, pair)
    return replace(verdict, details=(*verdict.details, *contents.outdated))


def _judge(contents: Contents, pair: tuple[str, str] | None) -> Verdict:
    if pair is None:
        return _without_comparison(contents)
    rows = between(contents.comparisons, *pair)
    if not rows:
        return _not_yet_compared(*pair)
    row = rows[0]
    run, baseline = contents.run(pair[0]), contents.run(pair[1])
    finding = "gain" if row["low"] > 0 else "harm" if row["high"] < 0 else "none"
    means = _means(*(category_errors(each.metrics, row) for each in (run, baseline)))
    if means is not None and finding != "none" and means.gain * row["value"] < 0 and abs(means.gain) >= _SEEN:
        finding = "mixed"
        sentence = _mixed(row, run, baseline, means)
    else:
        sentence = _sentence(finding, row, run, baseline)
    details = _details(contents, row, run, baseline, means)
    others = differing(run, baseline)
    if others:
        listed = " and ".join([", ".join(others[:-1]), others[-1]] if others[1:] else others)
        sentence = f"{sentence[:-1]}; but they also differ in {listed}, so that this tells nothing of the curriculum."
    useless, always = _no_better_than_one_answer(row, run, baseline)
    if len(useless) == 2:
        sentence = f"{sentence[:-1]}; but both err at least as often {always}."
    elif useless:
        details = (*details, f"{useless[0]} errs at least as often {always}.")
    return Verdict(finding, sentence, details, row)


def _no_better_than_one_answer(row: Row, run: Run, baseline: Run) -> tuple[list[str], str]:
    """Return the runs that err at least as often as the largest category's name for every image would, and that."""
    sizes = {category: n for category, (_, n) in category_errors(run.metrics, row).items()}
    found = {each.name: figure(each, row, "top1_error") for each in (run, baseline)}
    if not sizes or None in found.values():
        return [], ""
    largest = max(sizes, key=lambda category: sizes[category])
    error = 1 - sizes[largest] / sum(sizes.values())
    useless = [name for name, own in found.items() if own and own["value"] >= error]
    return useless, f"as always answering “{largest}” would ({wording.percent(error)})"


@dataclass(frozen=True)
class _Means:
    """The two errors when every category counts the same."""

    run: float
    baseline: float

    @property
    def gain(self) -> float:
        """How much lower the run's is."""
        return self.baseline - self.run


def _means(own: dict[str, tuple[float, int]], other: dict[str, tuple[float, int]]) -> _Means | None:
    """Return the means of two runs' errors by category; None where these are of one size, or not all are known."""
    sizes = {category: n for category, (_, n) in own.items()}
    large = [category for category, n in sizes.items() if n >= _ENOUGH]
    if own.keys() != other.keys() or len(large) < 2 or max(sizes.values()) == min(sizes.values()):
        return None
    return _Means(*(sum(each[category][0] for category in large) / len(large) for each in (own, other)))


def _mixed(row: Row, run: Run, baseline: Run, means: _Means) -> str:
    metric = wording.METRICS.get(row["metric"], row["metric"])
    over_images, over_categories = ("lower", "higher") if row["value"] > 0 else ("higher", "lower")
    interval = wording.signed_interval(row["low"], row["high"])
    return (
        f"No plain answer: the {metric} of {run.name} is {wording.points(row['value'])} points {over_images} than that "
        f"of {baseline.name} (95{wording.THIN}% interval of the gain {interval}) where every image counts the same, "
        f"but {wording.points(means.gain)} points {over_categories} where every category does."
    )


def _sentence(finding: str, row: Row, run: Run, baseline: Run) -> str:
    metric = wording.METRICS.get(row["metric"], row["metric"])
    by_curriculum = run.follows_curriculum and not baseline.follows_curriculum and not differing(run, baseline)
    value, low, high = row["value"], row["low"], row["high"]
    if finding == "gain":
        claim = "The curriculum helped" if by_curriculum else f"{run.name} is better"
        return (
            f"{claim}: the {metric} of {run.name} is {wording.points(value)} points lower than that of "
            f"{baseline.name} (95{wording.THIN}% interval {wording.points(low)} to {wording.points(high)})."
        )
    if finding == "harm":
        claim = "The curriculum did harm" if by_curriculum else f"{run.name} is worse"
        return (
            f"{claim}: the {metric} of {run.name} is {wording.points(value)} points higher than that of "
            f"{baseline.name} (95{wording.THIN}% interval {wording.points(high)} to {wording.points(low)})."
        )
    claim = "Nothing was gained that" if by_curriculum else "There is no difference that"
    found = f"the {metric} of {run.name} is {wording.points(value)} points {'lower' if value > 0 else 'higher'} than"
    if value == 0:
        found = f"the {metric} of {run.name} is exactly"
    return (
        f"{claim} can be told from chance: {found} that of {baseline.name} "
        f"(95{wording.THIN}% interval of the gain {wording.signed_interval(low, high)})."
    )


def _details(contents: Contents, row: Row, run: Run, baseline: Run, means: _Means | None) -> tuple[str, ...]:
    details = []
    own, other = figure(run, row), figure(baseline, row)
    measured_on = _measured_on(row)
    if own and other:
        details.append(
            f"{run.name} errs on {wording.percent(own['value'])} and {baseline.name} on "
            f"{wording.percent(other['value'])} of the same {measured_on}."
        )
    else:
        details.append(f"Measured on {measured_on}.")
    if means is not None:
        details.append(
            f"Where every category of at least {_ENOUGH} images counts the same, the errors are "
            f"{wording.percent(means.run)} and {wording.percent(means.baseline)}."
        )
    if row["labels"] != "clean":
        details.append(
            "Wrong labels count here as they are, so a network is also blamed where the label is wrong: clean test "
            "images (`--test`) would tell more."
        )
    details += _against_control(contents, row, run, baseline)
    return tuple(details)


def _measured_on(row: Row) -> str:
    kind = SPLIT_NAMES[row["split"]]
    images = wording.plural(row["n"], f"{kind} image", f"{kind} images")
    return f"{images} with {LABEL_NAMES[row['labels']]}, {wording.crops(row['crops'])} each"


def _against_control(contents: Contents, row: Row, run: Run, baseline: Run) -> list[str]:
    """Say how much is left when balance over categories, which a curriculum brings too, is granted to the baseline."""
    if baseline.recipe != "model-a" or not run.follows_curriculum:
        return []
    for control in reversed(contents.runs):
        if control.recipe != "model-a-balanced":
            continue
        same = [
            found
            for found in between(contents.comparisons, run.name, control.name)
            if all(found[key] == row[key] for key in ("split", "labels", "crops", "metric"))
        ]
        if same:
            gain = f"{wording.signed(same[0]['value'])} points"
            interval = wording.signed_interval(same[0]["low"], same[0]["high"])
            chance = ", which chance could explain" if same[0]["low"] <= 0 <= same[0]["high"] else ""
            return [
                f"Against {control.name}, which balances the categories but has no curriculum, the gain is {gain} "
                f"({interval}){chance}."
            ]
    return []


def _not_yet_compared(run: str, baseline: str) -> Verdict:
    return Verdict(
        "unmeasured",
        f"{run} and {baseline} have not been compared yet.",
        ("`curriculumnet evaluate` measures all runs on the same images and compares the newest of them.",),
        None,
    )


def _without_comparison(contents: Contents) -> Verdict:
    measured = [
        (run, sorted((m for m in run.metrics if m["category"] is None), key=importance)) for run in contents.runs
    ]
    measured = [(run, rows) for run, rows in measured if rows]
    if measured:
        run, rows = measured[-1]
        row = rows[0]
        metric = wording.METRICS.get(row["metric"], row["metric"])
        sentence = (
            f"Nothing to compare yet: {run.name} has a {metric} of {wording.percent(row['value'])} "
            f"(95{wording.THIN}% interval {wording.percent_interval(row['low'], row['high'])})."
        )
        details = (
            f"Measured on {_measured_on(row)}.",
            "A second run and `curriculumnet evaluate` would show what the curriculum gains.",
        )
        return Verdict("unmeasured", sentence, details, None)
    if contents.runs:
        names = ", ".join(run.name for run in contents.runs[-3:])
        runs = wording.plural(len(contents.runs), "run was", "runs were")
        sentence = f"Not measured yet: {runs} trained ({names}), none evaluated."
        return Verdict("unmeasured", sentence, ("`curriculumnet evaluate` measures and compares them.",), None)
    if contents.curriculum is not None:
        sentence = (
            f"A curriculum is there, no network yet: {wording.count(contents.curriculum.images.num_rows)} images are "
            "ordered from clean to doubtful."
        )
        return Verdict("unmeasured", sentence, ("`curriculumnet train` trains along it.",), None)
    sentence = (
        f"The crawl is read, no curriculum yet: {wording.count(contents.images.num_rows)} files in "
        f"{wording.plural(len(contents.categories), 'category', 'categories')}."
    )
    return Verdict("unmeasured", sentence, ("`curriculumnet embed` and `curriculumnet design` make one.",), None)
