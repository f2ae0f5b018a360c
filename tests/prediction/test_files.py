"""Files that a person asks about: found and read."""

import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from curriculumnet.errors import SourceError
from curriculumnet.images.views import CentreView
from curriculumnet.prediction.files import Trouble, find, load

VIEW = CentreView(32)


def test_a_file_need_not_be_there_to_be_asked_about(tmp_path):
    (found,) = find([f"{tmp_path}/none/x.png"])
    assert found.shown == f"{tmp_path}/none/x.png"
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        found.place.read(found.name)


def test_found_files_can_be_read_where_they_lie(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "b/1.png", "0.png"):
        (tmp_path / name).write_bytes(name.encode())
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "b", "in/side")
    found = find([f"{tmp_path}/x.tar#in", f"{tmp_path}/b", f"{tmp_path}/0.png"])
    assert {file.shown: file.place.read(file.name) for file in found} == {
        f"{tmp_path}/x.tar#in/side/1.png": b"b/1.png",
        f"{tmp_path}/x.tar#in/side/2.png": b"b/2.png",
        f"{tmp_path}/b/1.png": b"b/1.png",
        f"{tmp_path}/b/2.png": b"b/2.png",
        f"{tmp_path}/0.png": b"0.png",
    }
    assert [file.shown for file in pickle.loads(pickle.dumps(found))] == [file.shown for file in found]


def test_in_a_folder_names_decide_what_may_be_a_picture(tmp_path):
    pictures = ["a.jpg", "b.JPEG", "c.webp", "d.unknownending", "e", "f.tiff", "g.avif", "h.html", "i.with.dots.png"]
    others = [".hidden.jpg", "._a.jpg", "n.txt", "n.json", "n.csv", "n.zip", "n.tar", "n.JPG.GZ", "n.mp4"]
    for name in [*pictures, *others, "sub/.hidden/a.jpg", "sub/a.png"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = [file.shown.removeprefix(f"{tmp_path}/") for file in find([f"{tmp_path}"])]
    assert found == [*pictures, "sub/a.png"]
    # One that is named itself is always taken.
    assert len(find([f"{tmp_path}/{name}" for name in ("n.txt", ".hidden.jpg")])) == 2


def test_a_folder_whose_name_ends_as_a_tars_is_a_folder(tmp_path):
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar/a.png").write_bytes(b"")
    assert [file.shown for file in find([f"{tmp_path}/x.tar"])] == [f"{tmp_path}/x.tar/a.png"]


def test_what_holds_no_picture_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="holds no picture: give pictures") as raised:
        find([str(tmp_path)])
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 7, 100])
def test_every_file_has_a_view_or_a_trouble_in_its_order(tmp_path, batch_size):
    names = [f"{number}.png" for number in range(6)]
    for number in (0, 3, 5):
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(tmp_path / names[number])
    (tmp_path / names[1]).write_bytes(b"{}")
    asked = find([f"{tmp_path}/{name}" for name in names])
    batches = list(load(asked, VIEW, batch_size=batch_size, workers=0))
    assert [len(troubles) for _, troubles in batches] == [
        min(batch_size, 6 - begin) for begin in range(0, 6, batch_size)
    ]
    gone = Trouble("missing", "not there")
    assert [trouble for _, troubles in batches for trouble in troubles] == [
        None,
        Trouble("broken", "JSON, not an image"),
        gone,
        None,
        gone,
        None,
    ]
    for views, troubles in batches:
        assert (0 if views is None else len(views)) == troubles.count(None)
    shown = np.concatenate([views for views, _ in batches if views is not None])
    assert (shown.shape, shown.dtype) == ((3, 3, 32, 32), np.uint8)
    assert shown[:, 0, 16, 16].tolist() == [0, 120, 200]


def test_worker_processes_give_the_same(tmp_path):
    for number in range(5):
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    asked = find([str(tmp_path), f"{tmp_path}/none.png"])
    here, there = (list(load(asked, VIEW, batch_size=2, workers=workers)) for workers in (0, 2))
    assert [troubles for _, troubles in here] == [troubles for _, troubles in there]
    for (mine, _), (other, _) in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine, other)
