"""The trainers' common parts: a budget of seconds with its learning rate, gradients averaged over processes, the state saved now and then."""

import os
import time

import torch
import torch.distributed as dist


class Run:
    """One run of a trainer, as the only process or one of several (torchrun).

    path: file of the state {"step", ...} to resume from and to save to. The rate rises over `warm` steps to `peak` (LR in the
    environment overrules it, WARM the steps) and falls over the last `fall` of the time (DECAY overrules it) to `low` of it.
    """

    def __init__(self, path, seconds, peak, warm=200, fall=0.25, low=0.03, every=int(os.environ.get("SAVE", "150"))):
        self.ranks, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.ranks > 1 and not dist.is_initialized():
            dist.init_process_group("gloo")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.path, self.seconds, self.warm, self.low, self.every = path, seconds, int(os.environ.get("WARM", warm)), low, every
        self.longest = float(os.environ.get("PAUSE", "20"))
        self.peak, self.fall = float(os.environ.get("LR", peak)), float(os.environ.get("DECAY", fall))
        self.state = torch.load(path) if path.exists() else {}
        self.step, self.elapsed = self.state.get("step", 0), 0.0
        self.began = self.saved = time.time()

    def going(self):
        """Whether there is time for another step; for all processes alike, they must stop at the same step. A pause (the processes
        stopped for a while) counts as at most PAUSE seconds."""
        now = time.time()
        self.elapsed, self.began = self.elapsed + min(now - self.began, self.longest), now
        t = torch.tensor(self.elapsed, dtype=torch.float64)
        if self.ranks > 1:
            dist.broadcast(t, 0)
        self.elapsed = t.item()
        return self.elapsed < self.seconds

    def rate(self, *optimizers):
        """Sets and returns this step's learning rate."""
        rate = self.peak * min(1, (self.step + 1) / self.warm) * min(1.0, max(self.low, (self.seconds - self.elapsed) / (self.fall * self.seconds)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return rate

    def average(self, params):
        """Gradients become their means over all processes; where one has none it counts as zero, where all have none it stays so."""
        if self.ranks == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params])
        dist.all_reduce(flat)
        flat /= self.ranks
        for p, g in zip(params, flat.split([p.numel() for p in params])):
            p.grad = g.view_as(p) if g.any() else None

    def stepped(self, state, last=False):
        """Counts a step and saves `state()`, a dict, when it is time to (`last`: in any case; no step is counted)."""
        self.step += not last
        if self.rank == 0 and (last or time.time() - self.saved > self.every):
            self.saved = time.time()
            torch.save({**state(), "step": self.step}, f"{self.path}.tmp")
            os.replace(f"{self.path}.tmp", self.path)

    def log(self, every, line):
        """Prints `line()` every so many steps; whether it was time to."""
        if self.step % every:
            return False
        if self.rank == 0:
            print(self.step, f"{self.elapsed:.0f}s", line(), flush=True)
        return True
