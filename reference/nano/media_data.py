"""Image, audio and video skills of nano: drawn scenes, rendered audio and videos, and questions about them.

A scene is a dict with all facts of an image; `image_dialogue` turns it into a conversation. Held-out scenes are those
whose combination (shape, colour, position; number; ...) hashes into the held-out split.
"""

import io
import math
import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import config as c
import more_pictures as more_kinds
import text_data
from extra_words import COLOURS, COUNTS, EMOJI, FIRST_EMOJI, MOVES, POSITIONS, SHAPES, TONES
from text_data import held
from wordings import ask

FONTS = ["/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSerif-Bold.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
         "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf", "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf", "/usr/share/fonts/truetype/liberation/LiberationMono-Bold.ttf"]
EMOJI_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"


@lru_cache(None)
def font(path, size):
    return ImageFont.truetype(path, size)


@lru_cache(None)
def emoji_bitmap(char):
    image = Image.new("RGBA", (150, 150), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((8, 8), char, font=font(EMOJI_FONT, 109), embedded_color=True)
    return image.crop(image.getbbox())


def background(rng, w, h, avoid=None):
    """A plain, graded, noisy or photo-like (soft blobs) ground, away from the colour in `avoid`."""
    def colour():
        for _ in range(20):
            base = rng.choice([rng.randint(200, 255), rng.randint(0, 60), None])
            rgb = tuple(rng.randint(0, 255) for _ in range(3)) if base is None else tuple(max(0, min(255, base + rng.randint(-20, 20))) for _ in range(3))
            if avoid is None or sum(abs(a - b) for a, b in zip(rgb, avoid)) > 180:
                return rgb
        return (255, 255, 255) if avoid is None or sum(avoid) < 400 else (0, 0, 0)

    kind = rng.choice(["plain", "plain", "grade", "noise", "blobs"])
    first = colour()
    if kind == "plain":
        return Image.new("RGB", (w, h), first)
    if kind == "grade":
        second = tuple(max(0, min(255, v + rng.randint(-40, 40))) for v in first)
        t = np.linspace(0, 1, h)[:, None, None] if rng.random() < 0.5 else np.linspace(0, 1, w)[None, :, None]
        return Image.fromarray(np.broadcast_to(np.array(first) * (1 - t) + np.array(second) * t, (h, w, 3)).astype(np.uint8))
    if kind == "noise":
        noise = np.random.default_rng(rng.randint(0, 2**31)).normal(0, rng.uniform(3, 18), (h, w, 3))
        return Image.fromarray(np.clip(np.array(first) + noise, 0, 255).astype(np.uint8))
    image = Image.new("RGB", (w, h), first)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 6)):
        x, y, r = rng.randint(0, w), rng.randint(0, h), rng.randint(w // 6, w // 2)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(max(0, min(255, v + rng.randint(-35, 35))) for v in first))
    return image.filter(ImageFilter.GaussianBlur(w / 16))


def shape(draw, name, x, y, r, fill, ground):
    ring = lambda n, spin, radii: [(x + radii[i % len(radii)] * math.cos(2 * math.pi * i / n + spin), y + radii[i % len(radii)] * math.sin(2 * math.pi * i / n + spin)) for i in range(n)]
    if name == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif name == "square":
        s = r * 0.88
        draw.rectangle((x - s, y - s, x + s, y + s), fill=fill)
    elif name == "triangle":
        draw.polygon(ring(3, -math.pi / 2, [r * 1.1]), fill=fill)
    elif name == "star":
        draw.polygon(ring(10, -math.pi / 2, [r * 1.1, r * 0.45]), fill=fill)
    elif name == "diamond":
        draw.polygon([(x, y - r * 1.15), (x + r * 0.8, y), (x, y + r * 1.15), (x - r * 0.8, y)], fill=fill)
    elif name == "cross":
        t = r * 0.33
        draw.rectangle((x - r, y - t, x + r, y + t), fill=fill)
        draw.rectangle((x - t, y - r, x + t, y + r), fill=fill)
    elif name == "ring":
        draw.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=max(2, int(r * 0.4)))
    else:  # heart
        points = [(16 * math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))) for t in np.linspace(0, 2 * math.pi, 40)]
        draw.polygon([(x + px * r / 16, y + py * r / 16) for px, py in points], fill=fill)


CENTRES = {"top left": (0.27, 0.27), "top right": (0.73, 0.27), "bottom left": (0.27, 0.73), "bottom right": (0.73, 0.73), "center": (0.5, 0.5)}


# What a colour's name means elsewhere (CSS), beside the value in COLOURS.
ALSO = {"red": [(255, 0, 0), (200, 0, 0)], "green": [(0, 128, 0), (0, 255, 0), (0, 180, 0)], "blue": [(0, 0, 255), (0, 0, 180), (30, 144, 255)], "yellow": [(255, 255, 0), (255, 235, 0)],
        "orange": [(255, 165, 0), (255, 140, 0)], "purple": [(128, 0, 128), (150, 0, 200)], "pink": [(255, 192, 203), (255, 105, 180)], "brown": [(139, 69, 19), (150, 75, 0)], "black": [(0, 0, 0)], "white": [(255, 255, 255)],
        "gray": [(128, 128, 128), (160, 160, 160)], "cyan": [(0, 255, 255), (0, 200, 200)]}
OTHERS = {COLOURS[name][1]: values for name, values in ALSO.items()}


def jitter(rng, rgb):
    if rgb in OTHERS and rng.random() < 0.35:
        rgb = rng.choice(OTHERS[rgb])
    return tuple(max(0, min(255, v + rng.randint(-14, 14))) for v in rgb)


def outliner(rng):
    """A function that draws the edge of a shape; most images have none."""
    if rng.random() > 0.15:
        return lambda *_: None
    ink, share = rng.choice([(0, 0, 0), (0, 0, 0), (255, 255, 255), (60, 60, 60)]), rng.uniform(0.04, 0.1)

    def outline(draw, name, x, y, r):
        width = max(2, int(r * share))
        if name == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=width)
        elif name == "square":
            s = r * 0.88
            draw.rectangle((x - s, y - s, x + s, y + s), outline=ink, width=width)

    return outline


def draw_shape_at(rng, image, scene, fx, fy, fill):
    w, h = image.size
    most = 0.46 if abs(fx - 0.5) + abs(fy - 0.5) < 0.15 else 0.26  # larger in the middle
    r = min(w, h) * rng.uniform(0.12, rng.choice([0.22, most]))
    shape(ImageDraw.Draw(image), scene["shape"], fx * w, fy * h, r, fill, None)
    outliner(rng)(ImageDraw.Draw(image), scene["shape"], fx * w, fy * h, r)


def make_image(rng: random.Random, split="train", kind=None):
    """(RGB image as it goes to the patches, scene)."""
    kind = kind or rng.choices(["one", "count", "number", "word", "emoji", "unknown", "mixed", "plain"], [17, 19, 16, 14, 12, 10, 22, 2])[0]  # harder kinds more often
    big = rng.choice([128, 160, 160, 160, 192, 256, 320])
    w, h = (big, big) if rng.random() < 0.6 else (big, int(big * rng.uniform(0.7, 1.0)))
    if rng.random() < 0.5:
        w, h = h, w
    for _ in range(300):
        colour, form, place = rng.choice(list(COLOURS)), rng.choice(list(SHAPES)), rng.choice(list(POSITIONS))
        n, number = rng.randint(2, 6), rng.choice([rng.randint(0, 9), rng.randint(10, 99), rng.randint(10, 99), rng.randint(100, 999), rng.randint(100, 999)])
        key = {"one": (colour, form, place), "count": (n, form, colour), "number": ("n", number)}.get(kind)
        if key is None or held(kind, *key) == (split == "heldout"):
            break
    rgb = COLOURS[colour][1]
    scene = {"kind": kind, "colour": colour, "shape": form, "place": place, "count": n, "number": number}
    if kind == "plain":
        image = Image.new("RGB", (w, h), jitter(rng, rgb))
    elif kind == "unknown" and rng.random() < 0.8:
        image = more_kinds.strange(rng, w, h)
        scene["colour"] = more_kinds.main_colour(image)
    elif kind == "unknown" and rng.random() < 0.3:
        image, char = background(rng, w, h), more_kinds.strange_emoji(rng)
        paste_emoji(rng, image, char)
        scene["colour"] = more_kinds.main_colour(image)
    elif kind == "unknown":
        image = Image.new("RGB", (w, h), jitter(rng, rgb))
        noise = np.random.default_rng(rng.randint(0, 2**31)).normal(0, rng.uniform(8, 40), (max(1, h // rng.choice([1, 4, 12])) + 1, w // 4 + 1, 3))
        field = Image.fromarray(np.clip(noise * 2 + 128, 0, 255).astype(np.uint8)).resize((w, h), Image.BICUBIC)
        image = Image.fromarray(np.clip(np.array(image, float) + (np.array(field, float) - 128) * 0.5, 0, 255).astype(np.uint8))
    else:
        plain_ground = rng.random() < 0.5 and kind in ("one", "count", "mixed", "emoji")
        image = Image.new("RGB", (w, h), (255, 255, 255) if colour != "white" or kind == "emoji" else (0, 0, 0)) if plain_ground else background(rng, w, h, rgb if kind not in ("emoji", "mixed") else None)
        if kind == "one":
            x, y = CENTRES[place]
            draw_shape_at(rng, image, scene, x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05), jitter(rng, rgb))
        elif kind == "count":
            if rng.random() < 0.5:
                cells = rng.sample([(i, j) for i in range(3) for j in range(3)], n)
                scene["cells"] = [3 * j + i for i, j in cells]
                r, shift = min(w, h) * rng.uniform(0.09, 0.135), lambda: rng.uniform(-0.06, 0.06)
                centres = [(w * (i + 0.5 + shift()) / 3, h * (j + 0.5 + shift()) / 3) for i, j in cells]
            else:
                centres, r = more_kinds.rows(rng, n, w, h)
                r = max(r, 7 * max(w, h) / 160)
            d, outline = ImageDraw.Draw(image), outliner(rng)
            for x, y in centres:
                shape(d, form, x, y, r, jitter(rng, rgb), None)
                outline(d, form, x, y, r)
        elif kind == "mixed":
            mean = np.asarray(image.resize((8, 8))).reshape(-1, 3).mean(0)
            for _ in range(60):
                under = image.copy()
                parts = more_kinds.mixed(rng, under, shape, jitter, outliner(rng))
                if all(np.abs(mean - COLOURS[name][1]).sum() > 150 for name, _ in parts["parts"]):
                    break
            scene.update(parts)
            image = under
        elif kind in ("number", "word"):
            scene["word"] = rng.choice(text_data.SPELL)
            text = str(number) if kind == "number" else scene["word"]
            if kind == "word" and rng.random() < 0.3:
                text = text.upper()
            size = int(min(h * rng.uniform(0.4, 0.62), w * 1.4 / len(text))) if kind == "number" else int(min(h * 0.45, w * 1.45 / len(text)) * rng.uniform(0.85, 1.0))
            f = font(rng.choice(FONTS), size)
            d = ImageDraw.Draw(image)
            box = d.textbbox((0, 0), text, font=f)
            inside = lambda at, length, low, high: min(max(at, 1 - low), max(1 - low, length - 1 - high))
            x = inside((w - box[2] - box[0]) / 2 + rng.uniform(-0.06, 0.06) * w, w, box[0], box[2])
            y = inside((h - box[3] - box[1]) / 2 + rng.uniform(-0.1, 0.1) * h, h, box[1], box[3])
            d.text((x, y), text, font=f, fill=jitter(rng, rgb))
        elif kind == "emoji":
            char = rng.choice(list(more_kinds.FACES)) if rng.random() < 0.06 else more_kinds.one_of(rng, FIRST_EMOJI)
            scene["emoji"] = char
            if char in more_kinds.FACES and rng.random() < 0.7:
                more_kinds.face(rng, image, char)
            else:
                paste_emoji(rng, image, char)
    return image, scene


def paste_emoji(rng, image, char):
    (w, h), side = image.size, int(min(image.size) * rng.uniform(0.5, 0.9))
    bitmap = emoji_bitmap(char).resize((side, side), Image.BICUBIC)
    image.paste(bitmap, (rng.randint(0, w - side), rng.randint(0, h - side)), bitmap)


def prepare(image: Image.Image) -> np.ndarray:
    """RGB uint8 [h, w, 3] at the size that the checkpoint's image processor chooses (multiples of 32)."""
    w, h = image.size
    rh, rw = max(32, round(h / 32) * 32), max(32, round(w / 32) * 32)
    if rh * rw > c.MAX_PIXELS:
        beta = math.sqrt(h * w / c.MAX_PIXELS)
        rh, rw = max(32, math.floor(h / beta / 32) * 32), max(32, math.floor(w / beta / 32) * 32)
    elif rh * rw < c.MIN_PIXELS:
        beta = math.sqrt(c.MIN_PIXELS / (h * w))
        rh, rw = math.ceil(h * beta / 32) * 32, math.ceil(w * beta / 32) * 32
    return np.asarray(image.resize((rw, rh), Image.BICUBIC))


def compressed(frames: np.ndarray, rng) -> np.ndarray:
    """uint8 [t, h, w, 3] as it comes out of JPEG files of one quality, colours at half the resolution."""
    quality, out = rng.randint(35, 92), []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality, subsampling=2)
        out.append(np.asarray(Image.open(file)))
    return np.stack(out)


def patches(frames: np.ndarray):
    """uint8 [t, h, w, 3], t even (an image comes doubled), to ([patches, 1536] float32 in [-1, 1], grid)."""
    t, h, w, _ = frames.shape
    x = (frames.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2).reshape(t // 2, 2, 3, h // 32, 2, 16, w // 32, 2, 16)
    return x.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1536), (t // 2, h // 16, w // 16)


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def describe(scene, en):
    k = scene["kind"]
    if k == "unknown" and scene["colour"] is None:
        return "I can't tell what it is. I see many colours." if en else "我认不出来,有很多颜色。"
    if k == "mixed":
        return listed([thing(part, en) for part in scene["parts"]], en)
    cz, sz = COLOURS[scene["colour"]][0], SHAPES[scene["shape"]]
    if k == "plain":
        return f"A plain {scene['colour']} picture." if en else f"一张纯{cz}的图片。"
    if k == "one":
        return f"{article(scene['colour'])} {scene['shape']}".capitalize() + "." if en else f"一个{cz}的{sz}。"
    if k == "count":
        return f"{COUNTS[scene['count']][0]} {scene['colour']} {plural(scene['shape'])}.".capitalize() if en else f"{COUNTS[scene['count']][1]}个{cz}的{sz}。"
    if k == "number":
        return f"The number {scene['number']}." if en else f"数字{scene['number']}。"
    if k == "word":
        return f"The word {scene['word']}." if en else f"单词{scene['word']}。"
    if k == "emoji":
        name = EMOJI[scene["emoji"]]
        return (f"It is {name[0]}." if name[0].endswith("s") and not name[0].endswith("us") else f"It is {article(name[0])}.") if en else f"这是{name[1]}。"
    return f"I can't tell what it is. I see mostly {scene['colour']}." if en else f"我认不出来,主要是{cz}。"


def thing(part, en):
    colour, form = part
    return f"{article(colour)} {form}" if en else f"一个{COLOURS[colour][0]}的{SHAPES[form]}"


def listed(things, en):
    if en:
        text = ", ".join(things[:-1]) + " and " + things[-1] + "."
        return text[0].upper() + text[1:]
    return ",".join(things[:-1]) + "和" + things[-1] + "。"


def plural(name):
    return name + ("es" if name.endswith("s") else "s")


def image_questions(rng, scene, en):
    """[(question, answer)] that fit the scene, in random order."""
    k = scene["kind"]
    out = [(ask(rng, "picture", en), describe(scene, en))]
    if k == "unknown":
        return out
    if k == "mixed":
        return mixed_questions(rng, scene, en, out)
    cz, sz = COLOURS[scene["colour"]][0], SHAPES[scene["shape"]]
    if k in ("one", "count"):
        more = "" if k == "one" else "s"
        out.append((ask(rng, "colour" + more, en), (f"It is {scene['colour']}." if k == "one" else f"They are {scene['colour']}.") if en else f"是{cz}。"))
        out.append((ask(rng, "shape" + more, en), (f"It is {article(scene['shape'])}." if k == "one" else f"They are {plural(scene['shape'])}.") if en else f"是{sz}。"))
    if k == "plain":
        out += [(ask(rng, "colour", en), f"It is {scene['colour']}." if en else f"是{cz}。")] * 2
    if k == "one":
        out.append((ask(rng, "where", en, x=scene["shape"] if en else sz), (f"It is in the {scene['place']}.") if en else f"在{POSITIONS[scene['place']]}。"))
        if rng.random() < 0.3:
            out.append(seen_or_not(rng, [(scene["colour"], scene["shape"])], en))
    if k == "count":
        out += [(ask(rng, "many", en, x=plural(scene["shape"]) if en else sz), f"There are {COUNTS[scene['count']][0]}." if en else f"有{COUNTS[scene['count']][1]}个。")] * 2
    if k == "number":
        out += [(ask(rng, "number", en), f"It says {scene['number']}." if en else f"写着{scene['number']}。")] * 2
    if k == "word":
        out += [(ask(rng, "word", en), f"It says {scene['word']}." if en else f"写着{scene['word']}。")] * 2
    rng.shuffle(out)
    return out


def seen_or_not(rng, parts, en):
    """Whether a shape is there; half of the time it is."""
    colour, form = rng.choice(parts)
    other = rng.choice([f for f in SHAPES if f not in [p[1] for p in parts]])
    if rng.random() < 0.5:
        return ask(rng, "is there", en, x=form if en else SHAPES[form]), f"Yes, {thing((colour, form), True)}." if en else f"有,{thing((colour, form), False)}。"
    return ask(rng, "is there", en, x=other if en else SHAPES[other]), f"No, there is no {other}." if en else f"没有{SHAPES[other]}。"


def mixed_questions(rng, scene, en, out):
    parts = scene["parts"]
    ends = ("top", "bottom") if scene["column"] else ("left", "right")
    for end, part in zip(ends, (parts[0], parts[-1])):
        text = thing(part, en)
        out.append((ask(rng, end, en), text[0].upper() + text[1:] + ("." if en else "。")))
    colour, form = rng.choice(parts)
    if len({f for _, f in parts}) == len(parts):
        out += [(ask(rng, "colour of", en, x=form if en else SHAPES[form]), f"It is {colour}." if en else f"是{COLOURS[colour][0]}。"), seen_or_not(rng, parts, en)]
    out += [(ask(rng, "which shapes", en), out[0][1]), (ask(rng, "picture", en), out[0][1]), (ask(rng, "many", en, x="shapes" if en else "形状"), f"There are {COUNTS[len(parts)][0]}." if en else f"有{COUNTS[len(parts)][1]}个。")]
    rng.shuffle(out)
    return out


def image_dialogue(rng, scene, tokens, lang=None, more=0.4):
    """Messages about one image; with chance `more` each, further questions follow. (Many turns teach more per picture.)"""
    lang = lang or rng.choice(["zh", "zh", "zht", "en", "en", "en"])
    en = lang == "en"
    (q, a), *rest = image_questions(rng, scene, en)
    messages = [("user", [("image", tokens), q] if rng.random() < 0.75 else [q, ("image", tokens)]), ("assistant", a)]
    told = {a}
    for q, a in rest:
        if rng.random() >= more:
            break
        if a not in told:
            told.add(a)
            messages += [("user", q or ("What is it?" if en else "是什么?")), ("assistant", a)]
    return localise(messages, lang)


def localise(messages, lang):
    def one(text):
        if lang != "en":
            text = text_data.full_width(text)
        return text_data.traditional(text) if lang == "zht" else text

    return [(r, one(m) if isinstance(m, str) else [one(p) if isinstance(p, str) else p for p in m]) for r, m in messages]


def make_sound(rng: random.Random, split="train"):
    """(16 kHz waveform, facts): beeps of one pitch, or noise, or silence."""
    for _ in range(100):
        n, level = rng.randint(1, 6), rng.choice(list(TONES))
        if held("beeps", n, level, rng.randint(0, 3)) == (split == "heldout") or split == "train":
            break
    kind = rng.choices(["beeps", "noise", "silence", "tune"], [20, 2, 2, 1])[0]
    sr = 16000
    if kind in ("beeps", "tune"):
        low, high = {"low": (170, 400), "middle": (430, 1150), "high": (1300, 3800)}[level]
        base = math.exp(rng.uniform(math.log(low), math.log(high)))
        gap, dur = (rng.uniform(0.12, 0.3), rng.uniform(0.12, 0.3)) if rng.random() < 0.5 else (rng.uniform(0.07, 0.8 if n < 4 else 0.5), rng.uniform(0.06, 0.6 if n < 4 else 0.4))
        edge, over, form = rng.uniform(0.003, 0.03), rng.uniform(0, 0.4), rng.choice(["sine", "sine", "sine", "square", "triangle"])
        parts = [np.zeros(int(sr * rng.choice([0, rng.uniform(0.05, 0.5), rng.uniform(0, 1)])))]
        for _ in range(n if kind == "beeps" else rng.randint(4, 9)):
            if kind == "tune":
                base, gap = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12), 0.02
            t = np.arange(int(sr * dur)) / sr
            w = np.sin(2 * np.pi * base * t)
            w = w + over * np.sin(4 * np.pi * base * t) if form == "sine" else np.sign(w) * 0.6 if form == "square" else np.arcsin(w) * 2 / np.pi
            parts += [w * np.minimum(1, np.minimum(t, dur - t) / edge), np.zeros(int(sr * gap))]
        wave = np.concatenate(parts[: rng.choice([-1, None])]) * rng.uniform(0.1, 0.8)
        wave = wave + np.random.default_rng(rng.randint(0, 2**31)).normal(0, rng.choice([0, 0.002, 0.01]), len(wave))
    else:
        wave = np.random.default_rng(rng.randint(0, 2**31)).normal(0, rng.uniform(0.05, 0.3) if kind == "noise" else 0.0002, int(sr * rng.uniform(1, 3)))
    return wave.astype(np.float32), {"kind": kind, "count": n, "level": level}


def sound_dialogue(rng, facts, tokens, lang=None):
    lang = lang or rng.choice(["zh", "zh", "zht", "en", "en", "en"])
    en = lang == "en"
    n, level = facts["count"], facts["level"]
    zh = "一两三四五六"[n - 1]
    if facts["kind"] == "beeps":
        a = (f"I hear {COUNTS[n][0]} {level} beep{'s' if n > 1 else ''}." if en else f"我听到{zh}声{TONES[level]}音。")
    else:
        a = {"noise": ("I hear only noise.", "我只听到噪声。"), "silence": ("It is silent.", "很安静,没有声音。"), "tune": ("I hear some music.", "我听到音乐。")}[facts["kind"]][0 if en else 1]
    messages = [("user", [("audio", tokens), ask(rng, "beeps", en)]), ("assistant", a)]
    if facts["kind"] == "beeps" and rng.random() < 0.35:
        if rng.random() < 0.5:
            q, a = ask(rng, "beeps again", en), f"{COUNTS[n][0].capitalize()}." if en else f"{zh}声。"
        else:
            q, a = ask(rng, "level", en), f"It was {level}." if en else f"是{TONES[level]}音。"
        messages += [("user", q), ("assistant", a)]
    return localise(messages, lang)


def make_video(rng: random.Random, split="train", kind=None, size=None):
    """(frames uint8 [t, h, w, 3] at two a second, scene): one shape that moves, changes colour, or appears several times; `size` is (w, h).
    scene["track"]: (x, y, colour) of each frame, None where nothing is shown."""
    w, h = size or rng.choice([(128, 128), (128, 128), (160, 96), (96, 160)])
    asked = kind
    for _ in range(300):
        kind = asked or rng.choices(["move", "change", "appear"], [3, 2, 3])[0]
        colour, other = rng.sample(list(COLOURS), 2)
        form, move, n = rng.choice(list(SHAPES)), rng.choice(list(MOVES)), rng.randint(1, 4)
        key = {"move": (kind, colour, form, move), "change": (kind, colour, other), "appear": (kind, colour, form, n)}[kind]
        if held(*key) == (split == "heldout"):
            break
    t = rng.choice([8, 10]) if kind == "appear" else rng.choice([4, 6, 8])
    rgb, last = COLOURS[colour][1], COLOURS[other][1]
    for _ in range(30):
        ground = background(rng, w, h, rgb)
        mean = np.asarray(ground).reshape(-1, 3).mean(0)
        if kind != "change" or sum(abs(mean - last)) > 150:
            break
    r = min(w, h) * rng.uniform(0.16, 0.24)
    cross = rng.uniform(0.35, 0.65)
    a, b = rng.uniform(0.15, 0.3), rng.uniform(0.7, 0.85)
    fill, fill2, when = jitter(rng, rgb), jitter(rng, last), rng.uniform(0.35, 0.65)
    shown = appearances(rng, n, t) if kind == "appear" else [True] * t
    frames, track = [], []
    for i in range(t):
        p = i / (t - 1)
        at = a + (b - a) * p
        if move in ("to the left", "up"):
            at = 1 - at
        x, y = (at, cross) if "to the" in move else (cross, at)
        if kind != "move":
            x, y = 0.5, cross
        frame = ground.copy()
        if shown[i]:
            shape(ImageDraw.Draw(frame), form, x * w, y * h, r, fill2 if kind == "change" and p >= when else fill, None)
        track.append((x, y, other if kind == "change" and p >= when else colour) if shown[i] else None)
        frames.append(np.asarray(frame))
    frames = np.stack(frames)
    if split == "train" and rng.random() < 0.5:
        frames = compressed(frames, rng)
    return frames, {"kind": kind, "colour": colour, "other": other, "shape": form, "move": move, "count": n, "track": track}


def appearances(rng, n, t):
    """t frames with n separate stretches in which the shape is visible."""
    lengths, gaps = [1] * n, [0] + [1] * (n - 1) + [0]
    for _ in range(t - sum(lengths) - sum(gaps)):
        if rng.random() < 0.3:
            lengths[rng.randrange(n)] += 1
        else:
            gaps[rng.randrange(n + 1)] += 1
    out = [False] * gaps[0]
    for length, gap in zip(lengths, gaps[1:]):
        out += [True] * length + [False] * gap
    return out


TIMES = {1: ("once", "一"), 2: ("twice", "两"), 3: ("three times", "三"), 4: ("four times", "四")}


def video_answer(scene, en):
    cz, oz, sz = COLOURS[scene["colour"]][0], COLOURS[scene["other"]][0], SHAPES[scene["shape"]]
    if scene["kind"] == "move":
        return f"The {scene['colour']} {scene['shape']} moves {scene['move']}." if en else f"{cz}的{sz}{MOVES[scene['move']]}移动。"
    if scene["kind"] == "change":
        return f"The {scene['shape']} changes from {scene['colour']} to {scene['other']}." if en else f"{sz}从{cz}变成{oz}。"
    return f"The {scene['colour']} {scene['shape']} appears {TIMES[scene['count']][0]}." if en else f"{cz}的{sz}出现了{TIMES[scene['count']][1]}次。"


def video_question(rng, en):
    return ask(rng, "video", en)


def video_dialogue(rng, scene, tokens, lang=None):
    lang = lang or rng.choice(["zh", "zh", "zht", "en", "en", "en"])
    en = lang == "en"
    form = scene["shape"] if en else SHAPES[scene["shape"]]
    q = ask(rng, scene["kind"], en, x=form) if rng.random() < 0.5 else video_question(rng, en)
    return localise([("user", [("video", tokens), q]), ("assistant", video_answer(scene, en))], lang)


def clip_dialogue(rng, scene, facts, part, lang=None):
    """A question about a video's frames or audio. `facts` of the audio as `make_sound` or `spoken` gives them; speech is
    transcribed in its own language."""
    speech = "kind" not in facts
    lang = facts["lang"] if speech else lang or rng.choice(["zh", "zht", "en", "en"])
    en = lang == "en"
    if rng.random() < 0.4:
        q, a = video_question(rng, en), video_answer(scene, en)
    elif speech:
        q = rng.choice(["What is said in the video?", "What do you hear in the video?"]) if en else rng.choice(["视频里说了什么?", "视频里有人说了什么?"])
        a = facts["text"] if en else facts["text"].rstrip("。?!")
    else:
        q = rng.choice(["What do you hear in the video?", "What sound is in the video?"]) if en else rng.choice(["视频里有什么声音?", "你在视频里听到了什么?"])
        a = sound_dialogue(rng, facts, 1, "en" if en else "zh")[1][1]
    return localise([("user", [part, q]), ("assistant", a)], lang)


def pair_dialogue(rng, first, second, tokens, lang=None):
    """Two images of one shape each: alike or not, or the content of one."""
    lang = lang or rng.choice(["zh", "zh", "zht", "en", "en", "en"])
    en = lang == "en"
    kind = rng.choice(["colour", "shape", "first", "second"])
    if kind in ("first", "second"):
        q = rng.choice([f"What is in the {kind} picture?", f"Describe the {kind} picture."]) if en else rng.choice([f"{'第一张' if kind == 'first' else '第二张'}图里有什么?", f"{'第一张' if kind == 'first' else '第二张'}是什么?"])
        a = describe(first if kind == "first" else second, en)
    else:
        name = (lambda s: s["colour"] if en else COLOURS[s["colour"]][0]) if kind == "colour" else (lambda s: article(s["shape"]) if en else SHAPES[s["shape"]])
        q = rng.choice([f"Are they the same {kind}?", f"Do they have the same {kind}?"]) if en else ("颜色一样吗?" if kind == "colour" else "形状一样吗?")
        if first[kind] == second[kind]:
            a = f"Yes, both are {name(first) if kind == 'colour' else plural(first['shape'])}." if en else f"一样,都是{name(first)}。"
        else:
            a = f"No, the first is {name(first)} and the second is {name(second)}." if en else f"不一样,第一张是{name(first)},第二张是{name(second)}。"
    images = [("image", tokens), ("image", tokens)]
    return localise([("user", [*images, q]), ("assistant", a)], lang)


def answer_only(rng, lang):
    """An answer of the image, audio or video skills, for the talker's texts."""
    for _ in range(20):
        scene = {"kind": rng.choices(["one", "count", "number", "word", "emoji", "unknown"], [30, 20, 10, 6, 24, 5])[0], "colour": rng.choice(list(COLOURS)), "shape": rng.choice(list(SHAPES)),
                 "place": rng.choice(list(POSITIONS)), "count": rng.randint(2, 6), "number": rng.randint(0, 999), "word": rng.choice(text_data.SPELL), "emoji": rng.choice(list(EMOJI))}
        other = {**scene, "colour": rng.choice(list(COLOURS)), "shape": rng.choice(list(SHAPES))}
        pick = rng.random()
        if pick < 0.15:
            messages = sound_dialogue(rng, {"kind": "beeps", "count": rng.randint(1, 5), "level": rng.choice(list(TONES))}, 1, lang)
        elif pick < 0.3:
            film = {**scene, "kind": rng.choice(["move", "change", "appear"]), "other": other["colour"], "move": rng.choice(list(MOVES)), "count": rng.randint(1, 4)}
            messages = video_dialogue(rng, film, 1, lang)
        elif pick < 0.38:
            messages = pair_dialogue(rng, {**scene, "kind": "one"}, {**other, "kind": "one"}, 1, lang)
        else:
            messages = image_dialogue(rng, scene, 1, lang)
        return rng.choice([m for r, m in messages if r == "assistant"])
