import io
import os
import pickle
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.errors import SourceError
from curriculumnet.images import tar
from curriculumnet.images.archives import may_be_image, open_bytes, split_root
from curriculumnet.images.folder import Folder
from curriculumnet.images.stored import GONE, Stamp
from curriculumnet.images.tar import Index, open_tar

FILES = {"a/1.jpg": b"one", "a/b/2.jpg": b"two", "top.txt": b"", "z é/3": b"three"}


def make_tar(path: Path, files: dict[str, bytes], prefix: str = "", format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def add(path: Path, name: str, data: bytes = b"", **values: object) -> None:
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        for key, value in values.items():
            setattr(member, key, value)
        tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"


@pytest.fixture(params=["folder", "tar", "tar with dots", "part of a tar", "gnu tar", "old tar"])
def root(request: pytest.FixtureRequest, tmp_path: Path, folder: Path) -> str:
    if request.param == "folder":
        return str(folder)
    prefix = {"tar with dots": "./", "part of a tar": "in/ner/"}.get(request.param, "")
    format = {"gnu tar": tarfile.GNU_FORMAT, "old tar": tarfile.USTAR_FORMAT}.get(request.param, tarfile.PAX_FORMAT)
    path = make_tar(tmp_path / "x.tar", FILES, prefix, format)
    if request.param == "part of a tar":
        add(path, "in/nerve/4.jpg", b"outside")
        return f"{path}#in/ner"
    return str(path)


def test_every_root_gives_the_same_files(root: str) -> None:
    files = open_bytes(root)
    assert files.names() == sorted(FILES)
    assert files.root == root
    assert {name: files.read(name) for name in files.names()} == FILES
    assert {name: files.size(name) for name in files.names()} == {name: len(data) for name, data in FILES.items()}


def test_what_is_opened_can_be_sent_to_another_process(root: str) -> None:
    files = pickle.loads(pickle.dumps(open_bytes(root)))
    assert files.read("a/b/2.jpg") == b"two"


@pytest.mark.parametrize("name", ["gone.jpg", "a", "a/gone.jpg", "nul\0.jpg", "", "../outside"])
def test_a_name_that_is_not_there_is_an_oserror(root: str, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_bytes(root).read(name)


def test_members_that_lead_outside_or_are_no_files_are_strangers(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {"good.jpg": b"1", "..fine.jpg": b"2"})
    add(path, "/absolute.jpg", b"3")
    add(path, "../up.jpg", b"4")
    add(path, "a/../../up.jpg", b"5")
    add(path, "link.jpg", type=tarfile.SYMTYPE, linkname="good.jpg")
    add(path, "hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")
    add(path, "device", type=tarfile.CHRTYPE)
    add(path, "pipe", type=tarfile.FIFOTYPE)
    files, strangers = open_bytes(str(path)).contents()
    assert files == ["..fine.jpg", "good.jpg"]
    assert strangers == sorted(
        ["/absolute.jpg", "../up.jpg", "a/../../up.jpg", "link.jpg", "hard.jpg", "device", "pipe"]
    )


def test_of_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {"a.jpg": b"old"})
    add(path, "a.jpg", b"newer")
    files = open_bytes(str(path))
    assert (files.names(), files.read("a.jpg")) == (["a.jpg"], b"newer")


def test_long_names_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    names = ["d/" * 80 + "n" * 120 + ".jpg", os.fsdecode(b"caf\xe9.jpg")]
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / f"{format}.tar"
        with tarfile.open(path, "w", format=format, encoding="utf-8", errors="surrogateescape") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = 1
                tar.addfile(member, io.BytesIO(b"x"))
        files = open_bytes(str(path))
        assert files.names() == sorted(names)
        assert [files.read(name) for name in files.names()] == [b"x", b"x"]


def test_eight_thousand_members_open_within_a_second(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {f"c/{n:05}.jpg": b"x" for n in range(8000)}, format=tarfile.USTAR_FORMAT)
    start = time.process_time()
    assert len(open_bytes(str(path)).names()) == 8000
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("x.tar", b"\x1f\x8b\x08 rest", r"compressed \(gzip\).*unpack it first"),
        ("x.tar", b"BZh91AY", r"compressed \(bzip2\).*unpack it first"),
        ("x.tar", b"PK\x03\x04", r"compressed \(zip\)"),
        ("x.tar", b"no tar at all" * 100, "is no tar, or is damaged after 0 files"),
        ("x.tar", b"", "is no tar, or is damaged after 0 files"),
    ],
)
def test_what_is_no_tar_gets_a_sentence(tmp_path: Path, name: str, data: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=match) as raised:
        open_bytes(str(tmp_path / name))
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("keep", [512 + 100, 1024 + 100, 512 * 5 + 10])
def test_a_tar_that_was_cut_is_found_out(tmp_path: Path, keep: int) -> None:
    path = make_tar(tmp_path / "x.tar", {f"{n}.jpg": b"x" * 600 for n in range(3)}, format=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"damaged after|cut off after"):
        open_bytes(str(path))


@pytest.mark.parametrize("spoilt", ["header", "end", "zeros", "another tar"])
def test_a_tar_that_is_damaged_in_its_middle_is_not_read_up_to_there(tmp_path: Path, spoilt: str) -> None:
    path = make_tar(tmp_path / "x.tar", {f"{n}.jpg": b"x" * 600 for n in range(9)}, format=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    if spoilt == "header":
        data[5 * 1536 + 3] ^= 1
    elif spoilt == "end":
        del data[5 * 1536 :]
    elif spoilt == "zeros":
        data[5 * 1536 : 5 * 1536 + 1024] = bytes(1024)
    else:
        data = data[: 5 * 1536] + bytes(1024) + data
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.tar is (damaged|cut off).* after 5 files: make or fetch it anew"):
        open_bytes(str(path))


@pytest.mark.parametrize(
    ("kind", "size"),
    [(tarfile.REGTYPE, size) for size in (-512, 2**45, 2**70)] + [(tarfile.XHDTYPE, size) for size in (-512, 2**70)],
)
def test_a_header_that_tells_an_impossible_size_is_damaged(tmp_path: Path, kind: bytes, size: int) -> None:
    member = tarfile.TarInfo("2.jpg")
    member.type = kind
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = bytes([255 if size < 0 else 128]) + (size % 2**88).to_bytes(11)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    path = make_tar(tmp_path / "x.tar", {"1.jpg": b"x" * 512}, format=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:1024] + header + bytes(2048))
    with pytest.raises(SourceError, match=r"x\.tar is no tar, or is damaged after \d files .*: make or fetch it anew"):
        open_bytes(str(path))


def test_a_tar_that_shrinks_after_it_was_opened_gives_no_half_files(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {"1.jpg": b"x" * 600})
    files = open_bytes(str(path))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(OSError, match="ends inside it"):
        files.read("1.jpg")


def test_a_part_that_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", FILES)
    with pytest.raises(SourceError, match=r"has no folder or table 'dogs'; at its top are a, top.txt, z é\."):
        open_bytes(f"{path}#dogs")
    with pytest.raises(SourceError, match=r"has no folder or table 'a/dogs'; in a/ are "):
        open_bytes(f"{path}#a/dogs")
    with pytest.raises(SourceError, match=r"gone\.tar is not there"):
        open_bytes(str(tmp_path / "gone.tar"))


def test_a_name_with_a_hash_that_exists_is_no_part_of_a_tar(tmp_path: Path) -> None:
    odd = tmp_path / "x.tar#y"
    odd.mkdir()
    assert split_root(str(odd)) == (str(odd), "")
    assert split_root(str(tmp_path / "X.TAR#y/../z/")) == (str(tmp_path / "X.TAR"), "z")


def test_links_are_followed_and_circles_are_not(tmp_path: Path, folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "5.jpg").write_bytes(b"five")
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "nothing.jpg")
    os.mkfifo(folder / "pipe.jpg")
    files, others = Folder(str(folder)).contents()
    assert files == sorted([*FILES, "linked/5.jpg", "itself.jpg", "nowhere.jpg"])
    assert others == ["a/up", "pipe.jpg"]
    for name in ("itself.jpg", "nowhere.jpg", "pipe.jpg"):
        with pytest.raises(OSError, match=name):
            open_bytes(str(folder)).read(name)


def test_stamps_or_the_version_change_with_the_files_and_only_then(root: str) -> None:
    files = open_bytes(root)
    names = files.names()

    def told() -> tuple[str, list[Stamp]]:
        now = open_bytes(root)
        return now.version(), [now.stamp(name) for name in names]

    before = told()
    assert before == told()
    assert [stamp.size for stamp in before[1]] == [len(files.read(name)) for name in names]
    assert files.stamp("gone") == Stamp(GONE, GONE)
    path = Path(split_root(root)[0])
    os.utime(path / "a/1.jpg" if path.is_dir() else path, ns=(1, 1))
    assert told() != before


def test_what_is_added_to_a_tar_leaves_the_stamps_of_the_others(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {})
    for number, name in enumerate(("a/1.jpg", "a/2.jpg")):
        add(path, name, b"four", mtime=1_700_000_000 + number)
    add(path, "a/3.jpg", b"four")
    before = [open_bytes(str(path)).stamp(name) for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg")]
    assert before[0] != before[1]
    # One of which the tar tells no time is as old as the tar.
    assert before[2].modified == path.stat().st_mtime_ns
    add(path, "a/4.jpg", b"more", mtime=1_700_000_000)
    os.utime(path, ns=(1, 1))
    after = [open_bytes(str(path)).stamp(name) for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg")]
    assert after[:3] == [*before[:2], before[2]._replace(modified=1)]
    assert after[3] not in before
    # Of the same name, size and time at another place it is another one.
    add(path, "a/1.jpg", b"FOUR", mtime=1_700_000_000)
    assert open_bytes(str(path)).stamp("a/1.jpg") != before[0]


@pytest.mark.parametrize("in_folder", [False, True])
def test_of_members_of_one_time_the_tar_tells_whether_they_are_the_same(tmp_path: Path, in_folder: bool) -> None:
    path, root = tmp_path / "x.tar", str(tmp_path) if in_folder else f"{tmp_path}/x.tar"
    names = ["x.tar#1.jpg", "x.tar#2.jpg"] if in_folder else ["1.jpg", "2.jpg"]

    def told(first: bytes, made: int) -> tuple[str, list[Stamp]]:
        path.unlink(missing_ok=True)
        for name, data in (("1.jpg", first), ("2.jpg", b"same")):
            add(path, name, data, mtime=1_700_000_000)
        os.utime(path, ns=(made, made))
        now = open_bytes(root)
        return now.version(), [now.stamp(name) for name in names]

    before = told(b"this", 10**18)
    assert told(b"this", 10**18) == before
    after = told(b"that", 2 * 10**18)
    assert [stamp.modified for stamp in after[1]] == [2 * 10**18] * 2
    assert after[0] != before[0] or in_folder


def test_the_index_of_a_large_tar_is_kept_and_made_again_when_the_tar_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_tar(tmp_path / "x.tar", {f"c/{n:05}.jpg": b"%d" % n for n in range(1200)})
    add(path, "link.jpg", type=tarfile.SYMTYPE, linkname="c/00000.jpg")
    kept = Folder(str(tmp_path), str(tmp_path / "indexes"))
    first = open_tar(kept, "x.tar")
    assert len(list((tmp_path / "indexes").iterdir())) == 1
    reads: list[str] = []
    through = tar._read_headers
    monkeypatch.setattr(tar, "_read_headers", lambda *given: reads.append(given[1]) or through(*given))
    tar._index.cache_clear()
    again = open_tar(kept, "x.tar")
    assert reads == []
    assert again.contents() == first.contents()
    assert again.index.in_order() == first.index.in_order()
    assert [again.stamp(name) for name in again.names()] == [first.stamp(name) for name in first.names()]
    assert again.read("c/01199.jpg") == b"1199"
    add(path, "c/more.jpg", b"more")
    assert open_tar(kept, "x.tar").read("c/more.jpg") == b"more"
    assert reads == ["x.tar"]
    # One that is damaged is made again.
    tar._index.cache_clear()
    next((tmp_path / "indexes").iterdir()).write_bytes(b"PAR1")
    assert open_tar(kept, "x.tar").read("c/more.jpg") == b"more"
    assert reads == ["x.tar"] * 2
    assert not list((tmp_path / "indexes").glob(".writing-*"))


def test_the_index_of_a_small_tar_is_not_worth_keeping(tmp_path: Path) -> None:
    make_tar(tmp_path / "x.tar", FILES)
    open_tar(Folder(str(tmp_path), str(tmp_path / "indexes")), "x.tar")
    assert not (tmp_path / "indexes").exists()


@given(st.lists(st.sampled_from(["a", "a/b", "a-b", "b", "ü", "\udce9", "a/b/c", ""]), max_size=12))
def test_an_index_finds_the_last_member_of_a_name(names: list[str]) -> None:
    members = {name: (place, 10 * place, 7 * place) for place, name in enumerate(names)}
    encoded = pa.array([name.encode("utf-8", "surrogateescape") for name in names], pa.binary())
    numbers = range(len(names))
    index = Index(encoded, numbers, range(0, 10 * len(names), 10), range(0, 7 * len(names), 7), [])
    assert len(index) == len(members)
    for name in ("a", "a/b", "a-b", "b", "ü", "\udce9", "a/b/c", "", "c", "a/"):
        assert index.find(name) == members.get(name)
        assert set(index.below(name)) == {each[len(name) :] for each in members if each.startswith(name)}


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.php", "a.5", "a.html", "a.b.JPEG", "x y/ü.webp", "a.txt.png"])
def test_pictures_and_unknown_endings_are_looked_into(name: str) -> None:
    assert may_be_image(name)
