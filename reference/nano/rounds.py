"""Trains the thinker on two cores in rounds: two processes that do not wait for each other, and the mean of both after
each round.

    python3 rounds.py text=0.3,image=0.3,... 9e-4:900 6e-4:900 3e-4:900

Each argument after the mix is one round, RATE:SECONDS. The rate falls only in the last round. Resumes from work/a.pt and
work/b.pt, or starts both from work/thinker.pt; the mean is work/thinker.pt. Each process holds a third of the media in
memory, another one each round. GUIDE, TOKENS and PART apply as in train_thinker.py.
"""

import os
import subprocess
import sys

import torch

import config as c

STATES = ("a", "b")


def average(step):
    """The mean of both states' weights and heads, in both states and in thinker.pt; each keeps its optimiser."""
    states = [torch.load(c.WORK / f"{name}.pt") for name in STATES]
    for part in ("net", "ear", "eye"):
        first, second = (state[part] for state in states)
        mean = {k: torch.lerp(v, second[k], 0.5) if v.is_floating_point() else v for k, v in first.items()}
        for state in states:
            state[part] = mean
    for name, state in zip(STATES, states):
        torch.save(state, c.WORK / f"{name}.pt")
    torch.save(states[0], c.WORK / "thinker.pt")
    print("round", step, "steps", [state["step"] for state in states], flush=True)


def main(mix, rounds):
    for name in STATES:
        if not (c.WORK / f"{name}.pt").exists():
            torch.save(torch.load(c.WORK / "thinker.pt"), c.WORK / f"{name}.pt")
    for number, spec in enumerate(rounds):
        rate, seconds = spec.split(":")
        last = number == len(rounds) - 1
        runs = []
        for i, name in enumerate(STATES):
            own = {"STATE": f"{name}.pt", "SEED": str(2 * number + i), "SHARE": f"{(number + i) % 3}/3", "LR": rate, "DECAY": "1" if last else "0.01"}
            runs.append(subprocess.Popen([sys.executable, "train_thinker.py", seconds, mix], env={"EAGER": "1", "PAUSE": "900", **os.environ, **own}))
        if any([run.wait() for run in runs]):  # waits for all
            raise SystemExit("a trainer failed")
        average(number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
