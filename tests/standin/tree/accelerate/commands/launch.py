"""Plays `accelerate launch`: reads its flags, starts one child, and turns every failure of the child into exit code 1.

As the real one: an unknown flag exits 2; SIGTERM ends the launcher alone and the child lives on; the child's own exit
code or signal is told only by the last line of a CalledProcessError. Unlike the real one, several processes are one
child that is told the number (WORLD_SIZE).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

PRECISIONS = ("no", "fp16", "bf16", "fp8")
BACKENDS = (
    "no", "eager", "aot_eager", "inductor", "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt",
    "onnxrt", "tensorrt", "aot_torchxla_trace_once", "torhchxla_trace_once", "ipex", "tvm",
)  # fmt: skip
SWITCHES = ("cpu", "multi_gpu", "quiet", "module", "no_python", "debug", "use_deepspeed", "use_fsdp",
            "enable_cpu_affinity", "same_network", "dynamo_use_fullgraph", "dynamo_use_dynamic")  # fmt: skip
NUMBERS = ("num_processes", "num_machines", "num_cpu_threads_per_process", "machine_rank", "main_process_port",
           "max_restarts")  # fmt: skip
TEXTS = ("config_file", "gpu_ids", "main_process_ip", "dynamo_mode", "rdzv_backend", "rdzv_conf", "role", "log_dir",
         "main_training_function", "monitor_interval")  # fmt: skip


def launch_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("accelerate launch", allow_abbrev=False)

    def add(name: str, **options: object) -> None:
        parser.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), **options)

    for name in SWITCHES:
        add(name, action="store_true")
    for name in NUMBERS:
        add(name, type=int)
    for name in TEXTS:
        add(name)
    add("mixed_precision", choices=PRECISIONS)
    add("dynamo_backend", choices=BACKENDS)
    parser.add_argument("training_script")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER)
    return parser


def main() -> None:
    parser = launch_parser()
    args = parser.parse_args()
    if args.multi_gpu and (args.num_processes or 0) < 2:
        raise ValueError("You need to use at least 2 processes with --multi_gpu")
    if args.config_file and not os.path.isfile(args.config_file):
        raise ValueError(f"no such config file: {args.config_file}")

    environ = {**os.environ, "ACCELERATE_MIXED_PRECISION": args.mixed_precision or "no"}
    environ["ACCELERATE_USE_CPU"] = str(args.cpu)
    environ["WORLD_SIZE"] = str(args.num_processes or 1)
    if args.gpu_ids and args.gpu_ids != "all" and not args.cpu:
        environ["CUDA_VISIBLE_DEVICES"] = args.gpu_ids
    if args.num_cpu_threads_per_process:
        environ["OMP_NUM_THREADS"] = str(args.num_cpu_threads_per_process)

    command = [] if args.no_python else [sys.executable, *(["-m"] if args.module else [])]
    command += [args.training_script, *args.training_script_args]
    child = subprocess.Popen(command, env=environ)
    child.wait()
    if child.returncode != 0:
        if args.quiet:
            sys.exit(1)
        raise subprocess.CalledProcessError(returncode=child.returncode, cmd=command)


if __name__ == "__main__":
    main()
