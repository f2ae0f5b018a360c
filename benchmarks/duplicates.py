"""Near copies: how many of the known ones are found by radius, and what hashing and searching cost, as Markdown.

Run by ``python benchmarks/duplicates.py --crawl tinyweb40.tar``; takes about five minutes on one core, of which the
searches of 10 million pictures take four. Without ``--crawl`` only the costs are measured, on hashes drawn at random.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from curriculumnet.images.decode import decode
from curriculumnet.images.duplicates import (
    CONFIRMED_COSINE,
    CONFIRMED_RADIUS,
    NEAR_RADIUS,
    confirmed,
    mirrored,
    near_groups,
    near_pairs,
    perceptual_hashes,
    same_hashes,
)

RADII = range(3, 11)
COUNTS = (20_000, 1_000_000, 10_000_000)


NETWORK, SIDE = "tf_efficientnet_lite0", 64


def features_of(pictures: list[bytes]) -> NDArray[np.float32]:
    """Return the features of a network trained on ImageNet, whose weights the extra `weights` has."""
    import torch

    from curriculumnet.images.views import CentreView
    from curriculumnet.networks.create import create, normalise, preprocessing

    network = create(NETWORK, 0, image_size=SIDE, pretrained=True).eval()
    look = preprocessing(NETWORK, SIDE, pretrained=True)
    view = CentreView(SIDE, look.interpolation, look.crop_pct)
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), 64):
            views = np.concatenate([view(data, 0) for data in pictures[start : start + 64]])
            found.append(network(normalise(torch.from_numpy(views), look, torch.device("cpu"))).numpy())
    return np.concatenate(found)


def pictures_of_crawl(path: Path) -> tuple[list[bytes], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pictures, the row of which each is a copy in the end, and the pairs of near copies."""
    with tarfile.open(path) as tar:
        files = {name.partition("/")[2]: tar.getmember(name) for name in tar.getnames()}

        def read(name: str) -> bytes:
            stream = tar.extractfile(files[name])
            assert stream is not None
            return stream.read()

        truth = list(csv.DictReader(io.StringIO(read("truth.csv").decode())))
        pictures = [read(row["file_name"]) for row in truth]
    number = {row["file_name"]: place for place, row in enumerate(truth)}
    original = np.array([number[row["copy_of"] or row["file_name"]] for row in truth])
    near = np.array([(number[row["copy_of"]], number[row["file_name"]]) for row in truth if row["copy"] == "near"])
    while (original != original[original]).any():
        original = original[original]
    return pictures, original, near


def found_and_wrong(path: Path) -> None:
    """Print for each radius the share of the known near copies found and how many pairs are wrong."""
    pictures, original, near = pictures_of_crawl(path)
    hashes = np.array([perceptual_hashes(decode(data)) for data in pictures])
    n = len(hashes)
    print(f"\n{n:,} pictures, {len(near)} known near copies, {n * (n - 1) // 2:,} pairs\n")
    print("| radius | found, whole | found | pairs | wrong, whole | wrong | wrong, with mirrored | in groups |")
    print("|---|---|---|---|---|---|---|---|")
    same = same_hashes(hashes)
    for radius in RADII:
        whole, both = (_distances(hashes[:, :columns], near) <= radius for columns in (1, 2))
        cells = [f"{radius}{' (default)' * (radius == NEAR_RADIUS)}", f"{whole.mean():.1%}", f"{both.mean():.1%}"]
        pairs = near_pairs(hashes, radius, mirrored=True)
        cells.append(f"{len(pairs)}")
        for columns, mirror in ((1, False), (2, False), (2, True)):
            others = near_pairs(hashes[:, :columns], radius, mirrored=mirror)
            cells.append(f"{(original[others[:, 0]] != original[others[:, 1]]).sum()}")
        group = near_groups(n, pairs, same=same)
        together = (group[near[:, 0]] == group[near[:, 1]]) & (group[near[:, 0]] >= 0)
        print("|", " | ".join([*cells, f"{together.mean():.1%}"]), "|")
    features = features_of(pictures)
    print(f"\nConfirmed by features of {NETWORK} at {SIDE} px\n\n| radius | cosine | found | pairs | wrong |")
    print("|---|---|---|---|---|")
    for radius in (NEAR_RADIUS, CONFIRMED_RADIUS, max(RADII)):
        for least in (0.6, CONFIRMED_COSINE, 0.8):
            pairs = near_pairs(hashes, radius, mirrored=True)
            pairs = pairs[confirmed(pairs, features, least)]
            found = (_distances(hashes, near) <= radius) & confirmed(near, features, least)
            wrong = (original[pairs[:, 0]] != original[pairs[:, 1]]).sum()
            print(f"| {radius} | {least} | {found.mean():.1%} | {len(pairs)} | {wrong} |")


def _distances(hashes: NDArray[np.uint64], pairs: NDArray[np.int64]) -> NDArray[np.uint8]:
    first, second = hashes[pairs[:, 0]], hashes[pairs[:, 1]]
    return np.bitwise_count(first[:, :, None] ^ second[:, None, :]).min(axis=(1, 2))


def cost_of_hash() -> None:
    """Print what the hashes cost beside decoding, on a photograph of 500 x 375."""
    data = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize((500, 375)).save(data, "JPEG", quality=90)
    pixels = simplejpeg.decode_jpeg(data.getvalue())
    decoding = _median_seconds(lambda: simplejpeg.decode_jpeg(data.getvalue()))
    hashing = _median_seconds(lambda: perceptual_hashes(pixels))
    print("\n| 500 x 375 | microseconds | of decoding |", "|---|---|---|", sep="\n")
    print(f"| decode | {decoding * 1e6:.0f} | |")
    print(f"| both hashes | {hashing * 1e6:.0f} | {hashing / decoding:.3f} |")


def _median_seconds(action: Callable[[], object]) -> float:
    seconds = []
    for _ in range(500):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def crawl_of_hashes(n: int, seed: int) -> NDArray[np.uint64]:
    """Return hashes at random, of which one in twenty is a copy of another with up to 6 bits changed or mirrored."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(1, 2**64, n, dtype=np.uint64)
    copies = generator.permutation(n)[: n // 20]
    copied = hashes[generator.integers(0, n, len(copies))]
    for _ in range(6):
        bit = np.uint64(1) << generator.integers(0, 64, len(copies), dtype=np.uint64)
        copied ^= np.where(generator.random(len(copies)) < 0.6, bit, np.uint64(0))
    hashes[copies] = np.where(generator.random(len(copies)) < 0.2, mirrored(copied), copied)
    return hashes


def cost_of_search(n: int, columns: int, radius: int) -> str:
    """Return a row of the table: the processor's seconds, and the peak memory of the process, which should be new."""
    near_pairs(crawl_of_hashes(30_000, seed=1), radius)  # Compiles.
    hashes = np.stack([crawl_of_hashes(n, seed) for seed in range(columns)], axis=1)
    start = time.process_time()
    pairs = near_pairs(hashes, radius, mirrored=True)
    searching = time.process_time() - start
    start = time.process_time()
    group = near_groups(n, pairs, same=same_hashes(hashes))
    grouping = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = [f"{n:,}", str(columns), str(radius), f"{searching:.1f}", f"{grouping:.1f}", f"{len(pairs):,}"]
    figures += [f"{(group >= 0).sum():,}", f"{hashes.nbytes / 2**20:,.0f}", f"{peak:,.0f}"]
    return "| " + " | ".join(figures) + " |"


def main() -> None:
    """Measure, and print the tables as they grow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawl", type=Path, help="tinyweb40.tar, where known near copies are counted")
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS, help="hashes to search")
    parser.add_argument("--radius", type=int, default=NEAR_RADIUS)
    parser.add_argument("--columns", type=int, nargs="*", default=(1, 2), help="hashes per picture")
    arguments = parser.parse_args()
    cost_of_hash()
    if arguments.crawl:
        found_and_wrong(arguments.crawl)
    print("\n| pictures | hashes each | radius | s search | s groups | pairs | in groups | MB of hashes | MB peak |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    context = multiprocessing.get_context("spawn")
    for n in arguments.counts:
        for columns in arguments.columns:
            with context.Pool(1) as pool:
                print(pool.apply(cost_of_search, (n, columns, arguments.radius)), flush=True)


if __name__ == "__main__":
    main()
