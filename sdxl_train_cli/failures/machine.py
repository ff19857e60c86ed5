"""Failures of the machine: GPU, driver, memory, disk, processes, and what the system refuses."""

from __future__ import annotations

from sdxl_train_cli.failures.signature import OS_ERROR, Failure, Rank, Signature

_LESS_MEMORY = (
    "--batch-size 1 --set gradient_checkpointing=true, or a smaller preset: `sdxl-train plan` names what fits;"
    " and close programs that use the GPU"
)
_MORE_MEMORY = "close programs, enlarge the swap or paging file (to 40 GB and more), or --set lowram=true"
_NO_WORKERS = "--set max_data_loader_n_workers=0 --set persistent_data_loader_workers=false"

MACHINE = (
    Signature(
        "gpu-memory", Failure.GPU_MEMORY,
        r"\b(?:torch|cuda)\.OutOfMemoryError|(?:CUDA|HIP|MPS|XPU)(?: backend| driver)?(?: error:)? out of memory"
        r"|hipErrorOutOfMemory|cudaErrorMemoryAllocation|CU(?:BLAS|DNN|SPARSE)_STATUS_ALLOC_FAILED"
        r"|not enough GPU video memory|Error out of memory at line|outofmemory\.OutOfMemoryError"
        r"|Allocation on device \d* ?would exceed|NVML_SUCCESS == r INTERNAL ASSERT",
        "the GPU's memory ran out", _LESS_MEMORY, "torch; sd-scripts #661, #1152", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "cudnn-start", Failure.GPU_MEMORY,
        r"CU(?:BLAS|DNN)_STATUS_(?:NOT_INITIALIZED|INTERNAL_ERROR)|unable to find an engine to execute"
        r"|Unable to find a valid cuDNN algorithm",
        "CUDA's libraries could not start their work: most often the GPU's memory is full",
        f"{_LESS_MEMORY}; if it has room, update the NVIDIA driver", "torch; cuDNN and cuBLAS",
    ),
    Signature(
        "too-many-maps", Failure.SYSTEM, r"unable to mmap \d+ bytes from file <[^>]*>: Cannot allocate memory",
        "the data loader shares more pieces of memory than the system lets a process have",
        _NO_WORKERS + ", or raise vm.max_map_count with sysctl", "torch, Linux; sd-scripts #1790", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "host-memory", Failure.HOST_MEMORY,
        r"DefaultCPUAllocator: (?:not enough memory|can't allocate)|paging file is too small"
        r"|(?<![A-Za-z])(?:_Array)?MemoryError\b|Cannot allocate memory|" + OS_ERROR.format("12|1455") + r"|std::bad_alloc|bad allocation|enforce fail at alloc_cpu",
        "the computer's own memory ran out", _MORE_MEMORY, "torch, Windows; bmaltais/kohya_ss #235, #449, #1398",
        Rank.ROOT, anywhere=True,
    ),
    Signature(
        "killed", Failure.HOST_MEMORY,
        r"Signals\.SIGKILL|Signal 9 \(SIGKILL\)|exit ?(?:status|code)[:)]? ?(?:137|-9)\b|^Killed$|killed by signal: Killed",
        "the computer's own memory ran out, or something killed the trainer", _MORE_MEMORY,
        "Linux' out-of-memory killer; sd-scripts #1065", Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "access-violation", Failure.HOST_MEMORY,
        r"exit (?:status|code):? ?(?:3221225477|3221226505|2147483651|-1073741819|-1073740791|139|-11|134|-6)\b"
        r"|exitcode: (?:3221225477|-11|-6)\b|0xC0000005|Signals\.SIG(?:SEGV|ABRT)|^Segmentation fault|^Aborted|Windows fatal exception: access violation",
        "the computer's own memory ran out while a model was loaded, or a driver crashed; no error tells which",
        f"{_MORE_MEMORY}; then update the NVIDIA driver", "Windows, Linux; bmaltais/kohya_ss #1065, #2977",
        Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "old-processor", Failure.SYSTEM, r"exit status 3221225501|Signals\.SIGILL|^Illegal instruction",
        "the processor lacks an instruction that a package needs (AVX2)",
        "--set optimizer_type=Adafactor leaves bitsandbytes away; else it takes a newer processor",
        "Windows, Linux", Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "disk-full", Failure.SYSTEM,
        OS_ERROR.format("28|112") + r"|No space left on device|\[Errno 28\]|Disk quota exceeded|\[Errno 122\]"
        r"|not enough space on the disk|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+",
        "the disk is full", "free some space, or choose another place with --output", "Linux, Windows, torch",
        Rank.ROOT, anywhere=True,
    ),
    Signature(
        "bitsandbytes-kernel", Failure.PACKAGES, r"no kernel image is available for execution on the device at line",
        "bitsandbytes has no kernels for this GPU",
        "`sdxl-train setup --recreate`, or --set optimizer_type=Adafactor", "bitsandbytes; bmaltais/kohya_ss #192",
        Rank.ROOT, anywhere=True,
    ),
    Signature(
        "no-kernel", Failure.GPU,
        r"no kernel image is available|is not compatible with the current PyTorch installation"
        r"|device kernel image is invalid|invalid value for --gpu-architecture|is not defined for option 'gpu-name'"
        r"|HIP error: (?:invalid device function|shared object initialization failed)",
        "this torch has no kernels for this GPU",
        "`sdxl-train setup --torch cu128 --recreate` for an RTX 50; a GPU older than the GTX 10 is too old",
        "torch; bmaltais/kohya_ss #3096, #3368", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "old-driver", Failure.GPU,
        r"driver on your system is too old|driver version is insufficient|cudaErrorInsufficientDriver"
        r"|Driver/library version mismatch|PTX was compiled with an unsupported toolchain",
        "the NVIDIA driver is too old for this torch, or was updated without a restart",
        "update the NVIDIA driver and restart the computer", "torch, CUDA", Rank.ROOT, anywhere=True,
    ),
    Signature(
        "no-gpu", Failure.GPU,
        r"fp16 mixed precision requires a GPU|Torch not compiled with CUDA|Found no NVIDIA driver"
        r"|No CUDA GPUs are available|Torch is not able to use GPU|no CUDA-capable device|not implemented for 'Half'"
        r"|torch\.cuda\.is_available\(\) (?:should be True but )?is False|CUDA unknown error - this may be due to"
        r"|CUDA driver initialization failed|from cudaGetDeviceCount\(\)|no HIP GPUs are available|privateuseone|torch_directml",
        "torch sees no GPU", "check `nvidia-smi`, then `sdxl-train setup --torch cu124 --recreate`",
        "accelerate, torch; bmaltais/kohya_ss #639",
    ),
    Signature(
        "no-bf16", Failure.GPU,
        r"bf16 mixed precision requires|bf16/gpu|[Dd]evice does not support bfloat16|Your setup doesn't support bf16"
        r"|not implemented for 'BFloat16'",
        "this GPU, or this torch, has no bf16", "--set mixed_precision=fp16 --set full_bf16=false",
        "accelerate",
    ),
    Signature(
        "gpu-index", Failure.GPU, r"invalid device ordinal", "there is no GPU of that number", "--gpu 0", "CUDA",
    ),
    Signature(
        "gpu-crash", Failure.GPU,
        r"illegal memory access|unspecified launch failure|CUDA error: unknown error|misaligned address"
        r"|CUDA error: an illegal instruction|CU(?:BLAS|DNN)_STATUS_EXECUTION_FAILED|launch timed out"
        r"|GPU is lost|fallen off the bus|uncorrectable ECC|hipErrorLaunchFailure|CUDNN_STATUS_MAPPING_ERROR|miopenStatus"
        r"|CUDA driver error|CUDA error: (?:device not ready|operation not supported|invalid resource handle)",
        "the GPU broke off in the middle of its work: overclocking, heat, the driver, or a full memory",
        "take overclocking back, update the driver, --set xformers=false --set sdpa=true, and a smaller preset", "CUDA",
    ),
    Signature(
        "gpu-assert", Failure.GPU, r"device-side assert triggered",
        "a number was out of its range on the GPU: a caption token, or NaN",
        "--set mixed_precision=bf16 --set no_half_vae=true; the line with `Assertion` above says which", "CUDA",
    ),
    Signature(
        "mps", Failure.GPU, r"(?:for|on|to) the MPS (?:device|framework)|MPS framework doesn't support",
        "a Mac's GPU lacks what the trainer needs", "train on a machine with an NVIDIA GPU", "torch",
    ),
    Signature(
        "dll", Failure.SYSTEM,
        r"\[WinError (?:126|127|182|193|1114)\]|DLL load failed while importing|DLL initialization routine failed",
        "Windows can't load one of torch's or a package's libraries",
        "install Microsoft's Visual C++ Redistributable 2015-2022 (x64), then `sdxl-train setup --recreate`",
        "Windows; bmaltais/kohya_ss #1698, #3186",
    ),
    Signature(
        "no-libgl", Failure.SYSTEM, r"libGL\.so|libgthread-2\.0\.so|libglib-2\.0\.so",
        "OpenCV lacks a library of the system", "apt install libgl1 libglib2.0-0", "OpenCV",
    ),
    Signature(
        "shared-memory", Failure.SYSTEM,
        r"insufficient shared memory|out of shared memory|creating shared memory segment|unable to (?:write to file|open shared memory object|resize)"
        r" </torch_|killed by signal: Bus error",
        "a container gives too little shared memory (/dev/shm) to the workers that load pictures",
        f"{_NO_WORKERS}, or start the container with --shm-size=8g", "torch",
        Rank.ROOT, anywhere=True,
    ),
    Signature(
        "worker-died", Failure.HOST_MEMORY, r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) exited unexpectedly",
        "a worker that loads pictures died: most often the computer's own memory ran out", _NO_WORKERS, "torch",
    ),
    Signature(
        "worker-start", Failure.SYSTEM,
        r"(?:Can't|cannot) pickle|PicklingError|EOFError: Ran out of input|freeze_support\(\)",
        "a worker that loads pictures could not be started", _NO_WORKERS, "Python's multiprocessing on Windows",
        within=r"multiprocessing|spawn|popen|pickle",
    ),
    Signature(
        "open-files", Failure.SYSTEM, r"Too many open files|\[Errno 24\]|received 0 items of ancdata",
        "the system allows no more open files", f"{_NO_WORKERS}, or `ulimit -n 65536` before", "Linux, torch",
    ),
    Signature(
        "in-use", Failure.SYSTEM,
        OS_ERROR.format("32|33|1224") + r"|being used by another process"
        r"|user-mapped section open|resource busy",
        "another program holds a file: an image program that has the model open, a virus scanner, a cloud folder",
        "close it, or choose another place with --output", "Windows; safetensors",
    ),
    Signature(
        "path-too-long", Failure.SYSTEM, r"\[WinError 206\]|\[Errno 36\]|File name too long|extension is too long",
        "a path is too long", "a shorter --name, and an --output nearer to the drive's root", "Windows, Linux",
    ),
    Signature(
        "bad-path", Failure.SYSTEM,
        r"\[WinError (?:123|161|267)\]|\[Errno 22\] Invalid argument: ['\"]|NotADirectoryError|\[Errno (?:17|20)\]"
        r"|FileExistsError|\[WinError 183\]",
        "a path can't be: it has a character that is not allowed, or goes through a file",
        "give the path as it is, without quotes or blanks at its end", "Windows, Linux",
    ),
    Signature(
        "permission", Failure.SYSTEM, r"PermissionError|PermissionDenied|Permission denied|Access is denied|Read-only file system|\[Errno 13\]"
        r"|Operation not permitted|" + OS_ERROR.format("5|13"),
        "a file or folder must not be written or read",
        "choose another place with --output, or give yourself the rights", "Windows, Linux",
    ),
    Signature(
        "drive", Failure.SYSTEM,
        r"\[Errno (?:5|107|116)\]|Input/output error|Stale file handle|Transport endpoint is not connected"
        r"|\[WinError (?:21|59|64|1117|1167)\]",
        "a drive failed while it was read or written", "check the drive or the network folder, and copy to a local one",
        "Linux, Windows",
    ),
    Signature(
        "threads", Failure.SYSTEM,
        r"can't start new thread|Resource temporarily unavailable|Thread creation failed|pthread_create failed",
        "the system allows no more processes or threads",
        f"{_NO_WORKERS}, and close other programs; in a container, raise --pids-limit", "Python, Linux",
    ),
    Signature(
        "bus-error", Failure.SYSTEM, r"Signals\.SIGBUS|exitcode: -7\b|exit status 135\b|^Bus error",
        "a container gives too little shared memory (/dev/shm), or a file changed or vanished while it was read",
        f"{_NO_WORKERS}, or start the container with --shm-size=8g; keep model and pictures on a local drive", "Linux",
        Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "dll-absent", Failure.SYSTEM, r"exit status (?:3221225781|3221225595|3221225785)\b",
        "Windows did not find a library that the trainer needs, or it is of another kind",
        "install Microsoft's Visual C++ Redistributable 2015-2022 (x64), then `sdxl-train setup --recreate`", "Windows",
        Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "libuv", Failure.SYSTEM, r"use_libuv was requested", "this torch can't train on several GPUs on Windows",
        "choose one: --gpu 0", "torch; bmaltais/kohya_ss #2763, #3295",
    ),
    Signature(
        "no-nccl", Failure.SYSTEM, r"have NCCL built in",
        "this torch can't train on several GPUs: it has no NCCL, which Windows never has", "choose one: --gpu 0",
        "torch; bmaltais/kohya_ss #1147",
    ),
    Signature(
        "several-gpus", Failure.SYSTEM,
        r"NCCL [Ee]rror|DistBackendError|ncclUnhandled"
        r"|Address already in use|EADDRINUSE|Watchdog caught collective|Timed out initializing process group"
        r"|Default process group has not been initialized|DistNetworkError|DistStoreError",
        "the processes of a training on several GPUs do not find each other", "choose one: --gpu 0", "torch",
    ),
    Signature(
        "one-gpu-only", Failure.SYSTEM,
        r"'DistributedDataParallel' object has no attribute|finished reduction in the prior iteration|Invalid scalar type",
        "this release of sd-scripts can't train these settings on several GPUs",
        "choose one: --gpu 0; or another release: `sdxl-train setup --ref`", "torch; sd-scripts #1083",
    ),
    Signature(
        "gpus-apart", Failure.SYSTEM, r"\[c10d\] The client socket has (?:failed|timed out)",
        "the processes of a training on several GPUs did not reach each other", "choose one: --gpu 0", "torch",
        Rank.AFTERMATH, anywhere=True,
    ),
    Signature(
        "stopped", Failure.STOPPED,
        r"KeyboardInterrupt|Signals\.SIG(?:INT|TERM|HUP)\b|exit status (?:130|143|3221225786)\b|got signal: (?:1|2|15)\b",
        "someone stopped it, or the terminal was closed", "start it again", "Python, accelerate",
        Rank.AFTERMATH, anywhere=True,
    ),
)  # fmt: skip
