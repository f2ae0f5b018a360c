"""The step `predict`, through its public door."""

import dataclasses
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from operator import itemgetter

import pyarrow as pa
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import curriculumnet as cn
from curriculumnet.console import Grid, as_json
from curriculumnet.errors import InputError, SourceError, UsageError, WorkFolderError
from curriculumnet.work.folder import WorkFolder

PLAIN = {"device": "cpu", "workers": 0, "quiet": True}
FIELDS = ["file_name", "label", "confidence", "top", "state", "reason"]
PAGE = b"\n<!DOCTYPE html><html><body>404</body></html>"


def claiming(width, height):
    """A PNG whose header promises so many pixels, without any."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture
def spoilt(tmp_path, pictures):
    """Files that cannot be answered, each with its state and how its reason begins."""
    cut = tmp_path / "cut.png"
    cut.write_bytes(pictures[0].read_bytes()[:-60])
    data = {
        "page.jpg": PAGE,
        "empty.png": b"",
        "noise.png": b"no picture at all",
        "large.png": claiming(20_000, 10_000),
    }
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    return {
        tmp_path / "nowhere.png": ("missing", "not there"),
        pictures[0] / "below.png": ("missing", "not there"),
        cut: ("broken", "cannot be decoded: "),
        tmp_path / "page.jpg": ("broken", "a web page, not an image"),
        tmp_path / "empty.png": ("broken", "empty file"),
        tmp_path / "noise.png": ("broken", "no known image format"),
        tmp_path / "large.png": ("refused", "too large: more than 178,956,970 pixels"),
    }


def plain_timm(folder, path):
    """The categories with their probabilities, the most probable first, as timm alone finds them."""
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    view = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    with Image.open(path) as image, torch.inference_mode():
        shares = network(view(image.convert("RGB"))[None]).softmax(dim=1)[0].tolist()
    return sorted(zip(network.pretrained_cfg["label_names"], shares, strict=True), key=itemgetter(1), reverse=True)


def standing(folder):
    """What lies below a folder: names, times and bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def assert_same_answers(found, expected):
    """Check that answers are equal but for the last digits of the confidences."""
    assert [answer.file_name for answer in found] == [answer.file_name for answer in expected]
    for mine, other in zip(found, expected, strict=True):
        assert (mine.label, mine.state, mine.reason) == (other.label, other.state, other.reason)
        assert dict(mine.top) == pytest.approx(dict(other.top), abs=1e-4)


# -- the answers ------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_timm_on_the_same_file(trees, pictures):
    done = cn.predict(trees, pictures, **PLAIN)
    assert (done.model, done.answered, done.unanswered) == (trees, 7, 0)
    for path, answer in zip(pictures, done.answers, strict=True):
        expected = plain_timm(trees, path)[:5]
        assert answer.file_name == str(path)
        assert [label for label, _ in answer.top] == [label for label, _ in expected]
        assert dict(answer.top) == pytest.approx(dict(expected), abs=1e-4)
        assert (answer.label, answer.confidence) == answer.top[0]
        assert (answer.state, answer.reason) == ("used", "")
    assert len({answer.confidence for answer in done.answers}) == len(pictures)


def test_of_few_categories_all_are_named(prepared, one_category, pictures):
    answer = cn.predict(prepared, pictures[:1], **PLAIN).answers[0]
    assert {label for label, _ in answer.top} == {"ash", "elm", "oak"}
    assert sum(share for _, share in answer.top) == pytest.approx(1, abs=1e-5)
    assert cn.predict(one_category, pictures[:1], **PLAIN).answers[0].top == (("ash", 1.0),)


def test_answers_come_in_the_order_of_the_files_and_as_often_as_asked(trees, pictures):
    asked = [pictures[3], pictures[0], pictures[3]]
    answers = cn.predict(trees, asked, **PLAIN).answers
    assert [answer.file_name for answer in answers] == [str(path) for path in asked]
    assert dict(answers[0].top) == pytest.approx(dict(answers[2].top), abs=1e-4)
    assert dict(answers[0].top) != pytest.approx(dict(answers[1].top), abs=1e-2)


def test_how_files_are_batched_makes_no_difference(trees, pictures, spoilt):
    asked = [*pictures[:2], *list(spoilt)[:4], pictures[2], *list(spoilt)[4:], *pictures[3:]]
    expected = cn.predict(trees, asked, **PLAIN).answers
    assert [answer.state == "used" for answer in expected] == [path in pictures for path in asked]
    # Of two or three at a time, some batches hold no picture at all.
    for batch_size, workers in ((1, 0), (2, 0), (3, 2)):
        options = PLAIN | {"workers": workers, "batch_size": batch_size}
        assert_same_answers(cn.predict(trees, asked, **options).answers, expected)


def test_a_single_file_needs_no_list(trees, pictures):
    for file in (pictures[0], str(pictures[0])):
        assert_same_answers(cn.predict(trees, file, **PLAIN).answers, cn.predict(trees, pictures[:1], **PLAIN).answers)


def test_a_name_is_shown_as_it_was_given(trees, pictures, monkeypatch):
    monkeypatch.chdir(pictures[0].parent)
    asked = ["g.png", "./g.png", "../pictures/g.png"]
    answers = cn.predict(trees, asked, **PLAIN).answers
    assert [answer.file_name for answer in answers] == asked
    assert {answer.state for answer in answers} == {"used"}


# -- which model ------------------------------------------------------------------------------------------------------


def test_work_folder_run_folder_and_model_folder_answer_alike(prepared, pictures):
    run = prepared / "runs/model-b"
    found = [cn.predict(model, pictures, **PLAIN) for model in (prepared, run, run / "model", f"{run}/")]
    assert {done.model for done in found} == {run / "model"}
    for done in found[1:]:
        assert_same_answers(done.answers, found[0].answers)
    for path, answer in zip(pictures, found[0].answers, strict=True):
        assert dict(answer.top) == pytest.approx(dict(plain_timm(run / "model", path)), abs=1e-4)


def test_the_newest_run_with_a_curriculum_is_asked(work, pictures):
    assert WorkFolder.open(work).names("train") == ["first", "model-b", "last"]
    others = [cn.predict(work / "runs" / name, pictures, **PLAIN).answers for name in ("first", "last")]
    done = cn.predict(work, pictures, **PLAIN)
    assert done.model == work / "runs/model-b/model"
    assert all(answers[0].top != done.answers[0].top for answers in others)
    options = {"model": "test_resnet", "image_size": 32, "small_stem": False, "epochs": 0.1}
    cn.train(work, recipe="model-d", name="another", **options, **PLAIN)
    assert cn.predict(work, pictures, **PLAIN).model == work / "runs/another/model"


def test_without_a_run_that_followed_a_curriculum_the_newest_is_asked(work, pictures):
    steps = WorkFolder.open(work).project["steps"]
    del steps["train:model-b"]
    WorkFolder.open(work).update_project(steps=steps)
    assert cn.predict(work, pictures, **PLAIN).model == work / "runs/last/model"


def test_a_model_folder_may_be_taken_elsewhere(work, tmp_path, pictures):
    expected = cn.predict(work, pictures, **PLAIN).answers
    shutil.move(work / "runs/model-b/model", tmp_path / "taken")
    shutil.rmtree(work)
    assert_same_answers(cn.predict(tmp_path / "taken", pictures, **PLAIN).answers, expected)


def test_asking_changes_nothing_and_waits_for_no_writer(work, pictures):
    (work / "lock.json").write_text('{"pid": 1, "host": "elsewhere.example", "since": ""}', encoding="utf-8")
    before = standing(work.parent)
    for model in (work, work / "runs/first", work / "runs/last/model"):
        cn.predict(model, [pictures[0].parent, *pictures], **PLAIN)
    assert standing(work.parent) == before


# -- files that cannot be answered ------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_answered_with_state_and_reason(trees, pictures, spoilt):
    done = cn.predict(trees, [*spoilt, pictures[0]], **PLAIN)
    assert (done.answered, done.unanswered) == (1, len(spoilt))
    for answer, (path, (state, reason)) in zip(done.answers, spoilt.items(), strict=False):
        assert (answer.file_name, answer.state) == (str(path), state)
        assert answer.reason.startswith(reason)
        assert (answer.label, answer.confidence, answer.top) == (None, None, ())
    assert done.answers[-1].state == "used"


@pytest.mark.parametrize("jsonl", [False, True])
def test_when_nothing_can_be_read_it_is_an_error(trees, spoilt, capsys, jsonl):
    with pytest.raises(
        InputError, match=r"^None of the 7 files can be read .* \(.*nowhere\.png: not there\)"
    ) as raised:
        cn.predict(trees, list(spoilt), jsonl=jsonl, **PLAIN)
    assert raised.value.exit_code == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == [state for state, _ in spoilt.values()] * jsonl


def test_when_the_one_file_cannot_be_read_it_is_named(trees, tmp_path):
    (tmp_path / "page.jpg").write_bytes(PAGE)
    message = r"^The file cannot be read as a picture \(.*page\.jpg: a web page, not an image\): give pictures\.$"
    with pytest.raises(InputError, match=message) as raised:
        cn.predict(trees, [tmp_path / "page.jpg"], **PLAIN)
    assert raised.value.exit_code == 3


# -- folders and tars -------------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path, pictures):
    """A folder with pictures at two depths, and files that are none by their names."""
    home = tmp_path / "album"
    for path in pictures:
        (home / path.name).parent.mkdir(exist_ok=True)
        shutil.copy(path, home / path.name)
    (home / "deep/er").mkdir(parents=True)
    shutil.copy(pictures[0], home / "deep/er/z.PNG")
    shutil.copy(pictures[0], home / ".hidden.png")
    (home / "notes.txt").write_text("none", encoding="utf-8")
    (home / "sheet.csv").write_text("none", encoding="utf-8")
    return home


NAMES = ["a.jpg", "b.webp", "c.bmp", "d", "deep/er/z.PNG", "e.gif", "f.png", "g.png"]


@pytest.mark.parametrize("ending", ["", "/", "//"])
def test_of_a_folder_all_pictures_are_answered_in_order(trees, album, ending):
    answers = cn.predict(trees, [f"{album}{ending}"], **PLAIN).answers
    assert [answer.file_name for answer in answers] == [f"{album}/{name}" for name in NAMES]
    alone = cn.predict(trees, [album / name for name in NAMES], **PLAIN).answers
    assert_same_answers(answers, alone)


def test_pictures_in_a_tar_are_answered_where_they_lie(trees, album, tmp_path):
    with tarfile.open(tmp_path / "album.tar", "w") as tar:
        tar.add(album, "inner")
        tar.add(album / "c.bmp", "top.bmp")
    expected = cn.predict(trees, [album], **PLAIN).answers
    tar = f"{tmp_path}/album.tar"
    whole = cn.predict(trees, [tar], **PLAIN).answers
    assert [answer.file_name for answer in whole] == [*(f"{tar}#inner/{name}" for name in NAMES), f"{tar}#top.bmp"]
    for given in (f"{tar}#inner", f"{tar}#inner/"):
        part = cn.predict(trees, [given], **PLAIN).answers
        assert [answer.file_name for answer in part] == [f"{tar}#inner/{name}" for name in NAMES]
        assert [dict(answer.top) for answer in part] == [
            pytest.approx(dict(answer.top), abs=1e-4) for answer in expected
        ]
    assert list(tmp_path.glob("**/inner")) == []


def test_a_name_in_a_tar_can_be_asked_as_it_was_shown(trees, album, tmp_path):
    with tarfile.open(tmp_path / "album.tar", "w") as tar:
        tar.add(album, "in")
    shown = cn.predict(trees, tmp_path / "album.tar", **PLAIN).answers
    for answer in shown:
        assert cn.predict(trees, answer.file_name, **PLAIN).answers == (answer,)


def test_files_folders_and_tars_may_be_mixed(trees, pictures, album, tmp_path):
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        tar.add(pictures[1], "a.jpg")
    asked = [tmp_path / "one.tar", pictures[0], album / "deep", tmp_path / "nowhere"]
    answers = cn.predict(trees, asked, **PLAIN).answers
    assert [answer.file_name for answer in answers] == [
        f"{tmp_path}/one.tar#a.jpg",
        str(pictures[0]),
        f"{album}/deep/er/z.PNG",
        f"{tmp_path}/nowhere",
    ]
    assert [answer.state for answer in answers] == ["used", "used", "used", "missing"]


def test_a_folder_or_tar_without_pictures_is_one_sentence(trees, pictures, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/notes.txt").write_text("none", encoding="utf-8")
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        tar.add(tmp_path / "bare/notes.txt", "notes.txt")
    (tmp_path / "none.tar").write_bytes(b"no tar")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(pictures[0], "a.png")
    for name, message in {
        "bare": "bare holds no picture: give pictures, or folders or tars that hold some",
        "bare.tar": r"bare\.tar holds no picture",
        "bare.tar#inner": r"bare\.tar has no folder or table 'inner'",
        "none.tar": r"none\.tar is no tar, or is damaged",
        "packed.tar": r"packed\.tar is compressed \(gzip\)",
    }.items():
        with pytest.raises(SourceError, match=message) as raised:
            cn.predict(trees, [pictures[0], tmp_path / name], **PLAIN)
        assert raised.value.exit_code == 3
        assert "\n" not in str(raised.value)


# -- a line of JSON each ----------------------------------------------------------------------------------------------


def test_each_answer_is_a_line_of_json(trees, pictures, spoilt, capsys):
    asked = [pictures[0], *spoilt, *pictures[1:]]
    done = cn.predict(trees, asked, jsonl=True, batch_size=3, **(PLAIN | {"quiet": False}))
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [list(line) for line in lines] == [FIELDS] * len(asked)
    assert [line["file_name"] for line in lines] == [str(path) for path in asked]
    assert err == f"Asking {trees}.\n"
    assert (done.answered, done.unanswered, done.answers, done.summary()) == (7, 7, (), [])

    answers = cn.predict(trees, asked, batch_size=3, **PLAIN).answers
    assert lines == [as_json(answer) for answer in answers]
    assert [len(line["top"]) for line in lines] == [5, *[0] * 7, *[5] * 6]
    missing = {"file_name": str(asked[1]), "label": None, "confidence": None, "top": []}
    assert lines[1] == missing | {"state": "missing", "reason": "not there"}


def test_lines_hold_names_as_they_are(trees, pictures, capsys, tmp_path):
    shutil.copy(pictures[0], tmp_path / "grün\n2.png")
    cn.predict(trees, [tmp_path / "grün\n2.png", *pictures], jsonl=True, **PLAIN)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 8
    assert "/grün\\n2.png" in out
    assert '"Ölweide"' in out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is valid text")
def test_a_name_that_is_no_text_is_shown_as_text(trees, pictures, capsys, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    name = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")
    shutil.copy(pictures[0], name)
    cn.predict(trees, [name, folder], jsonl=True, **PLAIN)
    lines = [json.loads(line) for line in capsys.readouterr().out.encode("utf-8").splitlines()]
    assert [line["file_name"] for line in lines] == [f"{folder}/caf\\xe9.png"] * 2
    assert [line["state"] for line in lines] == ["used"] * 2


def test_when_nobody_reads_the_lines_any_more_it_ends(trees, pictures, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    closed = os.fdopen(writing, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", closed)
    done = cn.predict(trees, pictures, jsonl=True, **PLAIN)
    # What could not be written is still to be written.
    with pytest.raises(BrokenPipeError, match="pipe"):
        closed.close()
    assert done.answered == 1


def test_a_reader_that_has_gone_is_no_error_even_if_nothing_could_be_read_so_far(trees, pictures, spoilt, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    done = cn.predict(trees, [next(iter(spoilt)), *pictures], jsonl=True, **PLAIN)
    assert (done.answered, done.unanswered) == (0, 1)


def test_a_network_that_gives_no_numbers_gives_no_answer(trees, pictures, tmp_path, capsys):
    lost = shutil.copytree(trees, tmp_path / "lost")
    weights = load_file(lost / "model.safetensors")
    weights["fc.bias"].fill_(float("nan"))
    save_file(weights, lost / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="the network's answer to it is not a number"):
        cn.predict(lost, pictures, jsonl=True, **PLAIN)
    for line in capsys.readouterr().out.splitlines():
        assert "NaN" not in line
        assert json.loads(line)["state"] == "refused"


@pytest.mark.skipif(sys.platform == "win32", reason="its limit is another")
def test_a_name_longer_than_any_files_is_answered(trees, pictures):
    done = cn.predict(trees, ["x" * 300, pictures[0]], **PLAIN)
    assert [answer.state for answer in done.answers] == ["broken", "used"]
    with pytest.raises(InputError, match="is no folder"):
        cn.predict("x" * 300, [pictures[0]], **PLAIN)


# -- the result -------------------------------------------------------------------------------------------------------


def test_the_result_is_what_json_prints(trees, pictures, spoilt):
    done = cn.predict(trees, [pictures[0], next(iter(spoilt))], **PLAIN)
    shown = as_json(done)
    assert list(shown) == ["model", "answered", "unanswered", "answers"]
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["model"], shown["answered"], shown["unanswered"]) == (str(trees), 1, 1)
    assert [list(answer) for answer in shown["answers"]] == [FIELDS] * 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        done.answered = 2


def test_the_table_has_a_row_for_each_answer(trees, pictures, spoilt):
    done = cn.predict(trees, [*pictures, *spoilt], **PLAIN)
    table = done.table()
    pair = pa.struct([("label", pa.string()), ("confidence", pa.float64())])
    types = [pa.string(), pa.string(), pa.float64(), pa.list_(pair), pa.string(), pa.string()]
    assert table.schema == pa.schema(list(zip(FIELDS, types, strict=True)))
    for row, answer in zip(table.to_pylist(), done.answers, strict=True):
        top = [{"label": label, "confidence": share} for label, share in answer.top]
        assert row == as_json(answer) | {"top": top}
    assert dataclasses.replace(done, answers=()).table().schema == table.schema


def test_the_summary_is_a_table_for_a_person(trees, one_category, pictures, spoilt):
    done = cn.predict(trees, [pictures[0], *spoilt], **PLAIN)
    grid, note = done.summary()
    assert (grid.title, grid.columns) == ("", ("file", "label", "confidence", "next best"))
    (first, share), (second, next_share) = plain_timm(trees, pictures[0])[:2]
    name, label, confidence, next_best = grid.rows[0]
    assert (name, label) == (str(pictures[0]), first)
    assert float(confidence.removesuffix(" %")) == pytest.approx(100 * share, abs=0.1)
    assert next_best.startswith(f"{second} ")
    assert float(next_best.removeprefix(second).removesuffix("%")) == pytest.approx(100 * next_share, abs=0.1)
    nowhere = next(iter(spoilt))
    assert grid.rows[1] == (str(nowhere), "missing: not there", "", "")
    assert note == "7 of 8 files could not be read."
    single = cn.predict(one_category, pictures[:1], **PLAIN)
    assert single.summary() == [Grid("", grid.columns, ((str(pictures[0]), "ash", "100.0 %", ""),))]


# -- wrong use and bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([], {}, "No file was given: name pictures, folders or tars after the model"),
        (["a.png"], {"batch_size": 0}, "--batch-size is 0: it must be above 0"),
        (["a.png"], {"device": "tpu"}, "There is no device 'tpu'"),
    ],
)
def test_wrong_use_is_one_sentence(trees, files, options, message):
    with pytest.raises(UsageError, match=message) as raised:
        cn.predict(trees, files, **(PLAIN | options))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_an_unfinished_run_is_one_sentence(work, pictures):
    shutil.rmtree(work / "runs/model-b/model")
    with pytest.raises(
        InputError, match=r"The run in .*model-b has not finished: start the same `curriculumnet train`"
    ):
        cn.predict(work / "runs/model-b", pictures, **PLAIN)


def test_a_run_that_has_not_finished_does_not_count_in_a_work_folder(work, pictures):
    (work / "runs/model-d").mkdir()
    shutil.copy(work / "runs/model-b/settings.json", work / "runs/model-d/settings.json")
    assert cn.predict(work, pictures, **PLAIN).model == work / "runs/model-b/model"


def test_a_work_folder_without_a_run_says_how_to_make_one(prepared, pictures, tmp_path):
    bare = cn.ingest(prepared.parent / "crawl", output=tmp_path / "bare", workers=0, quiet=True).work
    message = r"bare has no run yet: `curriculumnet train .*bare --recipe model-d` makes one"
    with pytest.raises(WorkFolderError, match=message) as raised:
        cn.predict(bare, pictures, **PLAIN)
    assert raised.value.exit_code == 2


def test_what_is_no_model_is_one_sentence(work, pictures, tmp_path):
    (tmp_path / "other").mkdir()
    neither = (
        r"is neither a work folder \(project\.json\), nor a run's folder \(model/config\.json\), nor a model folder"
    )
    for path, message in {
        tmp_path / "nowhere": r"nowhere is not there: give a work folder, a run's folder or a model folder",
        tmp_path / "other": f"other {neither}",
        work / "runs": f"runs {neither}",
        pictures[0]: rf"g\.png {neither}",
    }.items():
        with pytest.raises(InputError, match=message) as raised:
            cn.predict(path, pictures, **PLAIN)
        assert raised.value.exit_code == 3
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [("config.json", r"config\.json cannot be read"), ("model.safetensors", r"model\.safetensors cannot be read")],
)
def test_a_damaged_model_is_one_sentence(work, pictures, file, message):
    path = work / "runs/model-b/model" / file
    path.write_bytes(path.read_bytes()[:-20])
    for model in (work, work / "runs/model-b"):
        with pytest.raises(InputError, match=message) as raised:
            cn.predict(model, pictures, **PLAIN)
        assert raised.value.exit_code == 3


def test_two_forms_of_json_at_once_are_refused():
    command = [sys.executable, "-c", "from curriculumnet.cli import main; main()", "predict", "x", "y"]
    done = subprocess.run([*command, "--json", "--jsonl"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json and --jsonl are two forms of the same answers: give one of them." in done.stderr
