"""Chat template and placeholders on plain token ids, as the checkpoint's chat_template.json and processor do it.

A message's content is a string or a list of parts: str, ("image", tokens), ("audio", tokens), ("video", tokens), or ("clip", grids,
tokens of a grid, seconds of a grid, audio tokens): a video with its audio, interleaved in time.
"""

from functools import lru_cache

import torch


class Chat:
    def __init__(self, tok):
        self.tok = tok
        self.id = tok.token_to_id
        self.text = lru_cache(60000)(lambda s: tuple(tok.encode(s, add_special_tokens=False).ids))

    def content(self, content):
        if isinstance(content, str):
            return list(self.text(content))
        out = []
        for part in content:
            if isinstance(part, str):
                out += self.text(part)
            elif part[0] == "image":
                out += [self.id("<|vision_start|>")] + [self.id("<|image_pad|>")] * part[1] + [self.id("<|vision_end|>")]
            elif part[0] == "video":
                out += [self.id("<|vision_start|>")] + [self.id("<|video_pad|>")] * part[1] + [self.id("<|vision_end|>")]
            elif part[0] == "clip":
                out += self.clip(*part[1:])
            else:
                out += [self.id("<|audio_start|>")] + [self.id("<|audio_pad|>")] * part[1] + [self.id("<|audio_end|>")]
        return out

    def clip(self, grids, size, seconds, audio):
        """A grid's tokens stand before the audio's tokens of the same or a later position (13 positions a second)."""
        seen, heard, body = 0, 0, []
        while seen < grids or heard < audio:
            if seen < grids and (heard == audio or seen * seconds * 13 <= heard):
                body += [self.id("<|video_pad|>")] * size
                seen += 1
            else:
                body.append(self.id("<|audio_pad|>"))
                heard += 1
        start, end = (self.id("<|vision_start|>"), self.id("<|audio_start|>")), (self.id("<|audio_end|>"), self.id("<|vision_end|>"))
        return [*start, *body, *end]

    def encode(self, messages):
        """Token ids and a mask of those the model generates (answers and their <|im_end|>)."""
        ids, mask = [], []
        for role, content in messages:
            head = list(self.text(f"<|im_start|>{role}\n"))
            if role == "assistant":
                if content.startswith("<think>\n"):
                    head += self.text("<think>\n")
                    content = content[len("<think>\n") :]
                body = list(self.text(content)) + [self.id("<|im_end|>")]
                ids += head + body + list(self.text("\n"))
                mask += [0] * len(head) + [1] * len(body) + [0]
            else:
                body = self.content(content)
                tail = list(self.text("<|im_end|>\n"))
                ids += head + body + tail
                mask += [0] * (len(head) + len(body) + len(tail))
        return ids, mask

    def prompt(self, messages, think=False):
        ids, _ = self.encode(messages)
        return ids + list(self.text("<|im_start|>assistant\n" + ("<think>\n" if think else "")))

    def batch(self, encoded):
        """Right-padded input_ids, attention_mask and loss mask from a list of (ids, mask)."""
        n = (max(len(i) for i, _ in encoded) + 7) // 8 * 8  # few distinct shapes: oneDNN compiles one kernel each
        pad = self.id("<|endoftext|>")
        ids = torch.tensor([i + [pad] * (n - len(i)) for i, _ in encoded])
        att = torch.tensor([[1] * len(i) + [0] * (n - len(i)) for i, _ in encoded])
        lab = torch.tensor([m + [0] * (n - len(m)) for _, m in encoded])
        return ids, att, lab
