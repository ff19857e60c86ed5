"""A run from its options to its last file, step by step, with nothing in the steps."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from typing import NamedTuple

from library.train_util import Accelerator

from standin import alone, dataset, files
from standin.console import Bar, Logger, say
from standin.faults import Fault, number


class Plan(NamedTuple):
    datasets: list
    batches: int
    steps: int
    epochs: int
    steps_per_epoch: int

    @property
    def images(self) -> int:
        return sum(each.images for each in self.datasets)

    @property
    def reg_images(self) -> int:
        return sum(each.reg_images for each in self.datasets)

    @property
    def described(self) -> list:
        return [
            {
                "batch_size_per_device": each.batch_size,
                "num_train_images": each.images,
                "num_reg_images": each.reg_images,
                "resolution": each.resolution,
                "subsets": [
                    {
                        "image_dir": os.path.basename(os.path.normpath(subset.folder)),
                        "img_count": subset.pictures,
                        "num_repeats": subset.repeats,
                        "class_tokens": subset.class_tokens,
                        "is_reg": subset.is_reg,
                    }
                    for subset in each.subsets
                ],
            }
            for each in self.datasets
        ]


def train(args) -> None:
    run = begin(args)
    if run is not None:
        run.go()


def begin(args) -> Run | None:
    """A run that is ready for its first step. None where there is nothing to train on."""
    fault = Fault()
    fault.at_once()
    logger = Logger(args)
    if args.config_file:
        raise SystemExit("the stand-in takes options as flags, not from --config_file")
    is_lora = hasattr(args, "network_module")
    refuse(args, is_lora)

    logger.info(
        f"Loading dataset config from {args.dataset_config}" if args.dataset_config else "Using DreamBooth method."
    )
    datasets = dataset.read(args)
    if not any(each.images for each in datasets):
        logger.error("No data found. Please verify arguments")
        return None  # exit code 0, as upstream
    for each in datasets:
        for subset in each.subsets:
            logger.info(f"found directory {subset.folder} contains {subset.pictures} image files")
    say(f"accelerator device: {'cpu' if os.environ.get('ACCELERATE_USE_CPU') == 'True' else 'cuda'}")
    require_model(args.pretrained_model_name_or_path)
    alone.take(args)
    fault.before_training()
    time.sleep(number("STANDIN_START_SECONDS", 0))
    if is_lora:
        say(f"import network module: {args.network_module}")
        modules = [name for name in files.lora_tensors(args) if name.endswith(".alpha")]
        logger.info(f"create LoRA for U-Net: {sum(name.startswith('lora_unet') for name in modules)} modules.")
    plan = make_plan(args, datasets)
    announce(args, plan, is_lora)
    return Run(args, plan, logger, fault, is_lora)


def refuse(args, is_lora: bool) -> None:
    """Some of the combinations that sd-scripts refuses; errors that come late upstream may come early here."""
    optimizer = (args.optimizer_type or "").lower()
    refusals = (
        (args.full_bf16 and args.mixed_precision != "bf16", "full_bf16 requires mixed precision='bf16'"),
        (args.full_fp16 and args.mixed_precision != "fp16", "full_fp16 requires mixed precision='fp16'"),
        (is_lora and args.fp8_base and args.mixed_precision == "no", "fp8_base requires mixed precision='fp16' or 'bf16'"),
        (args.fused_backward_pass and optimizer != "adafactor", "fused_backward_pass currently only works with optimizer_type Adafactor"),
        (is_lora and args.cache_text_encoder_outputs and not args.network_train_unet_only,
         "network for Text Encoder cannot be trained with caching Text Encoder outputs"),
        (not is_lora and args.cache_text_encoder_outputs and args.train_text_encoder,
         "cache_text_encoder_outputs is not supported when training text encoder"),
        (not is_lora and args.block_lr and len(args.block_lr.split(",")) != 23, "block_lr must have 23 values"),
        (args.adaptive_noise_scale is not None and args.noise_offset is None, "adaptive_noise_scale requires noise_offset"),
        (args.v2, "v2 cannot be enabled in SDXL training"),
    )  # fmt: skip
    for refused, words in refusals:
        if refused:
            raise AssertionError(words)
    if args.log_with in ("tensorboard", "all") and args.logging_dir is None:
        raise ValueError("logging_dir is required when log_with is tensorboard")
    if args.persistent_data_loader_workers and not args.max_data_loader_n_workers:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if args.lr_scheduler == "constant" and args.lr_warmup_steps:
        raise ValueError("SchedulerType.CONSTANT does not require `num_warmup_steps`")


def require_model(model: str | None) -> None:
    looks_like_file = model is None or model.endswith((".safetensors", ".ckpt")) or os.path.isabs(model)
    if looks_like_file and not (model and os.path.exists(model)):
        raise ValueError("model is not found as a file or in Hugging Face")


def make_plan(args, datasets: list) -> Plan:
    processes = int(os.environ.get("WORLD_SIZE") or 1)
    batches = sum(each.batches for each in datasets)
    if args.max_train_epochs is not None:
        args.max_train_steps = args.max_train_epochs * math.ceil(batches / processes / args.gradient_accumulation_steps)
        say(f"override steps. steps for {args.max_train_epochs} epochs is: {args.max_train_steps}")
    batches = math.ceil(batches / processes)
    steps_per_epoch = math.ceil(batches / args.gradient_accumulation_steps)
    epochs = math.ceil(args.max_train_steps / steps_per_epoch)
    return Plan(datasets, batches, args.max_train_steps, epochs, steps_per_epoch)


def announce(args, plan: Plan, is_lora: bool) -> None:
    say("running training")
    if is_lora:
        say(f"  num train images * repeats: {plan.images}")
        say(f"  num reg images: {plan.reg_images}")
    else:
        say(f"  num examples: {plan.images}")
    say(f"  num batches per epoch: {plan.batches}")
    say(f"  num epochs: {plan.epochs}")
    say(f"  batch size per device: {', '.join(str(each.batch_size) for each in plan.datasets)}")
    say(f"  gradient accumulation steps = {args.gradient_accumulation_steps}")
    say(f"  total optimization steps: {plan.steps}")


class Run:
    """The loop over epochs and steps, and its files."""

    def __init__(self, args, plan: Plan, logger: Logger, fault: Fault, is_lora: bool) -> None:
        self.args, self.plan, self.logger, self.fault, self.is_lora = args, plan, logger, fault, is_lora
        self.started = time.time()
        self.step = 0
        self.epoch = 0
        self.accelerator = Accelerator()
        if args.save_n_epoch_ratio:
            args.save_every_n_epochs = plan.epochs // args.save_n_epoch_ratio or 1

    def go(self) -> None:
        """A network's steps; sdxl_train.py has a loop of its own."""
        first_epoch, skipped = self.start()
        self.open(skipped, Bar(self.plan.steps - skipped))
        for epoch in range(first_epoch, self.plan.epochs):
            self.begin_epoch(epoch)
            left_of_epoch = self.plan.steps_per_epoch - skipped
            skipped = 0
            for _ in range(min(left_of_epoch, self.plan.steps - self.step)):
                self.make_step()
            self.end_epoch()
        self.close()

    def open(self, step: int, bar: Bar) -> None:
        self.step = self.done_before = step
        self.bar = bar

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        say(f"\nepoch {epoch + 1}/{self.plan.epochs}" + ("\n" if self.is_lora else ""))

    def make_step(self) -> None:
        args = self.args
        time.sleep(number("STANDIN_STEP_SECONDS", 0.02))
        self.step += 1
        if args.save_every_n_steps and self.step % args.save_every_n_steps == 0:
            self.save_step()
        self.bar.show(self.step - self.done_before, self.fault.loss(self.step))
        self.fault.after_step(self.step, self.bar)
        if (args.sample_every_n_steps or args.sample_every_n_epochs) and args.sample_prompts is None:
            os.stat(args.sample_prompts)  # upstream's own TypeError, after the first step

    def end_epoch(self) -> None:
        every, epoch = self.args.save_every_n_epochs, self.epoch + 1
        if every and epoch % every == 0 and epoch < self.plan.epochs:
            self.save_epoch(epoch)

    def close(self) -> None:
        args = self.args
        if args.save_state or args.save_state_on_train_end:
            self.logger.info("saving last state.")
            self.save_state((args.output_name or "last") + "-state")
        time.sleep(number("STANDIN_LAST_SAVE_SECONDS", 0))
        self.save_last()
        self.bar.close()

    def start(self) -> tuple:
        """The epoch to start in, counted from 0, and the steps of it that are skipped."""
        args, initial = self.args, 0
        if args.resume:
            if not os.path.isdir(args.resume):
                raise FileNotFoundError(f"no state at {args.resume}")
            state = os.path.join(args.resume, "train_state.json")
            if os.path.isfile(state):
                with open(state, encoding="utf-8") as file:
                    initial = json.load(file)["current_step"]
        if args.initial_step is not None:
            initial = args.initial_step
        elif args.initial_epoch is not None:
            initial = (args.initial_epoch - 1) * self.plan.steps_per_epoch
        if initial >= self.plan.steps:
            raise AssertionError("max_train_steps should be greater than initial step")
        epoch, step = divmod(initial, self.plan.steps_per_epoch)
        return epoch, step if args.skip_until_initial_step else 0  # on an epoch's border upstream counts from 0 too

    @property
    def extension(self) -> str:
        model_as = self.args.save_model_as
        if not self.is_lora and model_as is None:
            return ".safetensors" if self.args.use_safetensors else ".ckpt"
        if model_as.startswith("diffusers"):
            raise SystemExit("the stand-in does not write the diffusers format")
        return "." + model_as

    def save(self, name: str, epoch: int) -> None:
        os.makedirs(self.args.output_dir, exist_ok=True)
        path = os.path.join(self.args.output_dir, name + self.extension)
        (say if self.is_lora else self.logger.info)(("\n" if self.is_lora else "") + f"saving checkpoint: {path}")
        metadata = files.metadata(self.args, self.plan, self.started, self.step, epoch)
        self.fault.write(path, files.checkpoint(self.args, metadata, self.extension), self.step)

    def save_step(self) -> None:
        args, name = self.args, self.args.output_name or "at"
        self.save(f"{name}-step{self.step:08d}", self.epoch)
        if args.save_state:
            self.logger.info(f"saving state at step {self.step}")
            self.save_state(f"{name}-step{self.step:08d}-state")
            self.remove(
                self.old_step(args.save_last_n_steps_state or args.save_last_n_steps), name, "-step{:08d}-state"
            )
        self.remove(self.old_step(args.save_last_n_steps), name, "-step{:08d}" + self.extension)

    def save_epoch(self, epoch: int) -> None:
        args, name = self.args, self.args.output_name or "epoch"
        self.save(f"{name}-{epoch:06d}", epoch)
        old = epoch - args.save_every_n_epochs * (args.save_last_n_epochs or epoch)
        self.remove(old, name, "-{:06d}" + self.extension)
        if args.save_state:
            self.logger.info(f"saving state at epoch {epoch}")
            self.save_state(f"{name}-{epoch:06d}-state")
            kept = args.save_last_n_epochs_state or args.save_last_n_epochs or epoch
            self.remove(epoch - args.save_every_n_epochs * kept, name, "-{:06d}-state")

    def old_step(self, kept: int | None) -> int:
        if not kept:
            return 0
        old = self.step - kept - 1
        return old - old % self.args.save_every_n_steps

    def remove(self, old: int, name: str, pattern: str) -> None:
        path = os.path.join(self.args.output_dir, name + pattern.format(max(old, 0)))
        if old <= 0 or not os.path.exists(path):
            return
        say(f"removing old checkpoint: {path}")
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def save_state(self, name: str) -> None:
        folder = os.path.join(self.args.output_dir, name)
        os.makedirs(folder, exist_ok=True)
        self.accelerator.save_state(folder)
        with open(os.path.join(folder, "model.safetensors"), "wb") as file:
            file.write(files.safetensors({"standin": ((1,), None)}, None, {"format": "pt"}))
        for each in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
            with open(os.path.join(folder, each), "wb") as file:
                file.write(b"N.")  # a pickle of None
        if self.is_lora:
            with open(os.path.join(folder, "train_state.json"), "w", encoding="utf-8") as file:
                json.dump({"current_epoch": self.epoch + 1, "current_step": self.step}, file)

    def save_last(self) -> None:
        name = self.args.output_name or "last"
        if not self.fault.withholds_file:
            if not self.is_lora:
                path = os.path.join(self.args.output_dir, name + self.extension)
                self.logger.info(f"save trained model as StableDiffusion checkpoint to {path}")
            self.save(name, self.plan.epochs)
        if not self.fault.withholds_word:
            self.logger.info("model saved.")
