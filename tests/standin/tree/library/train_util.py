"""The parts of upstream's library that its full trainer counts with."""

import os


class LossRecorder:
    """A mean over the newest loss of each batch."""

    def __init__(self):
        self.loss_list = []
        self.loss_total = 0.0

    def add(self, *, epoch, step, loss):
        if epoch == 0:
            self.loss_list.append(loss)
        else:
            self.loss_list += [0.0] * (step + 1 - len(self.loss_list))
            self.loss_total -= self.loss_list[step]
            self.loss_list[step] = loss
        self.loss_total += loss


class Dataset:
    """It only keeps count of epochs."""

    def __init__(self):
        self.current_epoch = 0

    def set_current_epoch(self, epoch):
        self.current_epoch = epoch


class DataLoader:
    """Batches with nothing in them."""

    num_workers = 0
    persistent_workers = False

    def __init__(self, batches):
        self.batches = batches
        self.dataset = Dataset()

    def __len__(self):
        return self.batches

    def __iter__(self):
        return iter(range(self.batches))


class Loss(float):
    """A tensor of one number."""

    def detach(self):
        return self

    def item(self):
        return float(self)


class Accelerator:
    """Calls its hooks for each state that is saved."""

    def __init__(self):
        self.hooks = []

    def register_save_state_pre_hook(self, hook):
        self.hooks.append(hook)

    def save_state(self, folder):
        for hook in self.hooks:
            hook([], [], folder)

    def backward(self, loss):
        pass


def resume_from_local_or_hf_if_specified(accelerator, args):
    if args.resume and not os.path.isdir(args.resume):
        raise FileNotFoundError(f"no state at {args.resume}")


def sample_images(accelerator, args, epoch, steps):
    pass
