"""The step through real files."""

import dataclasses
import errno
import json

import numpy as np
import pyarrow as pa
import pytest

from curriculumnet.curriculum import begun as begun_module
from curriculumnet.curriculum import turns
from curriculumnet.curriculum.density import density_peaks
from curriculumnet.curriculum.methods import METHODS
from curriculumnet.curriculum.noise import noise_rate
from curriculumnet.curriculum.rows import directions
from curriculumnet.curriculum.step import design
from curriculumnet.curriculum.subsets import rank_cleanliness, split
from curriculumnet.errors import FeaturesError, InputError, MachineError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, TRAINING_IMAGES, WorkFolder

CATEGORIES = ["ant", "bee", "cat", "empty"]


def write_images(folder, labels, splits, states, ranks=None):
    n = len(labels)
    columns = {
        "image_id": np.arange(n),
        "source": ["crawl"] * n,
        "file_name": [f"{label}/{i}.jpg" for i, label in enumerate(labels)],
        "label": list(labels),
        "split": list(splits),
        "state": list(states),
        "reason": ["" if state == "used" else "set aside" for state in states],
        "label_conflict": [False] * n,
    } | ({} if ranks is None else {"rank": ranks})
    folder.write_table(IMAGES, tables.build(tables.IMAGES, columns))
    folder.stamp("ingest", {}, {}, [IMAGES], 0.0, categories=CATEGORIES)


def write_features(folder, name, matrix):
    file = f"features/{name}.npy"
    folder.write_with(file, lambda f: np.save(f, matrix))
    folder.stamp(f"embed:{name}", folder.digests(IMAGES), {"from": "resnet18"}, [file], 0.0)


@pytest.fixture
def work(tmp_path):
    """A work folder of 200 images in three of four categories, some of them val or not used."""
    rng = np.random.default_rng(0)
    folder = WorkFolder.create(tmp_path / "work")
    labels = rng.choice(CATEGORIES[:3], 200)
    splits = rng.choice(["train", "val"], 200, p=[0.9, 0.1])
    states = rng.choice(["used", "copy"], 200, p=[0.9, 0.1])
    write_images(folder, labels, splits, states, [i * 7 % 200 / 4 if i % 9 else None for i in range(200)])
    write_features(folder, "net", rng.normal(1.0, 1.0, (200, 12)).astype(np.float32))
    for run in ("model-a", "model-b"):
        write_dynamics(folder, run, rng)
    return folder


def write_dynamics(folder, run, rng):
    ids, labels = usable(folder)
    losses = rng.exponential(size=len(ids)).astype(np.float32)
    parts = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(5 * len(ids), np.float16)), 5)
    columns = {"image_id": ids, "label": labels.tolist(), "seen": np.ones(len(ids), int), "loss": losses}
    columns |= {"agreement": np.zeros(len(ids), np.float32), "losses": parts, "agreements": parts}
    name = f"runs/{run}/dynamics.parquet"
    folder.write_table(name, tables.build(tables.DYNAMICS, columns))
    folder.stamp(f"train:{run}", folder.digests(TRAINING_IMAGES), {}, [name], 0.0)


def usable(folder):
    images = tables.read(folder.file(IMAGES)).to_pylist()
    rows = [row for row in images if row["split"] == "train" and row["state"] == "used"]
    return np.array([row["image_id"] for row in rows]), np.array([row["label"] for row in rows])


def features_of(folder, name="net"):
    return np.load(folder.file(f"features/{name}.npy"))


def test_tables_hold_what_the_pure_functions_say(work, capsys):
    made = design(work.path)
    ids, labels = usable(work)
    table = made.table()
    assert table["image_id"].to_pylist() == ids.tolist()
    matrix = features_of(work).astype(np.float64)
    mean = matrix[ids].mean(axis=0)
    rows = {row["category"]: row for row in made.categories().to_pylist()}
    assert list(rows) == CATEGORIES
    for category in CATEGORIES[:3]:
        inside = np.flatnonzero(labels == category)
        peaks = density_peaks(matrix[ids[inside]], mean=mean)
        subset = np.zeros(len(inside), np.int8)
        others = np.arange(len(inside)) != peaks.centre
        subset[others] = split(peaks.distance_to_centre[others])
        assert table["subset"].to_numpy()[inside].tolist() == subset.tolist()
        assert table["density"].to_numpy()[inside].tolist() == peaks.density.tolist()
        assert table["delta"].to_numpy()[inside] == pytest.approx(peaks.delta, rel=1e-6)
        assert table["distance_to_centre"].to_numpy()[inside] == pytest.approx(peaks.distance_to_centre, rel=1e-6)
        cleanliness = rank_cleanliness(peaks.distance_to_centre)
        assert table["cleanliness"].to_numpy()[inside] == pytest.approx(cleanliness, abs=1e-7)
        assert np.flatnonzero(table["is_centre"].to_numpy()[inside]).tolist() == [peaks.centre]
        row = rows[category]
        assert row["n"] == len(inside)
        assert row["subset_sizes"] == np.bincount(subset, minlength=3).tolist()
        assert row["centre"] == ids[inside[peaks.centre]]
        assert row["cutoff"] == pytest.approx(peaks.cutoff)
        own, others = (
            directions(matrix[ids[rows]], mean).astype(np.float32) for rows in (labels == category, labels != category)
        )
        noise = noise_rate(own, others)
        assert (row["noise_rate"], row["noise_low"], row["noise_high"]) == (noise.value, noise.low, noise.high)
    assert rows["empty"]["noise_rate"] is None
    known = [rows[category] for category in CATEGORIES[:3]]
    assert made.noise_rate == pytest.approx(sum(row["noise_rate"] * row["n"] for row in known) / len(ids))
    assert made.images == len(ids)
    assert list(made.subset_sizes) == np.bincount(table["subset"].to_numpy(), minlength=3).tolist()
    assert made.without_features == 0


def test_the_noise_of_a_category_that_is_most_of_the_crawl_is_estimated_from_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("curriculumnet.curriculum.step._SAMPLE", 50)
    rng = np.random.default_rng(0)
    folder = WorkFolder.create(tmp_path / "work")
    labels = np.repeat(CATEGORIES[:3], [3000, 30, 30])
    write_images(folder, labels, ["train"] * len(labels), ["used"] * len(labels))
    matrix = np.eye(3, 12)[np.repeat(range(3), [3000, 30, 30])] + rng.normal(0, 0.1, (len(labels), 12))
    write_features(folder, "net", matrix.astype(np.float32))
    rates = [row["noise_rate"] for row in design(folder.path, quiet=True).categories().to_pylist()[:3]]
    assert max(rates) < 0.1
    assert design(folder.path, name="again", quiet=True).noise_rate == design(folder.path, quiet=True).noise_rate


def test_an_empty_category_is_reported(work, capsys):
    made = design(work.path)
    assert made.empty_categories == ("empty",)
    assert made.categories_with_images == 3
    row = made.categories().to_pylist()[3]
    assert (row["n"], row["subset_sizes"], row["cutoff"], row["centre"]) == (0, [0, 0, 0], None, None)
    assert "1 categories have no usable training image and are left out of training (empty)" in capsys.readouterr().err


def test_metadata_say_how_it_was_made(work):
    made = design(work.path, by="density")
    metadata = {key.decode(): value.decode() for key, value in made.table().schema.metadata.items()}
    assert {name for name, _ in tables.CURRICULUM.metadata} <= set(metadata)
    assert metadata["method"] == "density"
    assert metadata["cleanliness"] == "rank"
    assert metadata["features"] == "net"
    assert metadata["features_digest"] == work.digest("features/net.npy")
    assert json.loads(metadata["settings"])["by"] == "density"


def test_images_without_finite_features_go_last_and_touch_nothing_else(work, capsys):
    ids, _ = usable(work)
    matrix = features_of(work)
    bad = ids[[3, 50]]
    matrix[bad[0]] = np.nan
    matrix[bad[1], 4] = np.inf
    matrix[np.setdiff1d(np.arange(200), ids)] = np.nan
    write_features(work, "holes", matrix)
    made = design(work.path, features="holes")
    table = {row["image_id"]: row for row in made.table().to_pylist()}
    for image in bad:
        row = table[image]
        assert (row["subset"], row["cleanliness"], row["is_centre"]) == (2, 0.0, False)
        assert row["density"] is row["delta"] is row["distance_to_centre"] is None
    assert all(row["density"] is not None for image, row in table.items() if image not in bad)
    assert made.without_features == 2
    names = [tables.read(work.file(IMAGES))["file_name"][int(image)].as_py() for image in bad]
    assert list(made.without_features_names) == names
    assert f"2 images have no finite features, which puts them into the last subset ({names[0]}, {names[1]})" in (
        capsys.readouterr().err
    )
    assert sum(made.subset_sizes) == sum(row["n"] for row in made.categories().to_pylist()) == len(ids)
    keep = np.setdiff1d(ids, bad)
    rest = WorkFolder.create(work.path.parent / "rest")
    images = tables.read(work.file(IMAGES)).to_pylist()
    states = ["used" if row["image_id"] in keep else "broken" for row in images]
    write_images(rest, [row["label"] for row in images], [row["split"] for row in images], states)
    write_features(rest, "net", features_of(work))
    for row in design(rest.path).table().to_pylist():
        assert row == table[row["image_id"]]


def test_a_category_of_images_without_features_has_no_centre(tmp_path, capsys):
    folder = WorkFolder.create(tmp_path / "work")
    write_images(folder, ["ant", "bee", "bee"], ["train"] * 3, ["used"] * 3)
    write_features(folder, "net", np.array([[np.nan], [1.0], [2.0]], np.float32))
    row = design(folder.path).categories().to_pylist()[0]
    assert (row["n"], row["subset_sizes"], row["centre"], row["cutoff"]) == (1, [0, 0, 1], None, None)


def test_a_second_start_does_nothing_and_says_so(work, capsys):
    first = design(work.path)
    written = [path.stat().st_mtime_ns for path in (first.curriculum_path, first.categories_path)]
    capsys.readouterr()
    second = design(work.path)
    assert "Curriculum net is there already" in capsys.readouterr().err
    assert second == first
    assert [path.stat().st_mtime_ns for path in (first.curriculum_path, first.categories_path)] == written
    design(work.path, quiet=True)
    assert capsys.readouterr().err == ""


def test_other_settings_or_features_are_designed_again(work):
    three = design(work.path)
    two = design(work.path, n_subsets=2)
    assert len(three.subset_sizes) == 3
    assert len(two.subset_sizes) == 2
    assert two.table()["subset"].to_numpy().max() == 1
    write_features(work, "net", features_of(work)[::-1].copy())
    assert design(work.path, n_subsets=2).subset_sizes != two.subset_sizes


def test_a_curriculum_that_was_deleted_is_made_again(work):
    made = design(work.path)
    before = made.curriculum_path.read_bytes()
    made.curriculum_path.unlink()
    assert design(work.path).curriculum_path.read_bytes() == before


def test_curricula_lie_side_by_side_under_their_names(work):
    write_features(work, "other", features_of(work) ** 2)
    newest = design(work.path)
    assert newest.name == "other"
    chosen = design(work.path, features="net", name="mine", method="random", seed=3)
    assert work.names("design") == ["other", "mine"]
    assert chosen.curriculum_path == work.file("curricula/mine.parquet")
    assert chosen.categories_path == work.file("curricula/categories-mine.parquet")
    assert chosen.table()["density"].null_count == chosen.images
    assert newest.table()["density"].null_count == 0


def test_float16_features_and_raw_distances(work):
    write_features(work, "half", features_of(work).astype(np.float16))
    ids, labels = usable(work)
    made = design(work.path, features="half", normalise=False, metric="cosine", kernel="gaussian", cutoff_percent=50)
    inside = np.flatnonzero(labels == "bee")
    rows = features_of(work, "half")[ids[inside]]
    peaks = density_peaks(rows, metric="cosine", kernel="gaussian", cutoff_percent=50)
    assert made.table()["density"].to_numpy()[inside].tolist() == peaks.density.tolist()


def test_the_mean_is_taken_block_by_block(work, monkeypatch):
    whole = design(work.path).table()
    monkeypatch.setattr("curriculumnet.curriculum.step._BLOCK_ROWS", 7)
    blocks = design(work.path, name="blocks").table()
    assert blocks["subset"].to_pylist() == whole["subset"].to_pylist()
    assert blocks["delta"].to_numpy() == pytest.approx(whole["delta"].to_numpy(), rel=1e-6)


def test_a_summary_names_the_subsets(work):
    made = design(work.path)
    line, grid, noise, without, paths = made.summary()
    assert noise.startswith(f"Labels that look wrong: {made.noise_rate:.0%}, ")
    assert line.startswith("Curriculum net: ")
    assert [row[0] for row in grid.rows] == ["clean", "noisy", "highly noisy"]
    assert [row[0] for row in design(work.path, n_subsets=2).summary()[1].rows] == ["0", "1"]
    assert without == "Categories without usable training images: empty."
    assert "curricula/net.parquet" in paths.replace("\\", "/")


def test_wrong_use_is_told_apart(work, tmp_path):
    with pytest.raises(
        UnknownNameError, match="There is no method 'dense': it must be one of density, dynamics, given"
    ):
        design(work.path, method="dense")
    with pytest.raises(UnknownNameError, match="There is no features 'nte': it must be one of net"):
        design(work.path, features="nte")
    with pytest.raises(UsageError, match="cannot name a curriculum"):
        design(work.path, name="../elsewhere")
    with pytest.raises(WorkFolderError, match="is no work folder"):
        design(tmp_path / "nothing")


def test_without_features_it_says_what_to_type(tmp_path):
    folder = WorkFolder.create(tmp_path / "work")
    write_images(folder, ["ant"], ["train"], ["used"])
    with pytest.raises(WorkFolderError, match=r"has no features yet: `curriculumnet embed .* --from NETWORK`"):
        design(folder.path)


def test_features_of_other_images_are_refused(work):
    write_features(work, "short", features_of(work)[:150])
    with pytest.raises(FeaturesError, match=r"has 150 rows, but there are 200 images: .*: embed again\.$"):
        design(work.path)
    write_features(work, "words", np.full((200, 2), "x"))
    with pytest.raises(FeaturesError, match="features are a matrix of numbers"):
        design(work.path)
    work.file("features/net.npy").write_bytes(b"not a matrix")
    with pytest.raises(FeaturesError, match=r"cannot be read as a \.npy matrix"):
        design(work.path, features="net")
    work.file("features/net.npy").unlink()
    with pytest.raises(FeaturesError, match=r"net\.npy is gone: `curriculumnet embed .* --from resnet18` makes"):
        design(work.path, features="net")


def test_features_of_an_earlier_crawl_are_refused(work):
    write_images(work, ["ant"] * 200, ["train"] * 200, ["used"] * 200)
    with pytest.raises(FeaturesError, match=r"are those of an earlier images\.parquet"):
        design(work.path)


def test_no_usable_image_is_refused(tmp_path):
    folder = WorkFolder.create(tmp_path / "work")
    write_images(folder, ["ant", "bee"], ["train", "val"], ["broken", "used"])
    write_features(folder, "net", np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="has no usable training image"):
        design(folder.path)


def test_a_large_category_is_estimated_and_the_table_says_so(work):
    exact = design(work.path, name="exact")
    assert set(exact.categories()["density_error"].to_pylist()) == {None}
    made = design(work.path, name="estimated", exact_up_to=20, landmarks=30)
    errors = {row["category"]: row["density_error"] for row in made.categories().to_pylist()}
    assert errors["empty"] is None
    assert all(0 < errors[category] <= 0.5 / 30**0.5 for category in CATEGORIES[:3])
    again = design(work.path, name="estimated again", exact_up_to=20, landmarks=30)
    assert again.table().equals(made.table())
    other = design(work.path, name="other sample", exact_up_to=20, landmarks=30, seed=1)
    assert not other.table()["density"].equals(made.table()["density"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"n_subsets": 0}, "--n-subsets must be a whole number in 1 … 127, not 0."),
        ({"cutoff_percent": 101.0}, "--cutoff-percent must lie in 0 … 100, not 101.0."),
        ({"exact_up_to": 0}, "--exact-up-to is 0, but must be at least 1."),
        ({"landmarks": 1}, "--landmarks is 1, but must be at least 2; some thousands are usual."),
        ({"seed": -1}, "--seed is -1: it must be at least 0."),
    ],
)
def test_settings_out_of_range_are_refused_by_their_flags(work, setting, said):
    with pytest.raises(UsageError) as raised:
        design(work.path, **setting)
    assert str(raised.value) == said


# -- what a method uses -----------------------------------------------------------------------------------------------

OTHER = {
    "n_subsets": 2,
    "by": "density",
    "cutoff_percent": 20.0,
    "metric": "cosine",
    "normalise": False,
    "kernel": "gaussian",
    "exact_up_to": 20,
    "landmarks": 30,
    "run": "model-a",
}


@pytest.mark.parametrize("method", METHODS)
def test_settings_that_a_method_does_not_use_change_nothing_and_are_named(work, capsys, method):
    unused = {name: value for name, value in OTHER.items() if name not in METHODS[method].uses}
    usual = design(work.path, method=method, name="usual", quiet=True)
    used = {name: value for name, value in OTHER.items() if name not in unused}
    design(work.path, method=method, name="used", quiet=True, **used)
    assert "does not use" not in capsys.readouterr().err
    for name, value in unused.items():
        made = design(work.path, method=method, name="other", quiet=True, **{name: value})
        assert made.table().equals(usual.table())
        flag = "--no-normalise" if name == "normalise" else f"--{name.replace('_', '-')}"
        assert f"The method {method} does not use {flag}: it changes nothing.\n" in capsys.readouterr().err
    assert OTHER.keys() | {"seed"} >= METHODS[method].uses


def test_several_settings_that_a_method_does_not_use_are_one_sentence(work, capsys):
    design(work.path, method="random", by="density", metric="cosine", normalise=False, n_subsets=2, seed=5, quiet=True)
    said = "Warning: The method random does not use --by, --metric and --no-normalise: they change nothing.\n"
    assert said in capsys.readouterr().err


# -- the source's own order -------------------------------------------------------------------------------------------


def test_the_order_of_the_source_is_taken_as_it_is(work):
    made = design(work.path, method="given", quiet=True)
    ids, labels = usable(work)
    ranks = np.array([row["rank"] or np.nan for row in tables.read(work.file(IMAGES)).to_pylist()])[ids]
    ranks[ids == 0] = np.nan
    table = made.table()
    for category in CATEGORIES[:3]:
        inside = np.flatnonzero(labels == category)
        own, cleanliness = ranks[inside], table["cleanliness"].to_numpy()[inside]
        ranked = np.isfinite(own)
        assert 0 < ranked.sum() < len(own)
        assert (np.diff(cleanliness[ranked][np.argsort(own[ranked])]) < 0).all()
        assert cleanliness[~ranked].max() < cleanliness[ranked].min()
        assert len(set(cleanliness[~ranked])) == 1
        subset = table["subset"].to_numpy()[inside]
        assert set(subset[~ranked]) == {2}
        assert (np.diff(subset[np.argsort(np.where(ranked, own, np.inf))]) >= 0).all()
    assert table["density"].null_count == made.images
    assert not any(table["is_centre"].to_pylist())


@pytest.mark.parametrize("column", [True, False])
def test_without_ranks_there_is_no_order_of_the_source(tmp_path, column):
    folder = WorkFolder.create(tmp_path / "work")
    write_images(folder, ["ant"] * 3 + ["bee"], ["train"] * 3 + ["val"], ["used"] * 4, [None, None, None, 1.0])
    if not column:
        # As an earlier version wrote it.
        folder.write_table(IMAGES, tables.read(folder.file(IMAGES), memory_map=False).drop_columns("rank"))
    write_features(folder, "net", np.eye(4, dtype=np.float32))
    with pytest.raises(UsageError, match=r"No training image of .* has a rank: `curriculumnet ingest .* --rank-column"):
        design(folder.path, method="given")
    assert design(folder.path, method="random", quiet=True).images == 3


def test_a_category_that_the_source_does_not_order_is_named(tmp_path, capsys):
    folder = WorkFolder.create(tmp_path / "work")
    ranks = [1.0, 2.0, None, None, None]
    write_images(folder, ["ant", "ant", "ant", "bee", "bee"], ["train"] * 5, ["used"] * 5, ranks)
    write_features(folder, "net", np.eye(5, dtype=np.float32))
    made = design(folder.path, method="given", quiet=True)
    said = "No image of 1 categories has a rank, so that all of theirs count as clean (bee)."
    assert said in capsys.readouterr().err
    assert made.table()["cleanliness"].to_pylist()[3:] == [1, 1]
    assert made.table()["subset"].to_pylist() == [0, 1, 2, 0, 0]


# -- stopped and started again ----------------------------------------------------------------------------------------


def stopped_after_two(work, monkeypatch, **settings):
    """Begin a design that is stopped when it has ordered two categories; return the file of what it found."""
    whole = turns.in_turn

    def stopped(*arguments):
        for number, each in enumerate(whole(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield each

    with monkeypatch.context() as patch:
        patch.setattr(turns, "in_turn", stopped)
        with pytest.raises(KeyboardInterrupt):
            design(work.path, name="stopped", **settings)
    return work.file("curricula/stopped.begun")


@pytest.mark.parametrize("method", METHODS)
def test_a_design_that_was_stopped_goes_on(work, monkeypatch, capsys, method):
    straight = design(work.path, name="straight", method=method)
    begun = stopped_after_two(work, monkeypatch, method=method)
    assert begun.is_file()
    ordered = []
    order = METHODS[method].order
    monkeypatch.setitem(
        METHODS, method, dataclasses.replace(METHODS[method], order=lambda *a: ordered.append(a) or order(*a))
    )
    capsys.readouterr()
    again = design(work.path, name="stopped", method=method)
    assert len(ordered) == 1
    assert "images had been ordered before; the others follow." in capsys.readouterr().err
    assert again.table().equals(straight.table())
    assert again.categories().equals(straight.categories())
    assert not begun.exists()


@pytest.mark.parametrize("cut", range(0, 4000, 250))
def test_what_was_cut_off_is_done_again(work, monkeypatch, cut):
    straight = design(work.path, name="straight")
    begun = stopped_after_two(work, monkeypatch)
    begun.write_bytes(begun.read_bytes()[:cut])
    assert design(work.path, name="stopped").table().equals(straight.table())


@pytest.mark.parametrize("place", range(0, 6000, 400))
def test_what_was_damaged_is_done_again(work, monkeypatch, place):
    straight = design(work.path, name="straight")
    begun = stopped_after_two(work, monkeypatch)
    data = begun.read_bytes()
    # As after a power cut, when the end of a file may be zeros.
    begun.write_bytes(data[:place] + bytes(max(0, len(data) - place)))
    assert design(work.path, name="stopped").table().equals(straight.table())


class Interrupted:
    """A file of which the n-th write is interrupted in its middle."""

    def __init__(self, file, n):
        self._file, self._left = file, n

    def write(self, data):
        self._left -= 1
        if self._left == 0:
            self._file.write(data[: len(data) // 2])
            raise KeyboardInterrupt
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_interruption_while_writing_loses_nothing_that_was_written(work, monkeypatch, n):
    straight = design(work.path, name="straight")
    monkeypatch.setattr(begun_module, "_SECONDS", -1)
    enter = begun_module.Begun.__enter__

    def interrupted(self):
        enter(self)
        self._file = Interrupted(self._file, n)
        return self

    monkeypatch.setattr(begun_module.Begun, "__enter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        design(work.path, name="stopped")
    monkeypatch.undo()
    again = design(work.path, name="stopped")
    assert again.table().equals(straight.table())
    assert again.categories().equals(straight.categories())


def test_a_full_disk_is_one_sentence_and_what_was_found_is_kept(work, monkeypatch):
    monkeypatch.setattr(begun_module, "_SECONDS", -1)
    packed = begun_module._packed

    def full(designs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(begun_module, "_packed", full)
    with pytest.raises(MachineError, match=r"The disk is full: .*stopped\.begun could not be written"):
        design(work.path, name="stopped")
    monkeypatch.setattr(begun_module, "_packed", packed)
    assert design(work.path, name="stopped").table().equals(design(work.path, name="straight").table())


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_features_whose_distances_cannot_be_written_are_refused(work, scale):
    write_features(work, "odd", (features_of(work) * scale).astype(np.float32))
    size, mend = ("large", "divide") if scale > 1 else ("small", "multiply")
    with pytest.raises(FeaturesError, match=f"too {size} for their squared distances to be .* float32: {mend} them"):
        design(work.path, features="odd", normalise=False)
    write_features(work, "odd", features_of(work).astype(np.float64) * scale**8)
    with pytest.raises(FeaturesError, match=f"since its features are too {size} for squared distances: {mend} them"):
        design(work.path, features="odd", normalise=False)
    assert design(work.path, features="odd").images == design(work.path, features="net").images


@pytest.mark.parametrize("method", METHODS)
def test_any_seed_will_do(work, method):
    assert design(work.path, method=method, seed=2**70).images


def test_what_was_begun_and_left_for_what_is_there_already_is_given_up(work, monkeypatch):
    made = design(work.path, name="stopped")
    begun = stopped_after_two(work, monkeypatch, by="density")
    assert begun.is_file()
    assert design(work.path, name="stopped") == made
    assert not begun.exists()


def test_what_was_begun_with_other_settings_or_features_is_begun_anew(work, monkeypatch, capsys):
    stopped_after_two(work, monkeypatch)
    capsys.readouterr()
    made = design(work.path, name="stopped", cutoff_percent=50)
    assert "ordered before" not in capsys.readouterr().err
    assert made.table()["density"].equals(design(work.path, name="other", cutoff_percent=50).table()["density"])


def test_a_curriculum_that_is_replaced_is_named(work, capsys):
    design(work.path, name="mine")
    assert "is replaced" not in capsys.readouterr().err
    design(work.path, name="mine", method="random", n_subsets=2)
    said = capsys.readouterr().err
    assert "made with other settings (method density, now random; n subsets 3, now 2): it is replaced" in said
