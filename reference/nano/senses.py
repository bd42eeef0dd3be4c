"""Heads that teach the thinker's encoders directly and are not shipped: `Eye` names what a scene holds, `Ear` writes down what is said.

Through the thinker alone an encoder learns many times more slowly: the thinker first has to find out where to look.
"""

import torch
import torch.nn.functional as F
from torch import nn

import text_data
from extra_words import COLOURS, EMOJI, POSITIONS, SHAPES

KINDS = ["one", "count", "number", "word", "emoji", "unknown"]
LABELS = {  # attribute: (classes, kinds of scene that have it)
    "kind": (KINDS, KINDS), "colour": (list(COLOURS), ["one", "count", "unknown"]), "shape": (list(SHAPES), ["one", "count"]),
    "place": (list(POSITIONS), ["one"]), "count": ([2, 3, 4, 5, 6], ["count"]), "tens": (list(range(10)), ["number"]),
    "ones": (list(range(10)), ["number"]), "digits": ([1, 2], ["number"]), "word": (list(text_data.SPELL), ["word"]), "emoji": (list(EMOJI), ["emoji"]),
}


def labels_of(scenes):
    """{attribute: class of each scene, -100 where it has none}."""
    facts = [{**s, "tens": s["number"] // 10, "ones": s["number"] % 10, "digits": len(str(s["number"]))} for s in scenes]
    return {k: torch.tensor([names.index(f[k]) if f["kind"] in kinds else -100 for f in facts]) for k, (names, kinds) in LABELS.items()}


class Eye(nn.Module):
    """Reads a scene's attributes off the vision encoder's tokens and their places, by a few learned queries."""

    def __init__(self, thinker, queries=12, size=48):
        super().__init__()
        width = thinker.config.vision_config.out_hidden_size
        thinker.model.visual.register_forward_hook(self.keep)
        self.key, self.value = nn.Linear(width + 8, size), nn.Linear(width + 8, size)
        self.query = nn.Parameter(torch.randn(queries, size) * size**-0.5)
        self.heads = nn.ModuleDict({k: nn.Linear(queries * size, len(v)) for k, (v, _) in LABELS.items()})

    def keep(self, module, args, output):
        self.seen = output.pooler_output

    def loss(self, grid, labels):
        """grid [pictures, 3] in patches, all alike; labels {attribute: class of each picture, -100 where it has none} -> loss, {attribute: share right}."""
        rows, columns = (grid[0, 1:] // 2).tolist()
        odds = self(self.seen.view(len(grid), rows * columns, -1), rows, columns)
        total, right = 0, {}
        for k, label in labels.items():
            if (label >= 0).any():
                total = total + F.cross_entropy(odds[k].float(), label)
                right[k] = (odds[k].argmax(-1) == label)[label >= 0].float().mean().item()
        return total, right

    def forward(self, x, rows, columns):
        """x [pictures, rows * columns, width] -> {attribute: logits}."""
        y, z = (torch.linspace(-1, 1, n) for n in (rows, columns))
        place = torch.cartesian_prod(y, z)
        place = torch.cat([place, place**2, (place * torch.pi).sin(), (place * torch.pi).cos()], 1)
        x = torch.cat([x, place.to(x.dtype).expand(len(x), -1, -1)], -1)
        look = (self.query @ self.key(x).mT).softmax(-1)
        seen = F.gelu((look @ self.value(x)).flatten(1))
        return {k: head(seen) for k, head in self.heads.items()}


class Ear(nn.Module):
    """CTC over the tokens of what is said, on the audio encoder's output; the last class is the blank."""

    def __init__(self, thinker, tokens):
        super().__init__()
        self.head = nn.Linear(thinker.config.audio_config.output_dim, tokens + 1)
        thinker.model.audio_tower.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.heard = output.last_hidden_state

    def loss(self, counts, said):
        """counts: the encoder's tokens of each sound; said: token ids of each, empty where there is no speech."""
        odds = self.head(self.heard).float().log_softmax(-1).split(counts.tolist())
        odds = nn.utils.rnn.pad_sequence(odds)
        target = torch.tensor([i for s in said for i in s])
        return F.ctc_loss(odds, target, counts, torch.tensor([len(s) for s in said]), blank=self.head.out_features - 1, zero_infinity=True)
