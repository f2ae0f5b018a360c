"""Where a network computes."""

import pytest
import torch

from curriculumnet.errors import MachineError, UsageError
from curriculumnet.networks.device import native_precision, resolve_device


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert native_precision(torch.device("cpu")) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("found", [True, False])
def test_auto_takes_a_gpu_if_there_is_one(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    assert resolve_device("auto").type == ("cuda" if found else "cpu")


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cpu:1", "CUDA"])
def test_a_name_of_no_device_is_wrong_use(device: str) -> None:
    with pytest.raises(UsageError, match="must be auto, cpu, cuda or cuda:N") as caught:
        resolve_device(device)
    assert caught.value.exit_code == 2


def test_a_device_that_is_absent_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="no GPU can be used on this machine") as caught:
        resolve_device("cuda")
    assert caught.value.exit_code == 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(MachineError, match="has cuda:0, cuda:1 only"):
        resolve_device("cuda:2")
