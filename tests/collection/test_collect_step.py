"""What becomes of URLs, by what servers answer."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curriculumnet as cn
from curriculumnet.collection import addresses
from curriculumnet.errors import SourceError, UsageError
from curriculumnet.images.archives import open_bytes

from .conftest import PICTURES, Server, perhaps_no_picture, picture, rows_of, stats_of

Listing = Callable[..., Path]


@pytest.fixture
def fetch(tmp_path: Path, listing: Listing) -> Callable[..., list[dict[str, Any]]]:
    """Fetch paths of the server, and return the rows of the shards."""

    def call(*paths: str, **flags: Any) -> list[dict[str, Any]]:
        flags = {"allow_private": True, "retries": 0, "quiet": True, **flags}
        with perhaps_no_picture(tmp_path / "shards"):
            cn.collect(listing(*paths), output=tmp_path / "shards", **flags)
        return rows_of(tmp_path / "shards")

    return call


def test_each_kind_of_picture_is_kept_as_it_came_under_an_ending_that_says_what_it_is(
    fetch: Callable[..., Any], tmp_path: Path
) -> None:
    rows = fetch("picture/a.jpg", "picture/b.png", "picture/c.webp", "picture/d.gif")
    assert [(row["status"], row["width"], row["height"]) for row in rows] == [("success", 40, 30)] * 4
    shard = open_bytes(str(tmp_path / "shards" / "00000.tar"))
    assert len(shard.names()) == 12
    for row, ending in zip(rows, ("jpg", "png", "webp", "gif"), strict=True):
        assert shard.read(f"{row['key']}.{ending}") == PICTURES[ending]


def test_a_picture_called_otherwise_is_what_it_is(fetch: Callable[..., Any], tmp_path: Path) -> None:
    fetch("to/" + quote("/picture/1.png", safe=""))
    assert "000000000.png" in open_bytes(str(tmp_path / "shards" / "00000.tar")).names()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("status/404", "failed_to_download", "HTTP 404"),
        ("status/500", "failed_to_download", "HTTP 500"),
        ("html/photo.jpg", "failed_to_resize", "a web page"),
        ("empty", "failed_to_resize", "empty file"),
        ("text", "failed_to_resize", "no known image format"),
        ("cut", "failed_to_download", "broken off before its end"),
        ("nothing", "failed_to_download", "broken off before its end"),
        ("noise", "failed_to_download", "no HTTP answer"),
        ("circle", "failed_to_download", "more than 5 redirects"),
        ("hops/6", "failed_to_download", "more than 5 redirects"),
        ("nowhere", "failed_to_download", "HTTP 302 that leads nowhere"),
        (
            "to/file:%2F%2F%2Fetc%2Fpasswd",
            "failed_to_download",
            "redirected to what is neither an http nor an https URL",
        ),
        ("to/http:%2F%2F[::bad", "failed_to_download", "redirected to what is not a URL"),
        ("announced", "failed_to_download", "more than 20 MB"),
        ("endless/fast", "failed_to_download", "more than 20 MB"),
        ("bomb", "failed_to_download", "more than 20 MB"),
        ("brotli", "failed_to_download", "a Content-Encoding that was not asked for"),
        ("file:///etc/passwd", "failed_to_download", "neither an http nor an https URL"),
        ("ftp://127.0.0.1/x.jpg", "failed_to_download", "neither an http nor an https URL"),
        ("http:///x.jpg", "failed_to_download", "not a URL"),
        ("http://127.0.0.1:99999/x.jpg", "failed_to_download", "not a URL"),
        ("http://127.0.0.1:1/x.jpg", "failed_to_download", "no connection"),
    ],
)
def test_what_is_no_picture_fails_with_a_reason(
    fetch: Callable[..., Any], tmp_path: Path, path: str, status: str, reason: str
) -> None:
    (row,) = fetch(path)
    assert row["status"] == status
    assert row["error_message"].startswith(reason)
    assert (row["width"], row["sha256"]) == (None, None)
    assert open_bytes(str(tmp_path / "shards" / "00000.tar")).names() == []


@pytest.mark.parametrize("path", ["hops/5", "zipped", "unmeasured", "chunked", "cookie", "a%20b/ü.jpg"])
def test_what_is_a_picture_in_the_end_is_one(fetch: Callable[..., Any], path: str) -> None:
    assert [row["status"] for row in fetch(path)] == ["success"]


@pytest.mark.parametrize("path", ["zipped", "twice_zipped", "deflated"])
def test_a_zipped_body_is_kept_unzipped(fetch: Callable[..., Any], tmp_path: Path, path: str) -> None:
    fetch(path)
    assert open_bytes(str(tmp_path / "shards" / "00000.tar")).read("000000000.jpg") == PICTURES["jpg"]


@pytest.mark.parametrize("path", ["endless/slowly", "slow/30"])
def test_a_file_takes_no_longer_than_it_may(fetch: Callable[..., Any], path: str) -> None:
    start = time.monotonic()
    (row,) = fetch(path, timeout=0.2)
    assert time.monotonic() - start < 5
    assert row["error_message"] == "not there after under 1 s"


def test_bytes_are_bounded(fetch: Callable[..., Any]) -> None:
    rows = fetch("picture/1.jpg", "unmeasured", "zipped", max_bytes=len(PICTURES["jpg"]) - 1)
    assert {row["error_message"][:9] for row in rows} == {"more than"}


# -- trying again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["busy/429/1/1", "busy/503/2/0", "busy/500/1/none", "busy/502/1/none"])
def test_what_passes_is_tried_again(fetch: Callable[..., Any], server: Server, path: str) -> None:
    assert [row["status"] for row in fetch(path, retries=2)] == ["success"]
    times = [when for _, _, when in server.crowd.asked]
    assert len(times) == int(path.split("/")[2]) + 1
    if path.endswith("429/1/1"):
        assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize("path", ["cut", "nothing", "status/503", "slow/30"])
def test_what_does_not_pass_is_given_up(fetch: Callable[..., Any], server: Server, path: str) -> None:
    assert [row["status"] for row in fetch(path, retries=1, timeout=1)] == ["failed_to_download"]
    assert len(server.crowd.asked) == 2


@pytest.mark.parametrize("path", ["status/404", "status/403", "html/1", "noise", "announced", "circle"])
def test_what_will_not_pass_is_not_tried_again(fetch: Callable[..., Any], server: Server, path: str) -> None:
    fetch(path, retries=3, max_redirects=0)
    assert len(server.crowd.asked) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_host_that_asks_for_long_is_left_alone(fetch: Callable[..., Any], server: Server, form: str) -> None:
    seconds = "3600" if form == "seconds" else formatdate(time.time() + 7200, usegmt=True)
    rows = fetch(f"busy/429/99/{quote(seconds)}", *(f"picture/{n}.jpg" for n in range(20)), per_host=1, retries=2)
    assert len(server.crowd.asked) == 1
    assert {row["error_message"] for row in rows} == {"the host asks to be left alone for longer than is waited"}


def test_while_a_host_is_left_alone_no_one_asks_it(fetch: Callable[..., Any], server: Server) -> None:
    fetch("busy/429/1/1", *(f"picture/{n}.jpg" for n in range(5)), per_host=1, retries=1)
    times = [when for _, _, when in server.crowd.asked]
    assert times[1] - times[0] >= 0.99
    assert len(times) == 7


# -- hosts ------------------------------------------------------------------------------------------------------------


def test_no_more_at_a_time_than_allowed_at_one_host_and_over_all(fetch: Callable[..., Any], server: Server) -> None:
    paths = [f"together/4/{n}.jpg" for n in range(12)]
    urls = [server.url(path, host) for path in paths for host in ("127.0.0.1", "localhost")]
    assert {row["status"] for row in fetch(*urls, per_host=3, concurrency=4)} == {"success"}
    assert server.crowd.most["all"] == 4
    assert max(server.crowd.most["127.0.0.1"], server.crowd.most["localhost"]) <= 3


def test_one_host_is_asked_as_much_as_allowed(fetch: Callable[..., Any], server: Server) -> None:
    fetch(*(f"together/3/{n}.jpg" for n in range(9)), per_host=3)
    assert server.crowd.most["127.0.0.1"] == 3


def test_a_connection_is_used_again(fetch: Callable[..., Any], server: Server) -> None:
    fetch(*(f"picture/{n}.jpg" for n in range(20)), per_host=1)
    assert (len(server.crowd.asked), server.crowd.connections) == (20, 1)


@pytest.mark.parametrize("when", ["at-once", "later"])
def test_what_a_server_sends_unasked_is_no_answer_to_what_is_asked_next(
    fetch: Callable[..., Any], server: Server, when: str
) -> None:
    paths = [path for n in range(2) for path in (f"more/{when}/{n}.jpg", f"picture/{n}.gif", f"picture/{n}.webp")]
    # What comes when the next has been asked for looks like its answer; what lies there before that does not.
    rows = fetch(*paths, per_host=1, host_rate=4)
    wanted = {ending: hashlib.sha256(PICTURES[ending]).hexdigest() for ending in ("jpg", "gif", "webp")}
    assert [row["sha256"] for row in rows] == [wanted[ending] for ending in ("jpg", "gif", "webp")] * 2


def test_a_host_that_never_answers_is_given_up_for_the_others(fetch: Callable[..., Any], server: Server) -> None:
    dead = [server.url(f"slow/30/{n}.jpg") for n in range(40)]
    rows = fetch(*dead, server.url("picture/1.jpg", "localhost"), per_host=4, timeout=0.2)
    reasons = Counter(row["error_message"] for row in rows)
    assert reasons[None] == 1
    assert reasons["the host does not answer"] >= 20
    assert len(server.crowd.asked) <= 21


def test_a_connection_that_the_server_has_closed_is_not(fetch: Callable[..., Any], server: Server) -> None:
    paths = ["unmeasured", "picture/1.jpg", "cut", "picture/2.jpg", "status/404", "picture/3.jpg"]
    rows = fetch(*paths, per_host=1)
    assert [row["status"] == "success" for row in rows] == [True, True, False, True, False, True]


def test_a_host_is_asked_no_oftener_than_allowed(fetch: Callable[..., Any], server: Server) -> None:
    start = time.monotonic()
    fetch(*(f"picture/{n}.jpg" for n in range(5)), host_rate=10)
    # Not since the first came: on a slow machine that is seen later than it was sent.
    assert max(when for _, _, when in server.crowd.asked) - start >= 0.39


# -- who may be asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_asked_unless_allowed(fetch: Callable[..., Any], server: Server, host: str) -> None:
    (row,) = fetch(server.url("picture/1.jpg", host), allow_private=False)
    assert row["error_message"] in ("refused: the address of the host is not public", "no such host", "not a URL")
    assert not server.crowd.asked


@pytest.mark.parametrize("target", ["http://10.0.0.1/x", "http://169.254.169.254/latest/meta-data/", "http://[::1]/x"])
def test_no_redirect_leads_into_a_private_network(
    fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    public = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" or public(address))
    (row,) = fetch(f"to/{quote(target, safe='')}", allow_private=False)
    assert row["error_message"] == "refused: the address of the host is not public"


def test_a_name_that_resolves_otherwise_the_second_time_leads_nowhere(
    fetch: Callable[..., Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    # The first address is connected to, which the tests' own guard denies; the name is not resolved again for it.
    rows = fetch(server.url("picture/1.jpg", "rebinding.test"), allow_private=False)
    assert asked == ["rebinding.test"]
    assert rows[0]["error_message"].startswith("no connection")
    # A second try resolves anew, and looks anew.
    assert not server.crowd.asked


def test_of_several_addresses_only_public_ones_are_connected_to(
    fetch: Callable[..., Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    assert fetch(server.url("1.jpg", "both.test"), allow_private=False)[0]["error_message"].startswith("no connection")
    assert not server.crowd.asked


def test_the_environments_proxies_are_not_used(
    fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch("picture/1.jpg")[0]["status"] == "success"
    assert server.crowd.paths == ["/picture/1.jpg"]


def test_credentials_stay_with_their_host_and_cookies_are_not_kept(fetch: Callable[..., Any], server: Server) -> None:
    there = quote(server.url("cookie/1", "localhost"), safe="")
    fetch(server.url(f"to/{there}", "me:secret@127.0.0.1"), server.url("cookie/1"), server.url("cookie/2"), per_host=1)
    sent = {path: headers for path, headers, _ in server.crowd.asked}
    assert sent[f"/to/{there}"]["Authorization"] == "Basic bWU6c2VjcmV0"
    assert [path for path, headers in sent.items() if "Authorization" in headers] == [f"/to/{there}"]
    assert not [path for path, headers in sent.items() if "Cookie" in headers or "Referer" in headers]


@pytest.mark.parametrize(
    ("given", "sent"), [(None, f"curriculumnet/{cn.__version__}"), ("Mine/2.0 (+me)", "Mine/2.0 (+me)")]
)
def test_the_user_agent_is_named(fetch: Callable[..., Any], server: Server, given: str | None, sent: str) -> None:
    fetch("picture/1.jpg", user_agent=given)
    headers = server.crowd.asked[0][1]
    assert headers["User-Agent"] == sent
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize(
    ("value", "left_out"),
    [
        ("noai", True),
        ("NoImageAI, nofollow", True),
        ("nofollow, noindex", True),
        ("noimageindex", True),
        ("nofollow", False),
        ("curriculumnet: noai", True),
        ("otherbot: noai", False),
        ("otherbot: noindex, nofollow", False),
        ("*: noindex", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", True),
        ("unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noindex", True),
        ("none", True),
        ("max-image-preview: large", False),
    ],
)
def test_opting_out_is_heeded(fetch: Callable[..., Any], value: str, left_out: bool) -> None:
    (row,) = fetch(f"robots/{quote(value)}")
    assert row["error_message"] == ("opted out by X-Robots-Tag" if left_out else None)


def test_opting_out_is_not_heeded_where_a_person_says_so(fetch: Callable[..., Any]) -> None:
    assert fetch("robots/noai", opt_outs=False)[0]["status"] == "success"


def test_opting_out_for_the_name_that_is_given(fetch: Callable[..., Any]) -> None:
    assert fetch("robots/mine:%20noai", user_agent="Mine/1.0")[0]["status"] == "failed_to_download"


# -- the list ---------------------------------------------------------------------------------------------------------


def test_rows_without_url_or_category_are_counted_and_named(tmp_path: Path, server: Server) -> None:
    table = tmp_path / "list.jsonl"
    rows = [
        {"url": server.url("1.jpg"), "category": "cat"},
        {"url": "", "category": "cat"},
        {"url": server.url("2.jpg")},
        {"category": "dog", "url": server.url("3.jpg"), "rank": 3, "width": 900, "tags": ["a"]},
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    found = cn.collect(table, output=tmp_path / "shards", allow_private=True, quiet=True)
    assert (found.without_url, found.without_category) == ((2,), (3,))
    assert found.statuses == {"success": 2, "failed_to_download": 2, "failed_to_resize": 0}
    assert found.reasons == {"no URL": 1, "no category": 1}
    assert "Without URL: row 2 of the list." in found.summary()
    written = rows_of(tmp_path / "shards")
    assert [row["label"] for row in written] == ["cat", "cat", None, "dog"]
    assert [row["caption"] for row in written] == ["cat", "cat", None, "dog"]
    assert (written[3]["rank"], written[3]["list_width"], written[3]["width"]) == (3, 900, 40)
    assert "tags" not in written[3]
    assert len(server.crowd.asked) == 2


def test_columns_of_other_names(tmp_path: Path, server: Server) -> None:
    table = tmp_path / "list.tsv"
    table.write_text(f"link\tword\tsearch\tlabel\n{server.url('1.jpg')}\tcat\tcats!\tother\n")
    flags = {"url_column": "link", "category_column": "word", "query_column": "search"}
    cn.collect(table, output=tmp_path / "shards", allow_private=True, quiet=True, **flags)
    (row,) = rows_of(tmp_path / "shards")
    assert (row["label"], row["caption"], row["list_label"]) == ("cat", "cats!", "other")


def test_parquet_keeps_the_types_of_its_columns(tmp_path: Path, server: Server) -> None:
    table = pa.table(
        {"url": [server.url("1.jpg")] * 2, "category": ["a", "b"], "score": [0.5, float("nan")], "n": [1, 2]}
    )
    pq.write_table(table, tmp_path / "list.parquet")
    cn.collect(tmp_path / "list.parquet", output=tmp_path / "shards", allow_private=True, quiet=True)
    schema = pq.read_schema(tmp_path / "shards" / "00000.parquet")
    assert (schema.field("score").type, schema.field("n").type) == (pa.float64(), pa.int64())
    assert [row["score"] for row in rows_of(tmp_path / "shards")] == [0.5, None]


def test_exif_is_kept_as_text(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Leica", 6
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=exif)
    monkeypatch.setitem(PICTURES, "exif", file.getvalue())
    monkeypatch.setitem(PICTURES, "plain", picture("JPEG"))
    (tmp_path / "l.csv").write_text(
        f"url,category\n{server.url('picture/1.exif')},a\n{server.url('picture/1.plain')},a\n"
    )
    cn.collect(tmp_path / "l.csv", output=tmp_path / "shards", allow_private=True, quiet=True)
    with_exif, plain = rows_of(tmp_path / "shards")
    assert json.loads(with_exif["exif"]) == {"Image Make": "Leica", "Image Orientation": "6"}
    assert (with_exif["width"], with_exif["height"]) == (30, 40)
    assert plain["exif"] == "{}"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.csv", None, "is not there"),
        ("list.txt", "http://x", "no list of URLs"),
        ("list.csv", "", "no column 'url'"),
        ("list.csv", "url,word\nhttp://x,cat\n", "no column 'category'.*--category-column"),
        ("list.csv", "url,category\n", "has no row"),
        ("list.csv", "url,category\na,b,c\n", "has 3 values"),
        ("list.parquet", "no parquet", "no Parquet table"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=words):
        cn.collect(tmp_path / name, output=tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    "flags",
    [
        *({"concurrency": 0}, {"per_host": 0}, {"host_rate": 0.0}, {"timeout": 0.0}, {"timeout": float("nan")}),
        *({"max_bytes": 0}, {"max_redirects": -1}, {"retries": -1}, {"max_wait": -1.0}, {"shard_size": 0}),
        {"user_agent": "two\nlines"},
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, flags: dict[str, Any]) -> None:
    name = f"--{next(iter(flags)).replace('_', '-')}"
    with pytest.raises(UsageError, match=name):
        cn.collect(tmp_path / "list.csv", output=tmp_path / "shards", **flags)


# -- whatever the server answers --------------------------------------------------------------------------------------

ANSWERS = (
    "picture/1.jpg", "picture/1.png", "status/404", "status/500", "html/1.jpg", "empty", "text", "cut", "nothing",
    "noise", "circle", "nowhere", "to/file:%2F%2F%2Fx", "zipped", "unmeasured", "chunked", "robots/noai", "announced",
    "file:///x", "http://[", "", "hops/2", "brotli", "http://127.0.0.1:1/",
)  # fmt: skip


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=25), st.integers(1, 12), st.integers(1, 8))
def test_whatever_the_server_answers_each_row_is_written_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, server: Server, paths: list[str], shard_size: int, at_once: int
) -> None:
    folder = tmp_path_factory.mktemp("whatever")
    urls = [path if "://" in path or not path else server.url(path) for path in paths]
    (folder / "list.jsonl").write_text("\n".join(json.dumps({"url": url, "category": "c"}) for url in urls))
    flags = {"shard_size": shard_size, "concurrency": at_once, "allow_private": True, "retries": 0, "quiet": True}
    with perhaps_no_picture(folder / "shards"):
        cn.collect(folder / "list.jsonl", output=folder / "shards", **flags)
    rows = rows_of(folder / "shards")
    assert [row["url"] for row in rows] == [url or None for url in urls]
    assert len({row["key"] for row in rows}) == len(rows)
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    assert all((row["error_message"] is None) == (row["status"] == "success") for row in rows)
    members = [name for tar in (folder / "shards").glob("*.tar") for name in open_bytes(str(tar)).names()]
    stats = stats_of(folder / "shards")
    assert len(members) == 3 * sum(each["successes"] for each in stats)
    assert sum(each["count"] for each in stats) == len(paths)


HEADERS = ("Content-Length", "Transfer-Encoding", "Content-Encoding", "Location", "Retry-After", "X-Robots-Tag")
VALUES = (
    "0", "5", "-1", "9" * 30, "1e3", "", "chunked", "gzip", "deflate", "br", "gzip, gzip", "//", "http://", "http://[",
    "http://127.0.0.1:1/", "file:///x", "\u00e9", "Thu, 99 Foo 99999 99:99:99 +9999", "Mon, 1 Jan 0001 00:00:00 -2359",
    "noai", ":", ",", "unavailable_after:",
)  # fmt: skip
HEADS = st.lists(
    st.tuples(st.sampled_from(HEADERS), st.one_of(st.sampled_from(VALUES), st.text(max_size=8))), max_size=4
)
STATUS_LINES = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.0 200", "HTTP/1.1 302 Found", "HTTP/1.1 429 No", "HTTP/9 1", ""]
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(STATUS_LINES, HEADS, st.binary(max_size=40)), min_size=20, max_size=20))
def test_nothing_that_is_sent_in_place_of_http_ends_the_command(
    tmp_path_factory: pytest.TempPathFactory, server: Server, sent: list[tuple[str, list[tuple[str, str]], bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("sent")
    answers = [
        "\r\n".join([first, *(f"{name}: {value}" for name, value in head), "", ""]).encode("utf-8", "replace") + body
        for first, head, body in sent
    ]
    rows = [f"{server.url(f'raw/{answer.hex()}')},c" for answer in answers]
    (folder / "list.csv").write_text("\n".join(["url,category", *rows]))
    flags = {"allow_private": True, "retries": 0, "max_wait": 0.0, "timeout": 1.0, "quiet": True}
    with perhaps_no_picture(folder / "shards"):
        cn.collect(folder / "list.csv", output=folder / "shards", **flags)
    assert len(rows_of(folder / "shards")) == len(sent)
