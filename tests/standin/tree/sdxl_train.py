"""Plays sd-scripts' trainer of whole SDXL models; see the package standin.

`train` has the statements of upstream's by which its way of counting is known.
"""

import argparse
import math
import os
import sys
from multiprocessing import Value

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import library.train_util as train_util

from standin import options, training
from standin.console import tqdm


def train(args):
    run = training.begin(args)
    if run is None:
        return
    current_step = Value("i", 0)
    accelerator, train_dataloader = run.accelerator, train_util.DataLoader(run.plan.batches)
    train_util.resume_from_local_or_hf_if_specified(accelerator, args)
    num_update_steps_per_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
    num_train_epochs = math.ceil(args.max_train_steps / num_update_steps_per_epoch)
    progress_bar = tqdm(range(args.max_train_steps), desc="steps")
    global_step = 0
    run.open(global_step, progress_bar)
    train_util.sample_images(accelerator, args, 0, global_step)
    loss_recorder = train_util.LossRecorder()
    for epoch in range(num_train_epochs):
        run.begin_epoch(epoch)
        for step, batch in enumerate(train_dataloader):
            current_step.value = global_step
            loss = train_util.Loss(0.1)
            accelerator.backward(loss)
            if (step + 1) % args.gradient_accumulation_steps == 0 or step + 1 == len(train_dataloader):
                global_step += 1
                run.make_step()
            loss_recorder.add(epoch=epoch, step=step, loss=loss.item())
            if global_step >= args.max_train_steps:
                break
        run.end_epoch()
    run.close()


def setup_parser() -> argparse.ArgumentParser:
    return options.parser_of(options.FULL)


if __name__ == "__main__":
    train(setup_parser().parse_args())
