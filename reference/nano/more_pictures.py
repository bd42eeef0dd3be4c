"""Images beyond the first grammar of `media_data.py`: two or three different shapes, shapes in rows, one plain
colour, a drawn face, and photographs or abstract images, of which nano can only name the main colour.

Each function draws on an RGB image and returns its facts for the scene.
"""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from extra_words import COLOURS, EMOJI, SHAPES, STRANGE_EMOJI

FACES = {"🙂": 1, "🙁": -1}


def far_apart(rng, n):
    """n clearly different colours."""
    close = [{"orange", "yellow"}, {"red", "orange"}, {"red", "pink"}, {"purple", "pink"}, {"brown", "red"}, {"brown", "orange"}, {"white", "gray"}, {"black", "gray"}, {"cyan", "blue"}, {"blue", "purple"}, {"cyan", "green"}]
    while True:
        names = rng.sample(list(COLOURS), n)
        if rng.random() < 0.35 or not any(pair <= set(names) for pair in close):
            return names


def mixed(rng, image, shape, jitter, outline):
    """Two or three shapes of different forms or colours; named from left to right, or from top to bottom when they stand in a column."""
    w, h = image.size
    n = 2 if rng.random() < 0.72 else 3
    colours = far_apart(rng, n)
    forms = rng.sample(list(SHAPES), n) if rng.random() < 0.9 else [rng.choice(list(SHAPES))] * n
    way = rng.choice(["row", "row", "row", "column", "diagonal"])
    d = ImageDraw.Draw(image)
    most = 0.46 / n * (w if way == "row" else h if way == "column" else min(w, h))
    same = rng.uniform(0.4, 0.95)
    for i, (colour, form) in enumerate(zip(colours, forms)):
        at, off = (i + 0.5) / n + rng.uniform(-0.04, 0.04), 0.5 + rng.uniform(-0.12, 0.12)
        x, y = {"row": (at, off), "column": (off, at), "diagonal": (at, at if i % 2 == 0 else 1 - at if n == 3 else at)}[way]
        r = min(most * (same if rng.random() < 0.6 else rng.uniform(0.35, 0.95)), 0.36 * min(w, h))
        shape(d, form, x * w, y * h, max(9, r), jitter(rng, COLOURS[colour][1]), None)
        outline(d, form, x * w, y * h, max(9, r))
    return {"parts": list(zip(colours, forms)), "column": way == "column", "colour": colours[0], "shape": forms[0]}


def rows(rng, n, w, h):
    """Centres and radius of n shapes in a row, a column, two rows, or anywhere apart."""
    way = rng.choice(["row", "row", "column", "two", "apart"])
    if way == "apart":
        r, out = min(w, h) * rng.uniform(0.08, 0.13), []
        for _ in range(2000):
            x, y = rng.uniform(1.3 * r, w - 1.3 * r), rng.uniform(1.3 * r, h - 1.3 * r)
            if all(math.hypot(x - a, y - b) > 2.5 * r for a, b in out):
                out.append((x, y))
                if len(out) == n:
                    return out, r
        way = "row"
    if way == "two" and n > 2:
        first = (n + 1) // 2
        lines = [(first, h * 0.3), (n - first, h * 0.7)]
        r = min(0.4 * w / first, 0.2 * h) * rng.uniform(0.6, 1)
        return [(w * (i + 0.5) / k, y) for k, y in lines for i in range(k)], r
    along, across = (w, h) if way != "column" else (h, w)
    r = min(0.42 * along / n, 0.3 * across) * rng.uniform(0.55, 1)
    off = rng.uniform(0.35, 0.65) * across
    return [((along * (i + 0.5) / n, off) if way != "column" else (off, along * (i + 0.5) / n)) for i in range(n)], r


def face(rng, image, char):
    """A face out of a circle, two dots and a curve, as typical code draws it."""
    w, h = image.size
    d = ImageDraw.Draw(image)
    r = min(w, h) * rng.uniform(0.25, 0.46)
    x, y = w / 2 + rng.uniform(-0.08, 0.08) * w, h / 2 + rng.uniform(-0.04, 0.04) * h
    line = max(2, int(r * rng.uniform(0.04, 0.1)))
    ink = rng.choice([(0, 0, 0), (30, 20, 10), (70, 40, 10)])
    fill = rng.choice([(255, 220, 50), (250, 200, 20), (255, 255, 0), (245, 215, 30), (255, 255, 255), (255, 200, 150)])
    d.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=ink if rng.random() < 0.7 or fill == (255, 255, 255) else None, width=line)
    eye, dx, dy = r * rng.uniform(0.08, 0.16), r * rng.uniform(0.28, 0.42), r * rng.uniform(0.2, 0.36)
    for side in (-1, 1):
        d.ellipse((x + side * dx - eye, y - dy - eye, x + side * dx + eye, y - dy + eye), fill=ink)
    m, drop = r * rng.uniform(0.42, 0.62), r * rng.uniform(0.02, 0.2)
    if FACES[char] > 0:
        d.arc((x - m, y - m + drop, x + m, y + m + drop), rng.randint(10, 30), rng.randint(150, 170), fill=ink, width=line)
    else:
        d.arc((x - m, y + 0.25 * r, x + m, y + 0.25 * r + 2 * m * 0.8), 200, 340, fill=ink, width=line)
    if rng.random() < 0.2:
        d.line((x, y - 0.05 * r, x, y + 0.15 * r), fill=ink, width=line)


def wave_field(g, w, h, scale):
    """Smooth noise [h, w] in 0..1 with details from `scale` pixels down."""
    total = np.zeros((h, w))
    weight = 1.0
    while scale >= 2:
        small = g.random((max(2, int(h / scale) + 2), max(2, int(w / scale) + 2)))
        total += weight * np.asarray(Image.fromarray((small * 255).astype(np.uint8)).resize((w, h), Image.BICUBIC), float) / 255
        scale, weight = scale / 2, weight * 0.55
    total -= total.min()
    return total / max(1e-6, total.max())


def strange(rng, w, h):
    """An image without anything that nano can name."""
    g = np.random.default_rng(rng.randint(0, 2**31))
    colour = lambda: tuple(int(v) for v in g.integers(0, 256, 3))
    kind = rng.choice(["landscape", "landscape", "landscape", "clouds", "clouds", "stripes", "checks", "polygons", "lines", "noise", "patches", "texture", "rays", "town", "portrait", "grade"])
    image = Image.new("RGB", (w, h), colour())
    d = ImageDraw.Draw(image)
    if kind in ("landscape", "town"):
        day = rng.random() < 0.7
        top, low = ((rng.randint(60, 150), rng.randint(130, 200), rng.randint(200, 255)), (200, rng.randint(210, 235), 250)) if day else ((rng.randint(10, 90), rng.randint(10, 60), rng.randint(40, 110)), (rng.randint(180, 255), rng.randint(90, 160), rng.randint(50, 120)))
        t = np.linspace(0, 1, h)[:, None, None]
        image = Image.fromarray(np.broadcast_to(np.array(top) * (1 - t) + np.array(low) * t, (h, w, 3)).astype(np.uint8))
        d = ImageDraw.Draw(image)
        if rng.random() < 0.5:
            x, y, r = rng.uniform(0.1, 0.9) * w, rng.uniform(0.08, 0.35) * h, min(w, h) * rng.uniform(0.04, 0.1)
            d.ellipse((x - r, y - r, x + r, y + r), fill=(255, rng.randint(200, 250), rng.randint(80, 220)))
        for layer in range(rng.randint(1, 4)):
            base, x = h * rng.uniform(0.4, 0.85), np.arange(0, w + 8, 8)
            sharp = rng.random() < 0.4
            y = base - h * rng.uniform(0.05, 0.22) * (np.abs(np.sin(x / w * rng.uniform(3, 12) + rng.uniform(0, 6))) if sharp else np.sin(x / w * rng.uniform(2, 9) + rng.uniform(0, 6)))
            shade = rng.choice([(rng.randint(20, 110), rng.randint(90, 180), rng.randint(20, 80)), (rng.randint(60, 150),) * 3, (rng.randint(90, 200), rng.randint(70, 150), rng.randint(40, 110)), (rng.randint(10, 80), rng.randint(60, 130), rng.randint(120, 200))])
            d.polygon([(0, h), *zip(x.tolist(), y.tolist()), (w, h)], fill=shade)
        for _ in range(rng.randint(0, 5)):
            x, y, r = rng.uniform(0, w), h * rng.uniform(0.5, 0.9), min(w, h) * rng.uniform(0.03, 0.09)
            if kind == "town":
                d.rectangle((x, y - rng.uniform(2, 6) * r, x + 2 * r, h), fill=(rng.randint(60, 200),) * 3)
            else:
                d.rectangle((x - r / 5, y, x + r / 5, y + 2 * r), fill=(90, 60, 30))
                d.ellipse((x - r, y - 1.5 * r, x + r, y + r / 2), fill=(20, rng.randint(80, 150), 40))
    elif kind in ("clouds", "texture", "patches"):
        a, b, c = (np.array(colour(), float) for _ in range(3))
        f, s = (wave_field(g, w, h, rng.choice([8, 24, 60, 120]) if kind != "texture" else 6)[:, :, None] for _ in range(2))
        if kind == "patches":
            f = np.round(f * 3) / 3
        image = Image.fromarray(np.clip(a * f + b * (1 - f) * s + c * (1 - f) * (1 - s), 0, 255).astype(np.uint8))
    elif kind in ("stripes", "checks", "rays", "grade"):
        yy, xx = np.mgrid[0:h, 0:w]
        angle, period = rng.uniform(0, math.pi), rng.uniform(8, 50)
        u, v = xx * math.cos(angle) + yy * math.sin(angle), -xx * math.sin(angle) + yy * math.cos(angle)
        field = {"stripes": np.sin(u / period * 6.28), "checks": np.sin(u / period * 6.28) * np.sin(v / period * 6.28), "rays": np.sin(np.arctan2(yy - h * rng.uniform(0.2, 0.8), xx - w * rng.uniform(0.2, 0.8)) * rng.randint(3, 14)), "grade": (u - u.min()) / max(1, (u.max() - u.min())) * 2 - 1}[kind]
        if kind != "grade" and rng.random() < 0.6:
            field = np.sign(field)
        f = (field[:, :, None] + 1) / 2
        image = Image.fromarray((np.array(colour()) * f + np.array(colour()) * (1 - f)).astype(np.uint8))
    elif kind in ("polygons", "lines", "portrait"):
        for _ in range(rng.randint(8, 40)):
            if kind == "lines":
                d.line([(rng.uniform(0, w), rng.uniform(0, h)) for _ in range(rng.randint(2, 6))], fill=colour(), width=rng.randint(1, 6))
            else:
                x, y = rng.uniform(0, w), rng.uniform(0, h)
                d.polygon([(x + rng.gauss(0, w / 5), y + rng.gauss(0, h / 5)) for _ in range(rng.randint(3, 7))], fill=colour())
        if kind == "portrait":
            skin = rng.choice([(230, 190, 160), (200, 150, 110), (120, 80, 55), (250, 215, 190)])
            x, y, r = w * rng.uniform(0.4, 0.6), h * rng.uniform(0.35, 0.5), min(w, h) * rng.uniform(0.15, 0.25)
            d.ellipse((x - r * 1.15, y - r * 1.5, x + r * 1.15, y + r * 0.9), fill=rng.choice([(40, 25, 15), (120, 80, 30), (20, 20, 20)]))
            d.rectangle((x - 1.8 * r, y + 1.6 * r, x + 1.8 * r, h), fill=colour())
            d.ellipse((x - r, y - 1.2 * r, x + r, y + 1.4 * r), fill=skin)
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 4)))
    else:
        noise = g.normal(128, rng.uniform(20, 90), (max(2, h // rng.choice([1, 2, 6])), max(2, w // rng.choice([1, 2, 6])), 3))
        image = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).resize((w, h), rng.choice([Image.NEAREST, Image.BICUBIC]))
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
    if rng.random() < 0.5:
        image = Image.fromarray(np.clip(np.asarray(image, float) + g.normal(0, rng.uniform(3, 25), (h, w, 1 if rng.random() < 0.5 else 3)), 0, 255).astype(np.uint8))
    return image


def strange_emoji(rng):
    return rng.choice(STRANGE_EMOJI)


_TABLE = np.array([rgb for _, rgb in COLOURS.values()], float)


def main_colour(image):
    """The named colour of most of the image, None when there is none."""
    small = np.asarray(image.resize((24, 24), Image.BOX), float).reshape(-1, 3)
    named = np.bincount(((small[:, None] - _TABLE) ** 2).sum(-1).argmin(1), minlength=len(_TABLE)) / len(small)
    return list(COLOURS)[int(named.argmax())] if named.max() > 0.5 else None


def one_of(rng, known):
    """An emoji, those of the second grammar more often."""
    chars = list(EMOJI)
    return rng.choice(chars[known:]) if rng.random() < 0.5 else rng.choice(chars)
