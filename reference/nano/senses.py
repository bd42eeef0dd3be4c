"""Auxiliary training heads of the thinker's encoders, not published: `Eye` names a scene's content, `Ear` transcribes speech.

Through the thinker alone an encoder learns much more slowly, because the thinker's attention is untrained at first.
"""

import torch
import torch.nn.functional as F
from torch import nn

import text_data
from extra_words import COLOURS, EMOJI, POSITIONS, SHAPES, TONES

KINDS = ["one", "count", "number", "word", "emoji", "unknown", "mixed", "plain"]
STEPS = ["still", "left", "right", "up", "down"]
LETTERS = list("_abcdefghijklmnopqrstuvwxyz")  # _: the word is shorter
PLACES = range(6)
PARTS = range(3)
CELLS = range(9)  # of an image in thirds
LABELS = {  # attribute: (classes, kinds of scene that have it); a film is one grid of a video, two frames
    "kind": (KINDS, KINDS), "colour": (list(COLOURS), ["one", "count", "unknown", "plain", "film"]), "shape": (list(SHAPES), ["one", "count", "film"]),
    "place": (list(POSITIONS), ["one"]), "count": ([2, 3, 4, 5, 6], ["count"]), "tens": (list(range(10)), ["number"]),
    "ones": (list(range(10)), ["number"]), "hundreds": (list(range(10)), ["number"]), "figures": ([1, 2, 3], ["number"]), "word": (list(text_data.SPELL), ["word"]), "emoji": (list(EMOJI), ["emoji"]),
    "shown": (list(range(4)), ["film", "empty"]), "x": (list(range(6)), ["film"]), "y": (list(range(6)), ["film"]), "step": (STEPS, ["film"]),
    "parts": ([2, 3], ["mixed"]), **{f"colour{i}": (list(COLOURS), ["mixed"]) for i in PARTS}, **{f"shape{i}": (list(SHAPES), ["mixed"]) for i in PARTS},
    **{f"letter{i}": (LETTERS, ["word"]) for i in PLACES}, **{f"cell{i}": ([False, True], ["count"]) for i in CELLS},
}


def facts_of(scene):
    """The scene with its number's digits by position, its word's letters by position, and the thirds that contain a shape."""
    out = dict(scene)
    if "number" in scene:
        n = scene["number"]
        out.update(hundreds=n // 100, tens=n // 10 % 10, ones=n % 10, figures=len(str(n)))
    if "word" in scene:
        out.update((f"letter{i}", scene["word"][i : i + 1] or "_") for i in PLACES)
    if "parts" in scene:
        out.update({"parts": len(scene["parts"])}, **{f"colour{i}": colour for i, (colour, _) in enumerate(scene["parts"])}, **{f"shape{i}": form for i, (_, form) in enumerate(scene["parts"])})
    if "cells" in scene:
        out.update((f"cell{i}", i in scene["cells"]) for i in CELLS)
    return out


def labels_of(scenes):
    """{attribute: class of each scene, -100 where it has none}."""
    facts = [facts_of(scene) for scene in scenes]
    return {k: torch.tensor([names.index(f[k]) if f["kind"] in kinds and f.get(k) is not None else -100 for f in facts]) for k, (names, kinds) in LABELS.items()}


def films_of(scene):
    """A video's grids as scenes: the content of each of the two frames, its position, colour and movement."""
    out = []
    for first, second in zip(scene["track"][::2], scene["track"][1::2]):
        last = second or first
        film = {"kind": "film" if last else "empty", "shown": 2 * bool(first) + bool(second)}
        if last:
            x, y, colour = last
            film.update(colour=colour, shape=scene["shape"], x=min(5, int(x * 6)), y=min(5, int(y * 6)), step=None)
            if first and second:
                dx, dy = second[0] - first[0], second[1] - first[1]
                film["step"] = "still" if dx == dy == 0 else ("right" if dx > 0 else "left") if dx else ("down" if dy > 0 else "up")
                if first[2] != second[2]:
                    film["colour"] = None  # either is right
        out.append(film)
    return out


class Eye(nn.Module):
    """Reads a scene's attributes off the mean of the vision encoder's tokens by one linear layer: the view of an untrained attention,
    so the thinker can use it from the first step."""

    def __init__(self, thinker):
        super().__init__()
        width = thinker.config.vision_config.out_hidden_size
        thinker.model.visual.register_forward_hook(self.keep)
        self.heads = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, (v, _) in LABELS.items()})

    def keep(self, module, args, output):
        self.seen = output.pooler_output

    def loss(self, pictures, labels):
        """The last `pictures` images, all of one size; labels {attribute: class of each image, -100 where it has none} -> loss, {attribute: share right}."""
        x = self.seen.view(pictures, -1, self.seen.shape[-1]).float().mean(1)
        total, right = 0, {}
        for k, label in labels.items():
            rows = label >= 0
            if rows.any():
                odds = self.heads[k](x[rows])
                total = total + F.cross_entropy(odds, label[rows])
                right[k] = (odds.argmax(-1) == label[rows]).float().mean().item()
        return total, right


SOUNDS = {  # attribute: classes
    "sound": ["speech", "beeps", "noise", "silence", "tune"], "beeps": [1, 2, 3, 4, 5, 6], "level": list(TONES),
    "answer": [a for _, _, za, _, ea in text_data.TALK for a in (ea[0], text_data.full_width(za[0]))],
}


def sounds_of(facts):
    """{attribute: class of each audio, -100 where it has none}; facts as `make_sound` or `spoken` gives them."""
    beeps = [f for f in facts if f.get("kind") == "beeps"]
    out = {"sound": [SOUNDS["sound"].index(f.get("kind", "speech")) for f in facts]}
    out["beeps"] = [SOUNDS["beeps"].index(f["count"]) if f in beeps else -100 for f in facts]
    out["level"] = [SOUNDS["level"].index(f["level"]) if f in beeps else -100 for f in facts]
    out["answer"] = [SOUNDS["answer"].index(f["answer"]) if f.get("answer") in SOUNDS["answer"] else -100 for f in facts]
    return {k: torch.tensor(v) for k, v in out.items()}


def said(chat, facts):
    """The right transcript of the audio; nothing for beeps."""
    return list(chat.text(facts["text"])) if "kind" not in facts else []


class Ear(nn.Module):
    """On the audio encoder's output: CTC over the tokens of the speech (the last class is the blank), and off the tokens' mean what
    the class of the whole audio: beeps and their number, a question that has a fixed answer."""

    def __init__(self, thinker, chat):
        super().__init__()
        width = thinker.config.audio_config.output_dim
        self.head, self.chat = nn.Linear(width, len(chat.tok.get_vocab()) + 1), chat
        self.whole = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, v in SOUNDS.items()})
        thinker.model.audio_tower.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.heard = output.last_hidden_state

    def loss(self, counts, facts):
        """counts: the encoder's tokens of each audio; facts of each -> loss, {attribute: share right}."""
        parts = self.heard.float().split(counts.tolist())
        texts = [said(self.chat, f) for f in facts]
        odds = self.head(self.heard).float().log_softmax(-1).split(counts.tolist())
        total = F.ctc_loss(nn.utils.rnn.pad_sequence(odds), torch.tensor([i for s in texts for i in s]), counts, torch.tensor([len(s) for s in texts]), blank=self.head.out_features - 1, zero_infinity=True)
        right = {"ctc": total.item()}
        mean = torch.stack([x.mean(0) for x in parts])
        for k, label in sounds_of(facts).items():
            rows = label >= 0
            if rows.any():
                odds = self.whole[k](mean[rows])
                total = total + 0.5 * F.cross_entropy(odds, label[rows])
                right[k] = (odds.argmax(-1) == label[rows]).float().mean().item()
        return total, right
