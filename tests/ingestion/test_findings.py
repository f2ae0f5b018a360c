"""What the scan found comes back from its columns as it was, for any findings in any order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.images.quality import SCORES
from curriculumnet.ingestion.findings import STATES, Findings
from curriculumnet.ingestion.scan import Found

digests = st.binary(min_size=16, max_size=16).map(bytes.hex)
scores = st.floats(0, 1, width=32)
decoded = st.builds(
    Found,
    state=st.sampled_from(["used", "refused"]),
    reason=st.sampled_from(["", "too small"]),
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    format=st.sampled_from(["JPEG", "PNG"]),
    bytes=st.integers(0, 2**40),
    digest=digests,
    pixel_digest=digests,
    phash=st.integers(0, 2**64 - 1),
    phash_centre=st.integers(0, 2**64 - 1),
    **dict.fromkeys(SCORES, scores),
)
unreadable = st.builds(
    Found,
    state=st.sampled_from(["missing", "broken", "refused"]),
    reason=st.text(max_size=4),
    bytes=st.none() | st.integers(0, 9),
    digest=st.none() | digests,
    # What is not given would be made up.
    **dict.fromkeys(("width", "height", "format", "pixel_digest", "phash", "phash_centre", *SCORES), st.none()),
)


@given(st.lists(decoded | unreadable, min_size=1, max_size=12), st.integers(0, 99))
def test_what_was_put_comes_back(found: list[Found], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(found)).tolist()
    findings = Findings(len(found))
    for part in filter(None, (order[:3], order[3:])):
        findings.put(np.array(part, dtype=np.int64), [found[row] for row in part])
    columns = findings.columns(slice(None))
    assert [STATES[code] for code in findings.state] == [each.state for each in found]
    assert findings.reasons.column(findings.reason).to_pylist() == [each.reason for each in found]
    for name in Found._fields[2:]:
        assert columns[name].to_pylist() == [getattr(each, name) for each in found], name

    images = pa.table(
        {"state": [each.state for each in found], "reason": [each.reason for each in found], **columns}
    ).filter(pa.array([each.state in ("broken", "refused", "used") for each in found]))
    kept = [each for each in found if each.state != "missing"]
    known = Findings(len(kept))
    known.put_known(np.arange(len(kept)), images)
    assert [STATES[code] for code in known.state] == [each.state for each in kept]
    again = known.columns(slice(None))
    assert all(again[name].to_pylist() == [getattr(each, name) for each in kept] for name in Found._fields[2:])
