"""The lines of upstream's trainer that count steps: its way of resuming is known by them. Nothing runs them here."""

import math


def train(args, train_dataloader):
    initial_step = args.initial_step
    epoch_to_start = 0
    if initial_step > 0:
        if args.skip_until_initial_step:
            initial_step *= args.gradient_accumulation_steps
            epoch_to_start = initial_step // math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        else:
            epoch_to_start = initial_step // math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
            initial_step = 0
    global_step = 0
    if initial_step > 0:
        for _ in range(epoch_to_start):
            initial_step -= len(train_dataloader)
        global_step = initial_step
    return global_step
