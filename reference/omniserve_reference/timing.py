"""What the timing scripts share: their arguments, the time of the first token, peak memory."""

import argparse
import resource
import time


def parser(source: str, **options: int | float | str) -> argparse.ArgumentParser:
    """`source`, a positional argument; an option with this default for each keyword; and `--threads`."""
    made = argparse.ArgumentParser()
    made.add_argument(source)
    for name, default in {**options, "threads": 2}.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return made


def reply_parser(source: str, **options: int | float | str) -> argparse.ArgumentParser:
    """The arguments of a script that times one spoken reply to a prompt."""
    return parser(source, text_tokens=48, frames=100, prompt="Describe the sound of the band.", **options)


class FirstToken:
    """A streamer that records the time of the first new token, and counts tokens. Calls with the prompt are skipped."""

    def __init__(self, prompt_calls: int = 0) -> None:
        self.skip, self.at, self.count = prompt_calls, 0.0, 0

    def put(self, tokens) -> None:
        if self.skip > 0:
            self.skip -= 1
            return
        self.at = self.at or time.perf_counter()
        self.count += len(tokens) if hasattr(tokens, "__len__") else 1

    def end(self) -> None:
        pass


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
