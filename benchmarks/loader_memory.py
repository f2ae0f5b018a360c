"""How much memory the loader takes by the number of rows it may be asked for: peaks of the process and of a worker.

Each number of rows is a process of its own, with one worker that is forked, or spawned as on macOS and Windows. 3,000
pictures are loaded in random order; the table has a name of 40 characters a row, of which each stands for one of a
thousand small pictures. `kept` is what the table itself takes. Give numbers of rows as arguments; ten million by
default.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from memory import pictures

FILES = 1000
LOAD = """
import multiprocessing, resource, sys
import numpy as np
import pyarrow as pa
from curriculumnet.images.loader import Pictures, even_batches, load
from curriculumnet.images.views import TrainingView

if __name__ == "__main__":
    root, rows, start = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    multiprocessing.set_start_method(start)
    names = pa.array(open(f"{root}/names").read().split("\\n"))
    source = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["crawl"]))
    table = pa.table({"source": source, "file_name": names.take(pa.array(np.arange(rows) % len(names)))})
    kept = table.nbytes
    ids = np.random.default_rng(0).permutation(rows)[:3000]
    read = 0
    for batch in load(Pictures(table, {"crawl": root}), even_batches(ids, 100), TrainingView(32), workers=1):
        read += len(batch[0])
    most = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{kept / 1e6:.0f} | {most[0]:.0f} | {most[1]:.0f} |", read)
"""


def main() -> None:
    """Measure, and print the table."""
    asked = [int(argument) for argument in sys.argv[1:]] or [10_000, 10_000_000]
    print("| rows | workers are | table, MB | process, MB | worker, MB |", "|---|---|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory() as home:
        names = []
        for name, data in pictures(FILES):
            path = Path(home, f"{name.replace(' ', '_')}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            names.append(path.relative_to(home).as_posix())
        Path(home, "names").write_text("\n".join(names), encoding="utf-8")
        program = Path(home, "load.py")
        program.write_text(LOAD, encoding="utf-8")
        for start in ("fork", "spawn"):
            for rows in asked:
                command = [sys.executable, str(program), home, str(rows), start]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                figures, read = done.stdout.rsplit("|", 1)
                if int(read) != min(3000, rows):
                    raise SystemExit(f"{read} of 3,000 pictures were loaded.")
                print(f"| {rows:,} | {start}ed | {figures}|", flush=True)


if __name__ == "__main__":
    main()
