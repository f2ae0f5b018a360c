"""Crawls on the network: an S3 server on this machine stands for a cloud's."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.errors import SourceError
from curriculumnet.images.archives import holder_of, open_bytes
from curriculumnet.images.duplicates import byte_digest
from curriculumnet.images.loader import Pictures
from curriculumnet.images.tar import open_tar
from curriculumnet.work.folder import WorkFolder

# botocore asks the time in a way that newer Pythons have grown tired of.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def png(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize((24, 20), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()


FILES = {
    f"{label}/{number:02}.png": png(100 * place + number)
    for place, label in enumerate(("cat", "dog"))
    for number in range(8)
}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket; what this process and its children know of the cloud is this server alone."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    import boto3

    boto3.client("s3").create_bucket(Bucket="crawls")
    try:
        yield "s3://crawls"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()


@pytest.fixture
def put(bucket: str) -> Callable[[str, bytes], None]:
    import boto3

    client = boto3.client("s3")

    def put_object(name: str, data: bytes) -> None:
        client.put_object(Bucket="crawls", Key=name, Body=data)

    return put_object


def in_tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, each in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return data.getvalue()


def in_zip(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return data.getvalue()


def write(layout: str, put: Callable[[str, bytes], None]) -> str:
    """Put the pictures into the bucket; return what to give as the source."""
    if layout == "folders":
        for name, data in FILES.items():
            put(f"folders/{name}", data)
        return "s3://crawls/folders/"
    if layout == "table":
        for name, data in FILES.items():
            put(f"table/{name}", data)
        put("table/list.csv", "\n".join(["file_name,label", *(f"{name},{name[:3]}" for name in FILES)]).encode())
        return "s3://crawls/table/list.csv"
    if layout == "tar":
        put("tar/crawl.tar", in_tar(FILES))
        return "s3://crawls/tar/crawl.tar"
    if layout == "part":
        put("part/crawl.tar", in_tar({f"in/{name}": data for name, data in FILES.items()}))
        return "s3://crawls/part/crawl.tar#in"
    if layout == "shards":
        names = list(FILES)
        for shard in range(2):
            files = {}
            for name in names[shard::2]:
                key = name.replace("/", "")[:-4]
                files |= {f"{key}.png": FILES[name], f"{key}.cls": name[:3].encode()}
            put(f"shards/{shard:06}.tar", in_tar(files))
        return "s3://crawls/shards"
    put("zip/crawl.zip", in_zip(FILES))
    return "s3://crawls/zip/crawl.zip"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("layout", ["folders", "table", "tar", "part", "shards", "zip"])
def test_a_crawl_in_a_bucket_is_read_where_it_lies(
    layout: str, workers: int, put: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    source = write(layout, put)
    result = cn.ingest(source, output=tmp_path / "work", val_share=0, workers=workers, quiet=True)
    images = result.table()
    assert {row["digest"] for row in images.to_pylist()} == {byte_digest(data) for data in FILES.values()}
    assert result.states == {"used": len(FILES)}
    assert sorted(result.categories) == ["cat", "dog"]
    project = WorkFolder.open(tmp_path / "work").project
    read = pickle.loads(pickle.dumps(Pictures(images, {k: v["root"] for k, v in project["sources"].items()})))
    for row in images.to_pylist():
        assert byte_digest(read.read(row["image_id"])) == row["digest"]
    finished = WorkFolder.open(tmp_path / "work").record("ingest")
    cn.ingest(source, output=tmp_path / "work", val_share=0, workers=0, quiet=True)
    assert WorkFolder.open(tmp_path / "work").record("ingest") == finished


def test_a_network_learns_from_a_bucket_and_answers_for_it(put: Callable[[str, bytes], None], tmp_path: Path) -> None:
    source = write("shards", put)
    work = tmp_path / "work"
    settings: dict[str, Any] = {"device": "cpu", "workers": 2, "quiet": True}
    cn.ingest(source, output=work, workers=0, quiet=True)
    cn.train(work, recipe="model-a", model="test_resnet", image_size=32, epochs=1, **settings)
    answers = cn.predict(work, [f"{write('folders', put)}cat/00.png", source + "/000000.tar"], **settings).table()
    assert answers.num_rows == 1 + len(FILES) // 2
    assert set(answers["state"].to_pylist()) == {"used"}


def test_the_work_folder_of_a_bucket_is_called_after_it(
    put: Callable[[str, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cn.ingest(write("folders", put), workers=0, quiet=True).work == Path("folders-work")
    assert cn.ingest(write("zip", put), workers=0, quiet=True).work == Path("crawl-work")


def test_what_is_added_to_a_bucket_is_seen(put: Callable[[str, bytes], None], tmp_path: Path) -> None:
    source = write("folders", put)
    before = cn.ingest(source, output=tmp_path / "work", workers=0, quiet=True)
    put("folders/dog/new.png", png(77))
    assert cn.ingest(source, output=tmp_path / "work", workers=0, quiet=True).seen == before.seen + 1


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("s3://crawls/nothing", "s3://crawls/nothing is not there, or may not be read"),
        ("s3://no-such-bucket/crawl", "s3://no-such-bucket/crawl (is not there|cannot be read)"),
        ("nosuch://crawl", r"nosuch:// cannot be read \(.*install what reads it"),
    ],
)
def test_what_is_not_there_gets_a_sentence(bucket: str, source: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=match):
        cn.ingest(source, output=tmp_path / "work", quiet=True)
    assert not (tmp_path / "work").exists()


def test_a_server_that_is_gone_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"http://127.0.0.1:9/crawl (cannot be read|holds no pictures)"):
        cn.ingest("http://127.0.0.1:9/crawl", output=tmp_path / "work", quiet=True)


class Site(SimpleHTTPRequestHandler):
    """A web server that says nothing, knows parts of files, and tells no times."""

    listed = True

    def list_directory(self, path: Any) -> Any:
        return super().list_directory(path) if self.listed else self.send_error(403)

    def do_GET(self) -> None:
        path, asked = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        if not (path.is_file() and asked.startswith("bytes=")):
            return super().do_GET()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        data = path.read_bytes()
        end = min(int(last) if last else len(data), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{end}/{len(data)}")
        self.send_header("Content-Length", str(end + 1 - int(first)))
        self.end_headers()
        self.wfile.write(data[int(first) : end + 1])
        return None

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Last-Modified":
            super().send_header(keyword, value)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Unlisted(Site):
    listed = False


class Whole(SimpleHTTPRequestHandler):
    """A web server that sends whole files only."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[type[SimpleHTTPRequestHandler]], str]]:
    """Serve a folder `site`, in which the pictures lie; return its URL."""
    for name, data in FILES.items():
        path = tmp_path / "site" / "pics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    lines = ["file_name,label", *(f"{name},{name[:3]}" for name in FILES), "dog/gone.png,dog"]
    (tmp_path / "site" / "pics" / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "site" / "crawl.tar").write_bytes(in_tar(FILES))
    (tmp_path / "site" / "crawl.zip").write_bytes(in_zip(FILES))
    started = []

    def start(handler: type[SimpleHTTPRequestHandler]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path / "site")))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


Serve = Callable[[type[SimpleHTTPRequestHandler]], str]


@pytest.mark.parametrize("what", ["pics/", "pics", "pics/list.csv", "crawl.tar", "crawl.zip"])
def test_a_crawl_on_a_web_server_is_read_and_can_be_used(serve: Serve, what: str, tmp_path: Path) -> None:
    source = f"{serve(Site)}/{what}"
    result = cn.ingest(source, output=tmp_path / "work", val_share=0, workers=0, quiet=True)
    assert result.states["used"] == len(FILES)
    exported = cn.export(tmp_path / "work", output=tmp_path / "out", format_="folders", quiet=True)
    assert exported.images == {"train": len(FILES)}


def test_a_server_that_lists_nothing_serves_a_table_and_what_it_names(serve: Serve, tmp_path: Path) -> None:
    source = f"{serve(Unlisted)}/pics/list.csv"
    result = cn.ingest(source, output=tmp_path / "work", val_share=0, workers=0, quiet=True)
    assert result.states == {"used": len(FILES), "missing": 1}


@pytest.mark.parametrize("name", ["crawl.tar", "crawl.zip"])
def test_an_archive_on_a_server_that_sends_no_parts_is_to_be_fetched(serve: Serve, name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"{name} may not be read \(the server sends whole files.*fetch it first"):
        cn.ingest(f"{serve(Whole)}/{name}", output=tmp_path / "work", quiet=True)


def test_a_tar_of_which_nothing_tells_the_time_is_read_anew(serve: Serve, tmp_path: Path) -> None:
    """Of the same size, only its bytes tell that it is another one; its index is not kept."""
    url = serve(Site)
    many = {f"{kind}/{number:04}.png": f"{kind} {number}".encode() for kind in ("cat", "dog") for number in range(600)}
    for order in (sorted(many), sorted(many, reverse=True)):
        (tmp_path / "site" / "many.tar").write_bytes(in_tar({name: many[name] for name in order}))
        holder, name = holder_of(f"{url}/many.tar", str(tmp_path / "indexes"))
        assert open_tar(holder, name).read("dog/0007.png") == b"dog 7"
    assert not (tmp_path / "indexes").exists()


def test_files_of_this_machine_have_urls_too(tmp_path: Path) -> None:
    for name, data in FILES.items():
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    files = open_bytes(f"file://{tmp_path / 'crawl'}")
    assert files.names() == sorted(FILES)
    assert files.top() == ["cat/", "dog/"]
    assert files.size("cat/00.png") == len(FILES["cat/00.png"])
    with pytest.raises(FileNotFoundError):
        files.size("cat/gone.png")
