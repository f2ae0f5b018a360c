"""curriculumnet: from a crawl of images with wrong labels to a trained classifier.

>>> import curriculumnet as cn
>>> result = cn.run("crawl/")                                       # doctest: +SKIP

Every name is loaded when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curriculumnet.version import __version__

if TYPE_CHECKING:
    from curriculumnet.collection.step import collect
    from curriculumnet.curriculum.estimator import CurriculumClustering
    from curriculumnet.curriculum.step import design
    from curriculumnet.embedding.step import embed
    from curriculumnet.evaluation.step import evaluate
    from curriculumnet.exporting.step import export
    from curriculumnet.ingestion.step import ingest
    from curriculumnet.noising.step import inject
    from curriculumnet.pipeline import demo, run, status
    from curriculumnet.prediction.step import predict
    from curriculumnet.reporting.step import report
    from curriculumnet.training.batches import CurriculumBatches
    from curriculumnet.training.step import train

_HOMES = {
    "CurriculumBatches": "curriculumnet.training.batches",
    "CurriculumClustering": "curriculumnet.curriculum.estimator",
    "collect": "curriculumnet.collection.step",
    "demo": "curriculumnet.pipeline",
    "design": "curriculumnet.curriculum.step",
    "embed": "curriculumnet.embedding.step",
    "evaluate": "curriculumnet.evaluation.step",
    "export": "curriculumnet.exporting.step",
    "ingest": "curriculumnet.ingestion.step",
    "inject": "curriculumnet.noising.step",
    "predict": "curriculumnet.prediction.step",
    "report": "curriculumnet.reporting.step",
    "run": "curriculumnet.pipeline",
    "status": "curriculumnet.pipeline",
    "train": "curriculumnet.training.step",
}

__all__ = [
    "CurriculumBatches",
    "CurriculumClustering",
    "__version__",
    "collect",
    "demo",
    "design",
    "embed",
    "evaluate",
    "export",
    "ingest",
    "inject",
    "predict",
    "report",
    "run",
    "status",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'curriculumnet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
