"""Plays the NVIDIA driver for whole processes: a folder for PYTHONPATH. FAKE_CARDS is how many cards there are."""

import os
from types import SimpleNamespace

GIB = 1024**3
NVML_DEVICE_MIG_ENABLE = 1


class NVMLError(Exception):
    """What the driver can't do."""


def _none(*_facts):
    return None


def _unknown(*_facts):
    raise NVMLError("Not Supported")


nvmlInit = nvmlShutdown = _none
nvmlDeviceGetMigMode = nvmlDeviceGetPowerUsage = _unknown


def nvmlSystemGetDriverVersion():
    return "550.54.14"


def nvmlDeviceGetCount():
    return int(os.environ.get("FAKE_CARDS", "0"))


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetName(_index):
    return "NVIDIA GeForce RTX 4090"


def nvmlDeviceGetMemoryInfo(_index):
    return SimpleNamespace(total=24 * GIB, used=GIB // 2, free=24 * GIB - GIB // 2)


def nvmlDeviceGetCudaComputeCapability(_index):
    return 8, 9


def nvmlDeviceGetComputeRunningProcesses(_index):
    return []
