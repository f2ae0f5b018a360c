"""What has come of a begun shard is kept, and what failed can be asked for again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curriculumnet as cn
from curriculumnet.collection import flow, journal, pictures, shards
from curriculumnet.errors import SourceError

from .conftest import PICTURES, Server, rows_of, stats_of

FLAGS: dict[str, Any] = {"allow_private": True, "quiet": True, "retries": 0}
Listing = Callable[..., Path]


class Killed(Exception):
    """The process is no more."""


def members_of(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("[0-9]*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.name not in found
                found[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def journaled(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of all journals but the first of each."""
    lines = [path.read_bytes().split(b"\n")[1:-1] for path in folder.glob(".part-*.jsonl")]
    return [json.loads(line) for each in lines for line in each]


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the next call end when it has added so many rows; `stop_after(-1)` has none end."""
    add = shards.Shard.add

    def set_up(rows: int) -> None:
        left = [rows]

        def stopping(self: shards.Shard, *args: Any) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            add(self, *args)

        monkeypatch.setattr(shards.Shard, "add", stopping)

    return set_up


@pytest.fixture
def begun(tmp_path: Path, listing: Listing, stop_after: Callable[[int], None], server: Server) -> tuple[Path, Path]:
    """A list of ten pictures, and a folder in which six of them are; what was asked for is forgotten."""
    table, folder = listing(*(f"{n}.jpg" for n in range(10))), tmp_path / "shards"
    stop_after(6)
    with pytest.raises(Killed):
        cn.collect(table, output=folder, concurrency=1, **FLAGS)
    stop_after(-1)
    server.settle()
    server.crowd.asked.clear()
    return table, folder


# -- killed ------------------------------------------------------------------------------------------------------------


def test_what_has_come_of_a_begun_shard_is_not_asked_for_again(
    begun: tuple[Path, Path], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    table, folder = begun
    assert not list(folder.glob("[0-9]*"))
    found = cn.collect(table, output=folder, **{**FLAGS, "quiet": False})
    assert sorted(server.crowd.paths) == [f"/{n}.jpg" for n in range(6, 10)]
    assert "6 URLs had been asked for before." in capsys.readouterr().err
    assert (found.fetched_rows, found.fetched_bytes) == (4, 4 * len(PICTURES["jpg"]))
    assert found.statuses["success"] == stats_of(folder)[0]["successes"] == 10
    assert found.bytes == 10 * len(PICTURES["jpg"])
    assert not list(folder.glob(".part*"))


def test_ingest_says_what_a_stopped_collect_has_left(
    begun: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], stop_after: Callable[[int], None]
) -> None:
    table, folder = begun
    with pytest.raises(SourceError, match="holds no shard that is whole: `curriculumnet collect` was stopped there"):
        cn.ingest(folder, output=tmp_path / "work", workers=0, quiet=True)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line.replace(",cat,", ",dog,") if n % 2 else line for n, line in enumerate(lines)))
    stop_after(8)
    with pytest.raises(Killed):
        cn.collect(table, output=tmp_path / "more", shard_size=3, concurrency=1, **FLAGS)
    stop_after(-1)
    capsys.readouterr()
    cn.ingest(tmp_path / "more", output=tmp_path / "work", min_images=1, workers=0, quiet=True)
    assert "lacks 2 of 4 shards: `curriculumnet collect` was stopped there" in capsys.readouterr().err
    cn.collect(table, output=tmp_path / "more", shard_size=3, **FLAGS)
    cn.ingest(tmp_path / "more", output=tmp_path / "work", min_images=1, workers=0, quiet=True)
    assert "lacks" not in capsys.readouterr().err


def cut_line(journal: Path, tar: Path) -> None:
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - 5)


def more_members(journal: Path, tar: Path) -> None:
    with tar.open("ab") as file:
        file.write(b"half a member")


def no_line(journal: Path, tar: Path) -> None:
    with journal.open("ab") as file:
        file.write(b"{'no JSON'}\n")


def twice(journal: Path, tar: Path) -> None:
    with journal.open("ab") as file:
        file.write(journal.read_bytes().splitlines(keepends=True)[-1])


def another_row(journal: Path, tar: Path) -> None:
    journal.write_text(journal.read_text().replace('"row": 3', '"row": 9'))


def short_tar(journal: Path, tar: Path) -> None:
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size - 2000)


def flipped(journal: Path, tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)


def no_tar(journal: Path, tar: Path) -> None:
    tar.unlink()


def no_journal(journal: Path, tar: Path) -> None:
    journal.unlink()


def empty_journal(journal: Path, tar: Path) -> None:
    journal.write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "asked"),
    [
        *((cut_line, 5), (more_members, 4), (no_line, 10), (twice, 10), (another_row, 10), (short_tar, 10)),
        *((flipped, 10), (no_tar, 10), (no_journal, 10), (empty_journal, 10)),
    ],
)
def test_what_is_half_written_is_cut_off_and_what_is_damaged_is_begun_anew(
    begun: tuple[Path, Path], server: Server, tmp_path: Path, harm: Callable[[Path, Path], None], asked: int
) -> None:
    table, folder = begun
    harm(folder / ".part-00000.jsonl", folder / ".part-00000.tar")
    cn.collect(table, output=folder, **FLAGS)
    assert len(server.crowd.asked) == asked
    cn.collect(table, output=tmp_path / "at-once", **FLAGS)
    assert rows_of(folder) == rows_of(tmp_path / "at-once")
    assert members_of(folder) == members_of(tmp_path / "at-once")


@pytest.mark.parametrize("name", ["00000.tar", "00000_stats.json"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_whole_shard_that_is_damaged_is_made_again(
    tmp_path: Path, listing: Listing, server: Server, name: str, left: float
) -> None:
    table, folder = listing("1.jpg", "2.png", "3.gif", "4.webp"), tmp_path / "shards"
    cn.collect(table, output=folder, shard_size=2, **FLAGS)
    before = members_of(folder)
    os.truncate(folder / name, int(left * (folder / name).stat().st_size))
    found = cn.collect(table, output=folder, shard_size=2, **FLAGS)
    assert (found.earlier_shards, found.fetched_rows) == (1, 2)
    assert members_of(folder) == before


PATHS = ("1.jpg", "2.png", "status/404", "3.jpg", "html/4.jpg", "5.gif", "status/500", "6.webp", "7.jpg", "8.jpg")


def killing(monkeypatch: pytest.MonkeyPatch, steps: int, share: float) -> None:
    """Let a process do so many things to files, do a share of the next if that is writing, and then no more."""
    left = [steps]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    def appending(path: Path, end: int, parts: list[bytes]) -> int:
        if over():
            data = b"".join(parts)
            if left[0] == -1:
                append(path, end, [data[: int(share * len(data))]])
            raise Killed
        return append(path, end, parts)

    def stopping(name: str) -> None:
        do = getattr(Path, name)

        def call(self: Path, *args: Any, **kwargs: Any) -> Any:
            if self.name.startswith((".part", "0")) and over():
                raise Killed
            return do(self, *args, **kwargs)

        monkeypatch.setattr(Path, name, call)

    append = journal.append
    monkeypatch.setattr(journal, "append", appending)
    monkeypatch.setattr(shards, "append", appending)
    for name in ("replace", "unlink", "write_bytes"):
        stopping(name)
    monkeypatch.setattr("os.fsync", lambda _: None)


def check_whole(folder: Path) -> None:
    """Look whether the files of each whole shard belong together."""
    for stats in folder.glob("[0-9]*_stats.json"):
        alone = folder.with_name("alone")
        shutil.rmtree(alone, ignore_errors=True)
        alone.mkdir()
        for ending in (".tar", ".parquet", "_stats.json"):
            shutil.copy(folder / f"{stats.name[:5]}{ending}", alone)
        digests = {row["key"]: row["sha256"] for row in rows_of(alone) if row["status"] == "success"}
        found = {
            name.partition(".")[0]: hashlib.sha256(data).hexdigest()
            for name, data in members_of(alone).items()
            if not name.endswith(("json", "txt"))
        }
        assert found == digests
        assert stats_of(alone)[0]["successes"] == len(digests)


def pictures_in(folder: Path, urls: list[str]) -> set[str]:
    """Return the URLs of the pictures in whole shards and in begun ones."""
    whole = {row["url"] for row in rows_of(folder) if row["status"] == "success"}
    return whole | {urls[line["row"]] for line in journaled(folder) if line["outcome"]["status"] == "success"}


RUNS = st.lists(st.tuples(st.integers(0, 45), st.floats(0, 1), st.booleans()), min_size=1, max_size=4)
FIGURES = ("count", "successes", "failed_to_download", "failed_to_resize", "status_dict", "bytes")


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(runs=RUNS, size=st.sampled_from([3, 4, 12]), at_once=st.sampled_from([1, 4]))
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
    runs: list[tuple[int, float, bool]],
    size: int,
    at_once: int,
) -> None:
    home = tmp_path_factory.mktemp("killed")
    table, folder, at_once_folder = home / "list.jsonl", home / "shards", home / "at-once"
    # The last fails once, so that a shard that is begun again may be another than the one before.
    urls = [*(server.url(path) for path in (*PATHS, f"busy/500/1/none/{home.name}")), ""]
    table.write_text("".join(json.dumps({"url": url, "category": "c"}) + "\n" for url in urls))
    flags, kept = {**FLAGS, "shard_size": size, "concurrency": at_once}, set[str]()
    for steps, share, retry in [*runs, (10_000, 0.0, False), (10_000, 0.0, True)]:
        server.crowd.asked.clear()
        with pytest.MonkeyPatch.context() as patched, suppress(Killed):
            killing(patched, steps, share)
            cn.collect(table, output=folder, retry_failed=retry, **flags)
        server.settle()
        asked = {server.url(path[1:]) for path in server.crowd.paths}
        assert not asked & kept
        check_whole(folder)
        assert kept <= (kept := pictures_in(folder, urls))
    cn.collect(table, output=at_once_folder, **flags)
    assert rows_of(folder) == rows_of(at_once_folder)
    assert members_of(folder) == members_of(at_once_folder)
    ours, theirs = (
        [[stats[name] for name in FIGURES] for stats in stats_of(each)] for each in (folder, at_once_folder)
    )
    assert ours == theirs
    assert not list(folder.glob(".part*"))


# -- what failed -------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(tmp_path: Path, listing: Listing, server: Server) -> tuple[Path, Path]:
    """A list of which two URLs fail once, one always, and one is empty, and its shards; the server has forgotten it."""
    table = listing("1.jpg", "busy/500/1/none", "status/404", "2.png", "busy/503/1/none", "3.jpg")
    table.write_text(table.read_text() + ",cat,none,7\n")
    cn.collect(table, output=tmp_path / "shards", shard_size=4, **FLAGS)
    server.crowd.asked.clear()
    return table, tmp_path / "shards"


def test_what_failed_is_asked_for_again_where_a_person_says_so(
    failing: tuple[Path, Path], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    table, folder = failing
    before, members = rows_of(folder), members_of(folder)
    found = cn.collect(table, output=folder, shard_size=4, retry_failed=True, **{**FLAGS, "quiet": False})
    assert sorted(server.crowd.paths) == ["/busy/500/1/none", "/busy/503/1/none", "/status/404"]
    assert "7 URLs had been asked for before; 3 of them failed and are asked for again." in capsys.readouterr().err
    assert found.statuses == {"success": 5, "failed_to_download": 2, "failed_to_resize": 0}
    assert (found.fetched_rows, found.earlier_shards, found.whole_shards) == (3, 0, 2)
    assert found.reasons == {"HTTP 404": 1, "no URL": 1}
    after = rows_of(folder)
    assert [new for new, old in zip(after, before, strict=True) if old["status"] == "success"] == [
        old for old in before if old["status"] == "success"
    ]
    assert members.items() <= members_of(folder).items()
    assert len(members_of(folder)) == 15
    check_whole(folder)


def test_shards_in_which_nothing_failed_stay_as_they_are(
    tmp_path: Path, listing: Listing, server: Server, failing: tuple[Path, Path]
) -> None:
    table, folder = failing
    for _ in range(2):
        cn.collect(table, output=folder, shard_size=4, retry_failed=True, **FLAGS)
    # The second shard has only a row without a URL left.
    assert server.crowd.times["/status/404"] == 3
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("00001*")}
    found = cn.collect(table, output=folder, shard_size=4, retry_failed=True, **FLAGS)
    assert found.earlier_shards == 1
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("00001*")} == before


def test_without_the_flag_nothing_is_asked_again(failing: tuple[Path, Path], server: Server) -> None:
    table, folder = failing
    cn.collect(table, output=folder, shard_size=4, **FLAGS)
    assert not server.crowd.asked


@pytest.mark.parametrize("ending", [".tar", ".parquet"])
def test_a_damaged_shard_of_which_something_failed_is_begun_anew(
    failing: tuple[Path, Path], server: Server, ending: str
) -> None:
    table, folder = failing
    path = folder / f"00000{ending}"
    data = bytearray(path.read_bytes())
    data[700:] = bytes(len(data) - 700)
    path.write_bytes(data)
    found = cn.collect(table, output=folder, shard_size=4, retry_failed=True, **FLAGS)
    assert len(server.crowd.asked) == 4 + 1
    assert found.statuses["success"] == 5
    check_whole(folder)


def test_the_old_shard_stays_until_the_new_one_is_whole_which_is_gone_on_with(
    failing: tuple[Path, Path], server: Server, stop_after: Callable[[int], None]
) -> None:
    table, folder = failing
    before = {path.name: path.read_bytes() for path in folder.glob("0*")}
    stop_after(1)
    with pytest.raises(Killed):
        cn.collect(table, output=folder, shard_size=4, retry_failed=True, concurrency=1, **FLAGS)
    assert {path.name: path.read_bytes() for path in folder.glob("0*")} == before
    stop_after(-1)
    server.settle()
    server.crowd.asked.clear()
    found = cn.collect(table, output=folder, shard_size=4, **FLAGS)
    assert sorted(server.crowd.paths) == ["/busy/503/1/none", "/status/404"]
    assert found.statuses["success"] == 5


def test_killed_at_each_step_of_asking_again_the_shard_is_the_old_one_or_the_new_one(
    tmp_path: Path, listing: Listing, server: Server
) -> None:
    table, old, folder = listing("1.jpg", "busy/500/1/none", "2.png"), tmp_path / "old", tmp_path / "shards"
    cn.collect(table, output=old, **FLAGS)
    done, steps = False, 0
    while not done:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)
        with pytest.MonkeyPatch.context() as patched, suppress(Killed):
            killing(patched, steps, 0.5)
            cn.collect(table, output=folder, retry_failed=True, **FLAGS)
            done = True
        check_whole(folder)
        server.crowd.asked.clear()
        assert cn.collect(table, output=folder, retry_failed=True, **FLAGS).statuses["success"] == 3
        assert set(server.crowd.paths) <= {"/busy/500/1/none"}
        assert not list(folder.glob(".part*"))
        steps += 1
    assert steps > 10


def test_what_failed_in_a_begun_shard_is_asked_for_again(
    tmp_path: Path, listing: Listing, server: Server, stop_after: Callable[[int], None]
) -> None:
    table, folder = listing("1.jpg", "busy/500/1/none", "2.jpg", "3.jpg"), tmp_path / "shards"
    stop_after(3)
    with pytest.raises(Killed):
        cn.collect(table, output=folder, concurrency=1, **FLAGS)
    stop_after(-1)
    server.settle()
    server.crowd.asked.clear()
    found = cn.collect(table, output=folder, retry_failed=True, **FLAGS)
    assert sorted(server.crowd.paths) == ["/3.jpg", "/busy/500/1/none"]
    assert found.statuses["success"] == 4


# -- what is said ------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_to_do(tmp_path: Path, listing: Listing, server: Server) -> None:
    alone = cn.collect(listing("1.jpg"), output=tmp_path / "one", **FLAGS).summary()
    assert str(alone[0]).startswith(f"{tmp_path / 'one'}: 1 picture of 1 URL in 1 shard, ")
    assert str(alone[1]).startswith("1 URL asked for in ")
    assert alone[-1] == f"Next: curriculumnet ingest {tmp_path / 'one'}"
    assert not [line for line in alone if "--retry-failed" in str(line)]
    table = listing("1.jpg", "2.jpg", "status/404", "status/404")
    many = cn.collect(table, output=tmp_path / "many", shard_size=3, **FLAGS).summary()
    assert str(many[0]).startswith(f"{tmp_path / 'many'}: 2 pictures of 4 URLs in 2 shards, ")
    assert "2 URLs failed: --retry-failed asks for them again." in many
    assert not [line for line in many if "--allow-private" in str(line)]


def test_the_summary_names_the_flag_for_addresses_that_are_not_public(
    tmp_path: Path, listing: Listing, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curriculumnet.collection import addresses

    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    table = listing("1.jpg", server.url("2.jpg", "10.0.0.1"))
    said = cn.collect(table, output=tmp_path / "shards", **{**FLAGS, "allow_private": False}).summary()
    assert "The address of 1 URL is not public: --allow-private allows it." in said


@pytest.mark.parametrize(
    ("paths", "flags", "sentence"),
    [
        (["status/404", "status/404", "html/1"], ["--allow-private"], "(2): HTTP 404. --retry-failed asks"),
        (["1.jpg"], [], "(1): refused: the address of the host is not public. --retry-failed --allow-private asks"),
    ],
)
def test_where_not_one_picture_came_that_is_an_error(
    tmp_path: Path,
    listing: Listing,
    paths: list[str],
    flags: list[str],
    sentence: str,
) -> None:
    folder = tmp_path / "shards"
    for _ in range(2):
        words = ["collect", str(listing(*paths)), "-o", str(folder), "--quiet", *flags]
        ended = subprocess.run([sys.executable, "-m", "curriculumnet", *words], capture_output=True, text=True)
        assert ended.returncode == 3
        assert sentence in ended.stderr
    assert len(rows_of(folder)) == len(paths)


def test_a_list_without_any_url_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,category\n,cat\n,dog\n")
    with pytest.raises(SourceError, match=r"came of 2 URLs.*\(2\): no URL\. Mend the list"):
        cn.collect(tmp_path / "list.csv", output=tmp_path / "shards", **FLAGS)


def test_a_folder_in_place_of_a_list_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    with pytest.raises(SourceError, match="pics is a folder: give a table of URLs"):
        cn.collect(tmp_path / "pics", output=tmp_path / "shards", **FLAGS)


def test_why_there_is_no_picture_is_one_line_and_no_long_one(
    tmp_path: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(data: bytes) -> None:
        raise pictures.Unreadable("cannot be decoded:\r\n a\x1b[31m\u2028line \ud800" + " and more" * 100)

    monkeypatch.setattr(pictures, "probe", probe)
    with pytest.raises(SourceError) as error:
        cn.collect(listing("1.jpg"), output=tmp_path / "shards", **FLAGS)
    (row,) = rows_of(tmp_path / "shards")
    assert row["error_message"].startswith("cannot be decoded: a [31m line and more and more")
    assert len(row["error_message"]) == 200
    assert "\n" not in str(error.value)


def test_where_there_is_no_terminal_a_line_says_how_far_it_is_even_when_nothing_comes(
    tmp_path: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flow, "_TICK", 0.05)
    monkeypatch.setattr("curriculumnet.console._FIRST_LINE", 0.2)
    monkeypatch.setattr("curriculumnet.console._LINE_EVERY", 0.5)
    paths = ["slow/0.6/1.jpg", "slow/0.6/2.jpg"]
    cn.collect(listing(*paths), output=tmp_path / "shards", concurrency=1, **{**FLAGS, "quiet": False})
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "fetching: 0 of 2 URLs, none in under 1 s"
    assert second.startswith("fetching: 1 of 2 URLs, ")
