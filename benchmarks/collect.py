"""How fast `collect` fetches, and with how much memory, beside img2dataset.

10,000 URLs of JPEGs of about 20 KB are fetched from a server on loopback, a process of its own, under fifty host names
(127.0.0.1, 127.0.0.2, …; with ``--one-host``, for systems that have one loopback address, under one). Each program
fetches them in turn, twice, with the same number of cores, requests at a time and rows in a shard; the faster turn
counts. Memory is the peak of all its processes together, looked at five times a second by `ps`; pages that they share
count more than once. Lists, shards and server are in a temporary folder.

img2dataset runs in an environment of its own, ``--img2dataset PATH_OF_ITS_PYTHON``, without resizing, into the same
format: once keeping bytes unlooked at (``disable_all_reencoding``), which is less than `collect` does, and once
decoding each (``resize_mode no``, ``skip_reencode``), which is more. Without that flag `collect` is measured alone.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOSTS, DIFFERENT, TURNS = 50, 64, 2
ROWS_A_SHARD, AT_ONCE = 1_000, 64


class Server(asyncio.Protocol):
    """Answers every request with one of a few pictures, as quickly as Python can."""

    answers: list[bytes] = []  # noqa: RUF012  (filled once, by the process that serves)

    def connection_made(self, transport: Any) -> None:
        self.transport, self.came = transport, b""

    def data_received(self, data: bytes) -> None:
        self.came += data
        while b"\r\n\r\n" in self.came:
            head, _, self.came = self.came.partition(b"\r\n\r\n")
            number = int(head.split(b" ", 2)[1].strip(b"/").partition(b".")[0])
            self.transport.write(self.answers[number % len(self.answers)])
            if b"connection: close" in head.lower():
                self.transport.close()


def picture(seed: int) -> bytes:
    """Return a JPEG of about 20 KB."""
    from PIL import Image

    dots = random.Random(seed)
    small = Image.frombytes("RGB", (60, 45), dots.randbytes(60 * 45 * 3))
    file = io.BytesIO()
    small.resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG", quality=78)
    return file.getvalue()


def serve(told: Any) -> None:
    """Serve until the process is ended."""
    for seed in range(DIFFERENT):
        data = picture(seed)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        Server.answers.append(head.encode() + data)

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "0.0.0.0", 0, backlog=1024)
        told.send((server.sockets[0].getsockname()[1], sum(map(len, Server.answers)) // DIFFERENT))
        await server.serve_forever()

    asyncio.run(forever())


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds, and the peak memory of it and what it starts, in MB."""
    environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
    start, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        said.seek(0)
        if process.returncode:
            sys.exit(said.read().decode())
    return seconds, peak


def memory(root: int) -> float:
    """Return the resident memory of a process and of all that it has started, in MB."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent, _ in rows if parent in family}
    return sum(rss for pid, _, rss in rows if pid in family) / 1024


def pictures(folder: Path) -> int:
    """Return how many pictures the shards of a folder hold."""
    return sum(json.loads(path.read_text())["successes"] for path in folder.glob("*_stats.json"))


def commands(table: Path, img2dataset: str | None) -> dict[str, list[str]]:
    """Return what is measured; the folder to write to is added to each."""
    cores = str(os.cpu_count())
    found = {
        "collect": [
            *(sys.executable, "-m", "curriculumnet", "collect", str(table), "--allow-private", "--quiet"),
            *("--concurrency", str(AT_ONCE), "--per-host", str(AT_ONCE), "--shard-size", str(ROWS_A_SHARD), "-o"),
        ]
    }
    if img2dataset:
        theirs = [
            *(img2dataset, "-c", "from img2dataset import main; main()", f"--url_list={table}", "--input_format=csv"),
            *("--url_col=url", "--caption_col=query", '--save_additional_columns=["category"]', "--resize_mode=no"),
            *("--output_format=webdataset", f"--processes_count={cores}", f"--thread_count={AT_ONCE}"),
            f"--number_sample_per_shard={ROWS_A_SHARD}",
        ]
        found["img2dataset, bytes kept unlooked at"] = [*theirs, "--disable_all_reencoding=True", "--output_folder"]
        found["img2dataset, each decoded"] = [*theirs, "--skip_reencode=True", "--output_folder"]
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=10_000)
    parser.add_argument("--img2dataset", metavar="PYTHON")
    parser.add_argument("--one-host", action="store_true")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    port, size = here.recv()
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "urls.csv"
        hosts = 1 if given.one_host else HOSTS
        lines = [f"http://127.0.0.{1 + n % hosts}:{port}/{n}.jpg,cat,a cat" for n in range(given.urls)]
        table.write_text("\n".join(["url,category,query", *lines, ""]))
        print(f"{given.urls:,} URLs of {size / 1000:.1f} KB, {hosts} hosts, {os.cpu_count()} cores.\n")
        print(
            "| | seconds | URLs/s | peak memory, MB | rate: collect is | memory: collect is |",
            "|---|" + "---|" * 5,
            sep="\n",
        )
        ours: tuple[float, float] = (0.0, 0.0)
        for name, command in commands(table, given.img2dataset).items():
            turns = []
            for turn in range(TURNS):
                folder = Path(place) / f"{name}-{turn}"
                turns.append(measured([*command, str(folder)]))
                if pictures(folder) != given.urls:
                    sys.exit(f"{name} has fetched {pictures(folder):,} of {given.urls:,}.")
            best = min(turns)
            ours = ours if any(ours) else best
            ratios = f"{best[0] / ours[0]:.2f} x | {ours[1] / best[1]:.2f} x"
            print(f"| {name} | {best[0]:.1f} | {given.urls / best[0]:,.0f} | {best[1]:,.0f} | {ratios} |", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
