"""The page as people get it: what it says and shows at every stage of a work folder, its size, what it lets in."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curriculumnet.errors import UnknownNameError, UsageError, WorkFolderError
from curriculumnet.reporting.step import report
from curriculumnet.work.folder import WorkFolder

Make = Callable[..., Any]

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    '" onmouseover="alert(3)" x=\'',
    "{{ 7 * 7 }}{% raw %}",
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} \N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "tab\tand bell\x07",
    "\N{GRINNING FACE}\N{FAMILY}",
    "x" * 255,
    "ordinary",
)


def test_sections_follow_what_the_work_folder_holds(crawl: Make, read: Make) -> None:
    made = crawl(3)
    stages = {
        "ingested": lambda: None,
        "designed": made.design,
        "trained": lambda: made.train("model-a"),
        "measured": lambda: made.evaluate("model-a", 0.67),
        "two runs": lambda: made.train("model-d").evaluate("model-d", 0.64),
    }
    shown = {}
    for stage, go_on in stages.items():
        go_on()
        shown[stage] = read(report(made.path, quiet=True).path).sections
    assert shown == {
        "ingested": ["files", "categories", "settings"],
        "designed": ["files", "categories", "pictures", "decision", "settings"],
        "trained": ["files", "categories", "pictures", "decision", "curves", "settings"],
        "measured": ["figures", "files", "categories", "pictures", "decision", "curves", "settings"],
        "two runs": ["figures", "files", "categories", "pictures", "decision", "curves", "versus", "settings"],
    }


def test_no_decision_graph_without_densities(crawl: Make, read: Make) -> None:
    page = read(report(crawl(3).design(graph=False).path, quiet=True).path)
    assert page.sections == ["files", "categories", "pictures", "settings"]


@pytest.mark.parametrize(
    ("value", "low", "high", "finding", "sentence"),
    [
        (0.032, 0.011, 0.053, "gain", "The curriculum helped: .* model-d is 3.2 points lower .* 1.1 to 5.3"),
        (0.004, -0.012, 0.02, "none", "Nothing was gained .* chance: .* 0.4 points lower .* −1.2 to \\+2.0"),
        (-0.004, -0.02, 0.012, "none", "Nothing was gained .* chance: .* 0.4 points higher .* −2.0 to \\+1.2"),
        (0.0, -0.01, 0.01, "none", "Nothing was gained .* exactly that of model-a"),
        (-0.03, -0.05, -0.01, "harm", "The curriculum did harm: .* 3.0 points higher .* 1.0 to 5.0"),
        (0.01, 0.0002, 0.02, "gain", "The curriculum helped: .* 1.0 points lower .* 0.02 to 2.0"),
    ],
)
def test_sentence_on_top_says_what_was_gained(
    crawl: Make, read: Make, value: float, low: float, high: float, finding: str, sentence: str
) -> None:
    found = report(crawl(3).whole(value, low, high).path, quiet=True)
    assert found.finding == finding
    assert (found.run, found.baseline, found.gain, found.low, found.high) == ("model-d", "model-a", value, low, high)
    assert re.search(sentence, found.sentence)
    page = read(found.path)
    assert found.sentence.split(":")[0] in page.text
    assert "test images with clean labels" in page.text


def test_sentence_names_the_crawls_own_labels_where_there_are_no_clean_ones(crawl: Make, read: Make) -> None:
    made = crawl(3).design()
    for name in ("model-a", "model-d"):
        made.train(name).evaluate(name, 0.6, sets=[("val", "crawl")])
    made.compare("model-d", "model-a", 0.03, 0.01, 0.05, sets=[("val", "crawl")])
    page = read(report(made.path, quiet=True).path)
    assert "validation images with the crawl's own labels" in page.text
    assert "Wrong labels count here as they are" in page.text


def test_page_warns_of_ten_crops_of_a_network_that_saw_nothing_mirrored(crawl: Make, read: Make) -> None:
    made = crawl(3).whole()
    assert "trained without mirroring" not in read(report(made.path, quiet=True).path).text
    settings = made.path / "runs" / "model-d" / "settings.json"
    written = json.loads(settings.read_text(encoding="utf-8")) | {"mirror": False}
    settings.write_text(json.dumps(written), encoding="utf-8")
    assert "model-d : trained without mirroring" in read(report(made.path, quiet=True).path).text


def test_ten_crops_speak_where_there_is_no_single_one(crawl: Make, read: Make) -> None:
    made = crawl(3).design()
    for name in ("model-a", "model-d"):
        made.train(name).evaluate(name, 0.6, crops=[10])
    page = read(report(made.compare("model-d", "model-a", 0.03, 0.01, 0.05, crops=[10]).path, quiet=True).path)
    assert "clean labels, 10 crops each" in page.text


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda made: made, "The crawl is read, no curriculum yet"),
        (lambda made: made.design(), "A curriculum is there, no network yet"),
        (lambda made: made.design().train("model-a"), "Not measured yet"),
        (lambda made: made.design().train("model-a").evaluate("model-a", 0.67), "Nothing to compare yet: model-a"),
    ],
)
def test_sentence_without_a_comparison_says_what_is_there(crawl: Make, prepare: Make, sentence: str) -> None:
    found = report(prepare(crawl(3)).path, quiet=True)
    assert found.finding == "unmeasured"
    assert found.sentence.startswith(sentence)
    assert found.run is found.gain is None


def test_compare_sets_the_runs_the_other_way_round(crawl: Make) -> None:
    found = report(crawl(3).whole().path, compare=("model-a", "model-d"), quiet=True)
    assert (found.run, found.baseline, found.finding) == ("model-a", "model-d", "harm")
    assert (found.gain, found.low, found.high) == pytest.approx((-0.032, -0.053, -0.011))
    assert found.sentence.startswith("model-a is worse")


def test_compare_of_unknown_or_equal_runs_is_refused(crawl: Make) -> None:
    made = crawl(3).whole()
    with pytest.raises(UnknownNameError, match="model-x"):
        report(made.path, compare=("model-x", "model-a"), quiet=True)
    with pytest.raises(UsageError, match="two different runs"):
        report(made.path, compare=("model-a", "model-a"), quiet=True)


def test_compare_of_runs_that_were_not_compared_says_so(crawl: Make) -> None:
    made = crawl(3).whole().train("other", "model-a")
    found = report(made.path, compare=("model-d", "other"), quiet=True)
    assert found.sentence == "model-d and other have not been compared yet."


def test_a_folder_without_a_crawl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match="no work folder"):
        report(tmp_path, quiet=True)
    folder = WorkFolder.create(tmp_path / "empty")
    folder.write_json("project.json", folder.project)
    with pytest.raises(WorkFolderError, match="ingest"):
        report(folder.path, quiet=True)


def test_nothing_is_done_twice_and_a_changed_table_is_noticed(crawl: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = crawl(3).whole()
    first = report(made.path)
    written = first.path.stat().st_mtime_ns
    capsys.readouterr()
    assert report(made.path) == first
    assert first.path.stat().st_mtime_ns == written
    assert "up to date" in capsys.readouterr().err
    made.evaluate("model-d", 0.5)
    assert report(made.path, quiet=True).path.stat().st_mtime_ns != written


def test_figures_of_an_earlier_network_are_left_out_and_it_is_said(crawl: Make, read: Make) -> None:
    made = crawl(3).whole().train("model-d")
    found = report(made.path, quiet=True)
    assert found.run != "model-d"
    assert "model-d has changed since it was measured" in read(found.path).text
    assert "model-d has changed" not in read(report(made.evaluate("model-d", 0.6).path, quiet=True).path).text


def test_a_curriculum_of_other_images_is_left_out_and_it_is_said(crawl: Make, read: Make) -> None:
    made = crawl(3, per_category=4).design()
    made._ingest(3)
    page = read(report(made.path, quiet=True).path)
    assert page.sections == ["files", "categories", "settings"]
    assert "orders the images of an earlier reading" in page.text


def test_the_same_tables_give_the_same_bytes(crawl: Make) -> None:
    made = crawl(3).whole()
    first = report(made.path, quiet=True).path.read_bytes()
    made.folder.file("report.html").unlink()
    assert report(made.path, quiet=True).path.read_bytes() == first


def test_lost_pictures_leave_gaps_until_they_are_back(
    crawl: Make, read: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    made = crawl(3, per_category=4).design()
    away = made.root.rename(made.root.with_name("away"))
    found = report(made.path, quiet=True)
    assert found.pictures_missing == 12
    assert "12 of 12 pictures are missing" in capsys.readouterr().err
    assert not read(found.path).all("img")
    away.rename(made.root)
    found = report(made.path, quiet=True)
    assert found.pictures_missing == 0
    assert len(read(found.path).all("img")) == 12


def test_account_counts_every_file_and_names_broken_ones(crawl: Make, read: Make) -> None:
    made = crawl(3, per_category=4)
    page = read(report(made.path, quiet=True).path)
    assert "files seen 42" in page.text
    assert "4 names were passed over as no image at all" in page.text
    assert "1 used image was also found under another category" in page.text
    assert "1 × a web page, not an image" in page.text
    assert "2 × cannot be decoded: image file is truncated" in page.text
    broken = [row["file_name"] for row in made.rows if row["state"] == "broken"]
    assert [text for text in page.text_of("bdi") if text in broken] == broken


def test_hostile_names_stay_text(crawl: Make, read: Make, crawl_in: Make, tmp_path: Path) -> None:
    made = crawl(HOSTILE, per_category=3).whole()
    page = read(report(made.path, quiet=True).path)
    innocent = crawl_in(tmp_path / "plain", [f"{n}" for n in range(len(HOSTILE))], 3).whole()
    plain = read(report(innocent.path, quiet=True).path)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    named = page.text_of("bdi")
    for name in (*HOSTILE[:5], HOSTILE[6]):
        assert name in named
    assert "tab\N{REPLACEMENT CHARACTER}and bell\N{REPLACEMENT CHARACTER}" in named
    assert "x" * 200 not in page.source


def test_hostile_file_names_stay_text(crawl: Make, read: Make) -> None:
    made = crawl(3, per_category=3, picture="<b>\"'&.jpg").design()
    made.root.mkdir()
    Image.new("RGB", (40, 40), "teal").save(made.root / "<b>\"'&.jpg", "JPEG")
    page = read(report(made.path, quiet=True).path)
    assert not page.all("b")
    assert all(str(image["alt"]).startswith("<b>\"'&.jpg · ") for image in page.all("img"))


def test_nothing_is_loaded_from_elsewhere(crawl: Make, read: Make) -> None:
    page = read(report(crawl(3).whole().path, quiet=True).path)
    loading = ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href", "formaction")
    addresses = [a[key] for _, a in page.elements for key in loading if key in a]
    assert addresses
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    styles = page.text_of("style") + [str(a["style"]) for _, a in page.elements if "style" in a]
    assert not [style for style in styles if "url(" in style or "@import" in style]
    scripts = [text for text in page.text_of("script") if not text.startswith("{")]
    digest = base64.b64encode(hashlib.sha256("".join(scripts).encode()).digest()).decode()
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_thumbnails_hold_pixels_and_nothing_else(crawl: Make, read: Make) -> None:
    made = crawl(2, per_category=3, picture="secret.jpg").design()
    made.root.mkdir()
    exif = Image.Exif()
    exif[0x010E] = "SECRET place"
    pixels = Image.new("RGB", (300, 200), "orange")
    pixels.save(
        made.root / "secret.jpg",
        "JPEG",
        exif=exif,
        comment=b"SECRET comment",
        icc_profile=b"SECRET" * 40,
        xmp=b"SECRET",
    )
    thumbnails = [
        base64.b64decode(str(image["src"]).split(",")[1])
        for image in read(report(made.path, quiet=True).path).all("img")
    ]
    assert len(thumbnails) == 6
    for data in thumbnails:
        assert b"SECRET" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (160, 160)
            assert not image.getexif()


@pytest.mark.parametrize("noisy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_page_stays_small_with_a_thousand_categories_of_long_names(crawl: Make, read: Make, noisy: bool) -> None:
    names = [f"{n:04d} " + '"<&' * 83 for n in range(1000)]
    made = crawl(names, per_category=14, picture="picture.png")
    made.root.mkdir()
    pixels = np.full((160, 160, 3), 90, dtype=np.uint8)
    if noisy:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    Image.fromarray(pixels).save(made.root / "picture.png")
    found = report(made.whole(sets=[("test", "clean")]).path, quiet=True)
    assert found.bytes == found.path.stat().st_size < 8_000_000
    page = read(found.path)
    assert len([a for a in page.all("article") if a.get("class") == "strip"]) == 100
    assert "the noisiest by the share of images outside their clean subset" in page.text
    assert len(page.all("img")) == 1300


def test_forty_categories_have_strips_in_their_order(crawl: Make, read: Make) -> None:
    made = crawl(40, per_category=14).design(noise=True)
    page = read(report(made.path, quiet=True).path)
    names = [text for tag, text in page.texts if tag == "bdi" and text in made.categories]
    assert [names[start : start + 40] for start in (0, 40, 80)] == [made.categories] * 3
    assert len(page.all("img")) == 40 * 13
    assert "wrong labels, rough guess" in page.text


def test_errors_of_every_pair_travel_with_the_page(crawl: Make, read: Make) -> None:
    made = crawl(3).whole()
    page = read(report(made.path, quiet=True).path)
    data = json.loads(next(text for text in page.text_of("script") if text.startswith("{")))
    assert data["runs"] == ["model-a", "model-a-balanced", "model-d"]
    assert [found["name"] for found in data["sets"]] == [
        "test images, clean labels",
        "validation images, the crawl's own labels",
    ]
    metrics = json.loads(made.folder.file("runs/model-a/metrics.json").read_text())
    wanted = [
        row["value"]
        for row in metrics
        if row["category"] and (row["split"], row["crops"], row["metric"]) == ("test", 1, "top1_error")
    ]
    assert data["sets"][0]["errors"]["model-a"] == pytest.approx(wanted, abs=1e-5)


def test_result_has_table_summary_and_json(crawl: Make) -> None:
    found = report(crawl(3).whole().path, quiet=True)
    assert found.table().num_rows == 2 * 3 * 8
    assert found.sentence in found.summary()[0]


def test_table_is_empty_without_comparisons(crawl: Make) -> None:
    assert report(crawl(3).path, quiet=True).table().num_rows == 0


def test_torch_is_never_loaded(crawl: Make) -> None:
    code = (
        "import sys; from curriculumnet.reporting.step import report;"
        "assert not {'pyarrow', 'numpy', 'PIL', 'jinja2'} & set(sys.modules), 'loaded on import';"
        f"report({str(crawl(3).whole().path)!r}, quiet=True);"
        "assert not {'torch', 'sklearn', 'timm', 'matplotlib'} & set(sys.modules), 'loaded by report'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
