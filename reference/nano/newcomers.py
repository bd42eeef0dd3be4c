"""What new users try first: prompts, images, audio and videos in natural wording, made by code that training never uses.

`rows()` gives [(kind, content, media, right)]: `content` as `chat.py` takes it with None where the medium goes, `media` ("image", array), ("audio", wave), ("video", frames) or None,
and `right(reply)` whether a person would accept the reply. `talks(rng, n)` gives conversations of twelve turns.
"""

import random
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SR = 16000


def norm(text):
    wide = str.maketrans("\uff0c\uff1f\uff01\uff1a\u3002", ",?!:.")
    return text.translate(wide).lower().strip()


def has(*parts, no=()):
    """All parts present, as words in English (also beside Chinese); a part may give alternatives with |."""
    def found(part, text):
        return any(re.search(rf"(?<![a-z0-9]){re.escape(p)}(?![a-z0-9])" if p.isascii() else re.escape(p), text) for p in part.split("|"))

    return lambda reply: all(found(p, norm(reply)) for p in parts) and not any(found(p, norm(reply)) for p in no)


def number(n):
    """The last number is n."""
    return lambda reply: (re.findall(r"-?\d+", norm(reply)) or [None])[-1] == str(n)


def sequence(xs):
    return lambda reply: re.findall(r"\d+", reply) == [str(x) for x in xs]


def letters(word):
    return lambda reply: re.sub("[^a-z]", "", norm(reply)) == word and "," in norm(reply) + ","


def says(text):
    plain = lambda t: re.sub(r"[\s,.!?:;\"'“”。]", "", norm(t))
    return lambda reply: plain(text) == plain(reply)


def unsure(reply):
    return has("can't tell|do not know|don't know|认不出|不知道|不会|看不出")(reply)


WORDS = {"one": "one|a|1", "two": "two|2", "three": "three|3", "four": "four|4", "five": "five|5", "six": "six|6"}
INK = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255), "yellow": (255, 230, 0), "purple": (128, 0, 128), "orange": (255, 150, 0), "black": (0, 0, 0), "pink": (255, 130, 190), "white": (255, 255, 255)}


def canvas(w=400, h=400, ground=(255, 255, 255)):
    return np.broadcast_to(np.array(ground, np.uint8), (h, w, 3)).copy()


def stamp(image, form, cx, cy, r, colour):
    """A shape by its inequality, independent of the code that draws for training."""
    yy, xx = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    x, y = (xx - cx) / r, (yy - cy) / r
    if form == "circle":
        mask = x * x + y * y <= 1
    elif form == "square":
        mask = np.maximum(abs(x), abs(y)) <= 0.9
    elif form == "triangle":
        mask = (y <= 0.8) & (y >= -0.9) & (abs(x) <= (y + 0.9) * 0.55)
    elif form == "diamond":
        mask = abs(x) * 1.25 + abs(y) <= 1.1
    elif form == "cross":
        mask = ((abs(x) <= 0.3) & (abs(y) <= 1)) | ((abs(y) <= 0.3) & (abs(x) <= 1))
    elif form == "ring":
        q = x * x + y * y
        mask = (q <= 1) & (q >= 0.4)
    elif form == "heart":
        mask = ((x * 1.15) ** 2 + (y * -1.15 + 0.15) ** 2 - 0.9) ** 3 - (x * 1.15) ** 2 * (y * -1.15 + 0.15) ** 3 <= 0
    else:  # star
        angle, radius = np.arctan2(x, -y), np.hypot(x, y)
        off = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2 * np.pi / 5  # from the nearest tip, up to 36 degrees
        mask = radius <= 1.05 * 0.4 * np.sin(np.pi / 5) / (np.sin(off) + 0.4 * np.sin(np.pi / 5 - off))
    image[mask] = INK[colour]
    return image


def one(form, colour, at=(200, 200), r=90, **kw):
    return stamp(canvas(**kw), form, *at, r, colour)


def several(form, colour, places, r=40, **kw):
    image = canvas(**kw)
    for x, y in places:
        stamp(image, form, x, y, r, colour)
    return image


def mix(*parts, **kw):
    image = canvas(**kw)
    for form, colour, x, y, r in parts:
        stamp(image, form, x, y, r, colour)
    return image


def text(words, size=120, ground="white", ink="black", face="DejaVuSans.ttf"):
    image = Image.new("RGB", (400, 300), ground)
    ImageDraw.Draw(image).text((200, 150), words, font=ImageFont.truetype(f"/usr/share/fonts/truetype/dejavu/{face}", size), fill=ink, anchor="mm")
    return np.asarray(image)


def smiley():
    image = stamp(canvas(), "circle", 200, 200, 150, "yellow")
    stamp(stamp(image, "circle", 150, 150, 18, "black"), "circle", 250, 150, 18, "black")
    yy, xx = np.mgrid[0:400, 0:400]
    q = np.hypot(xx - 200, yy - 210)
    image[(q > 78) & (q < 92) & (yy > 235)] = 0
    return image


def emoji(char):
    image = Image.new("RGB", (300, 300), (250, 250, 250))
    ImageDraw.Draw(image).text((150, 150), char, font=ImageFont.truetype("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", 109), embedded_color=True, anchor="mm")
    return np.asarray(image)


def landscape(seed, w=480, h=320):
    g = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:h, 0:w]
    image = np.stack([120 + yy * 0.25, 170 + yy * 0.2, np.full((h, w), 235.0)], -1)
    for k in range(3):
        ridge = h * (0.45 + 0.17 * k) - 30 * np.cumsum(g.normal(0, 0.06, w)) - 18 * np.sin(xx[0] / (40 + 30 * k) + g.uniform(0, 6))
        image[yy > ridge] = np.array([[70, 100, 90], [60, 130, 60], [40, 100, 35]][k]) + g.normal(0, 6, 3)
    sun = (xx - w * 0.75) ** 2 + (yy - 60) ** 2 < 26**2
    image[sun] = (255, 240, 170)
    return np.clip(image + g.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def sea(seed):
    g = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:300, 0:450]
    image = np.where((yy < 130)[..., None], np.array([250, 190 - 0.0, 130]), np.array([20, 70, 110])) + (np.sin(xx / 7 + 3 * np.sin(yy / 9)) * 18 * (yy > 130))[..., None]
    return np.clip(image + g.normal(0, 10, image.shape), 0, 255).astype(np.uint8)


def abstract(seed):
    g = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:360, 0:360] / 360.0
    image = np.zeros((360, 360, 3))
    for k in range(6):
        image += np.sin(xx * g.uniform(2, 25) + yy * g.uniform(2, 25) + g.uniform(0, 6))[..., None] * g.normal(0, 40, 3)
    return np.clip(image + 128, 0, 255).astype(np.uint8)


def crowd(seed):
    g, image = np.random.default_rng(seed), Image.new("RGB", (420, 300), (150, 140, 130))
    d = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = g.integers(0, 420), g.integers(60, 300)
        d.rectangle((x, y, x + 22, y + 50), fill=tuple(int(v) for v in g.integers(0, 255, 3)))
        d.ellipse((x + 2, y - 18, x + 20, y), fill=(int(g.integers(120, 240)), 160, 130))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)))


def beeps(n, hertz=880, length=0.2, gap=0.25, lead=0.2, level=0.4):
    t = np.arange(int(SR * length)) / SR
    tone = np.sin(2 * np.pi * hertz * t) * np.hanning(len(t)) ** 0.25
    return np.concatenate([np.zeros(int(SR * lead)), *[np.concatenate([tone, np.zeros(int(SR * gap))]) for _ in range(n)]]).astype(np.float32) * level


def voice(words, lang="en", who="f5", pace=150, pitch=55):
    """Speech of a voice outside the training data."""
    import speech_data as sd
    from scipy.signal import resample_poly
    pcm = sd.synthesiser()(f"{'en-us' if lang == 'en' else 'cmn-latn-pinyin'}+{who}", words if lang == "en" else sd.pinyin_text(words), pitch, pace).astype(np.float32) / 32768
    return np.pad(resample_poly(pcm, 320, 441).astype(np.float32), (3200, 3200))


def film(form, colour, path, size=160, r=26):
    frames = []
    for at in path:
        image = canvas(size, size)
        frames.append(image if at is None else stamp(image, form, at[0] * size, at[1] * size, r, at[2] if len(at) > 2 else colour))
    return np.stack(frames)


def line(a, b, n=6):
    return [(a[0] + (b[0] - a[0]) * i / (n - 1), a[1] + (b[1] - a[1]) * i / (n - 1)) for i in range(n)]


def text_rows():
    up, down = lambda a, b: sequence(range(a, b + 1)), lambda a, b: sequence(range(a, b - 1, -1))
    yield from (("say who it is", q, has("nano")) for q in ["Hi! Who are you?", "What are you called, please?", "and you are?", "你好!请问你是谁呀?", "你叫啥", "Who am I speaking with?"])
    yield from (("greetings", q, w) for q, w in [("Hello!", has("hello|hi")), ("hey nano!", has("hello|hi")), ("你好呀!", has("你好")), ("Good morning to you!", has("morning|hello")), ("Thanks a bunch!", has("welcome")), ("多谢你", has("不客气")), ("Bye now!", has("bye|goodbye")), ("How are you doing today?", has("fine|well|good"))])
    yield from (("names", q, has(n)) for q, n in [("My name is Robin.", "robin"), ("Hi there! I'm Ingrid.", "ingrid"), ("hello, my name's Deepak", "deepak"), ("I go by Mattis.", "mattis"), ("You may call me Sven.", "sven"), ("Hello, this is Odile speaking.", "odile"), ("我叫周杰", "周杰"), ("你好,我的名字是欧阳雪", "欧阳雪"), ("本人姓名田小雨", "田小雨"), ("大家好,我是何志强", "何志强")])
    yield from (("spelling", q, letters(w)) for q, w in [("Spell elephant.", "elephant"), ("How would you spell giraffe?", "giraffe"), ("spell kitchen please", "kitchen"), ("Can you please spell the word yellowstone?", "yellowstone"), ("Spell my name: Robin", "robin"), ("How is computer spelt?", "computer"), ("Spell hippo", "hippo"), ("elephant怎么拼写?", "elephant"), ("请帮我拼写banana", "banana"), ("Spell out the word mountain", "mountain")])
    yield from (("repeating", q, says(t)) for q, t in [("Say: the quick brown fox jumps over the lazy dog.", "the quick brown fox jumps over the lazy dog."), ("Repeat after me: I love my new bicycle.", "I love my new bicycle."), ("Please say exactly: open the pod bay doors", "open the pod bay doors"), ("Say hello world", "hello world"), ("Repeat the word pumpernickel", "pumpernickel"), ("请跟我说:我想去北京看长城。", "我想去北京看长城。"), ("重复:明月几时有", "明月几时有"), ("请说“床前明月光”", "床前明月光")])
    yield from (("counting", q, w) for q, w in [("Count to 5", up(1, 5)), ("Count to ten.", up(1, 10)), ("Please count up to 12 for me", up(1, 12)), ("Count from 1 to 48", up(1, 48)), ("Count from 20 to 30.", up(20, 30)), ("count from 7 to 15 please", up(7, 15)), ("Count backwards from 10.", lambda r: down(10, 1)(r) or down(10, 0)(r)), ("Count down from 5 to 1", down(5, 1)), ("Can you count from 95 to 100?", up(95, 100)), ("Countdown from 10 to 0!", down(10, 0)),
                                              ("从1数到10", up(1, 10)), ("从一数到十", up(1, 10)), ("请数到20", up(1, 20)), ("从10倒数到1", down(10, 1)), ("从30数到45", up(30, 45)), ("能帮我从50数到60吗", up(50, 60)), ("Count all the way to 100.", up(1, 100)), ("Numbers 1 to 20 please", up(1, 20))])
    yield from (("sums", q, number(n)) for q, n in [("What is 50 - 17?", 33), ("2+2", 4), ("What's two plus two?", 4), ("7 times 8", 56), ("how much is 12 and 15 together", 27), ("100 - 1", 99), ("If I add 23 to 19, what do I get?", 42), ("6*7=", 42), ("What is 9 x 9?", 81), ("20 minus 5 is what?", 15), ("three plus nine", 12), ("What is 81 minus 80?", 1), ("Compute 14+28 for me", 42), ("10 / 2", 5), ("0 + 0", 0),
                                              ("三加五等于几", 8), ("九减四等于多少?", 5), ("12+30等于多少", 42), ("六乘七是多少呢", 42), ("50减17得多少", 33), ("一百减一是多少", 99), ("帮忙算算25+25", 50), ("7乘8等于几?", 56), ("二十加十五等于几", 35), ("请告诉我8加9是几", 17)])
    yield from (("bigger", q, w) for q, w in [("Which one is bigger: 15 or 51?", has("51")), ("Is 9 bigger than 11?", has("no")), ("what's larger, 70 or 68?", has("70", no=["68"])), ("8和12哪一个大?", has("12", no=["8"])), ("99大还是100大?", has("100大"))])
    yield from (("does not know", q, unsure) for q in ["Who won the world cup in 1998?", "Can you write me a python script that sorts a list?", "What is the meaning of life?", "Translate good morning into Swahili", "How tall is Mount Everest?", "Give me a recipe for lasagna", "红楼梦的作者是谁?", "给我写一段Java代码", "怎么治感冒?", "Explain general relativity in simple words"])


def picture_rows():
    look = ["What do you see here?", "What's this image?", "Can you tell me what this is?", "what is in this pic", "这张照片里有什么?", "图中是什么东西?", "What is this I'm showing you?"]
    k = 0

    def ask():
        nonlocal k
        k += 1
        return look[k % len(look)]

    zh = {"red": "红", "blue": "蓝", "green": "绿", "yellow": "黄", "purple": "紫", "orange": "橙", "black": "黑", "pink": "粉", "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "星", "heart": "心", "diamond": "菱形", "cross": "十字", "ring": "环"}
    both = lambda *ws: has(*(f"{w}|{w}s|{zh[w]}" for w in ws))
    for form, colour, at, r in [("circle", "red", (200, 200), 120), ("square", "blue", (200, 200), 100), ("star", "orange", (200, 200), 120), ("triangle", "green", (200, 210), 110), ("heart", "pink", (200, 200), 110), ("circle", "black", (100, 100), 60), ("diamond", "purple", (300, 290), 60), ("ring", "green", (200, 200), 100), ("cross", "red", (200, 200), 90), ("square", "yellow", (110, 290), 60)]:
        yield "one shape", ask(), one(form, colour, at, r), both(colour, form)
    for form, colour, places in [("square", "purple", [(60 + 70 * i, 200) for i in range(5)]), ("circle", "red", [(100, 200), (300, 200)]), ("star", "blue", [(80, 80), (320, 90), (200, 300)]), ("triangle", "green", [(90, 90), (310, 90), (90, 310), (310, 310)]), ("circle", "black", [(45 + 62 * i, 200) for i in range(6)]), ("heart", "red", [(100, 120), (300, 120), (200, 300)]), ("square", "orange", [(200, 70), (200, 200), (200, 330)]), ("circle", "green", [(80, 80), (320, 80), (200, 200), (80, 320), (320, 320)])]:
        n, r = len(places), 26 if len(places) > 4 else 42
        image = several(form, colour, places, r)
        word, zn = list(WORDS)[n - 1], "一两三四五六"[n - 1]
        yield "how many", f"How many {form}s can you count?" if n != 1 else "", image, has(f"{WORDS[word]}|{zn}")
        yield "several shapes", ask(), image, lambda r, f=form, c=colour, w=word, z=zn: both(c, f)(r) and has(f"{WORDS[w]}|{z}")(r)
    for parts in [[("square", "red", 110, 200, 70), ("circle", "blue", 290, 200, 70)], [("star", "yellow", 110, 200, 80), ("heart", "red", 290, 200, 70)], [("triangle", "green", 200, 100, 70), ("square", "black", 200, 300, 60)], [("circle", "orange", 70, 200, 50), ("square", "green", 200, 200, 50), ("triangle", "blue", 330, 200, 50)], [("circle", "green", 120, 120, 60), ("diamond", "purple", 280, 280, 70)], [("cross", "red", 110, 200, 60), ("ring", "blue", 290, 200, 60)]]:
        image, names = mix(*parts), [w for p in parts for w in p[1::-1]]
        yield "mixed shapes", ask(), image, both(*names)
        yield "mixed shapes", "Which shapes are here, and in what colours?", image, both(*names)
        yield "mixed shapes", f"What's the {parts[0][0]}'s colour?" if k % 2 else f"那个{zh[parts[0][0]]}是什么颜色的呢?", image, has(f"{parts[0][1]}|{zh[parts[0][1]]}", no=[parts[1][1]])
    yield from (("numbers and words", q, text(t, s), has(t.lower())) for q, t, s in [("Which number can you read?", "42", 160), ("What's written there?", "7", 200), ("Can you read this number?", "365", 140), ("What does this say?", "HELLO", 90), ("read this please", "water", 100), ("上面是什么数字呢?", "18", 160), ("这上面写的是什么?", "music", 100)])
    yield from (("emoji", q, emoji(ch), has(w)) for q, ch, w in [("What animal is this?", "🐱", "cat"), ("What is this fruit?", "🍎", "apple"), ("And this?", "🚗", "car"), ("这是什么动物呢?", "🐶", "狗"), ("What is shown in this picture?", "🌈", "rainbow"), ("What's this thing called?", "🎸", "guitar"), ("What is this?", "😀", "smiley|face"), ("What expression is this?", "😢", "sad")])
    yield "emoji", "What is this?", smiley(), has("smiley|face")
    yield "emoji", "What do you see here?", smiley(), has("smiley|face")
    for i, image in enumerate([landscape(1), landscape(2), landscape(3), sea(1), sea(2), abstract(1), abstract(2), abstract(3), crowd(1), crowd(2)]):
        yield "can't tell", ask(), image, unsure


def sound_rows():
    q = ["How many beeps can you hear?", "How often did it beep?", "How many beeps is that?", "你能听到几声?", "Count these beeps please", "What's that sound?", "总共响了多少下?"]
    for i, (n, kw) in enumerate([(1, {}), (2, {}), (3, {}), (4, {}), (5, {}), (6, {}), (1, {"hertz": 440, "length": 0.5}), (2, {"hertz": 1000, "gap": 0.5}), (3, {"hertz": 440, "length": 0.1, "gap": 0.1}), (3, {"hertz": 1500, "length": 0.4, "gap": 0.4}), (4, {"hertz": 300, "gap": 0.15}), (5, {"hertz": 660, "length": 0.15, "gap": 0.2}), (2, {"hertz": 2000, "length": 0.08, "gap": 0.6}), (6, {"hertz": 1200, "length": 0.12, "gap": 0.18})]):
        yield "beeps", q[i % len(q)], beeps(n, **kw), has(f"{WORDS[list(WORDS)[n - 1]]}|{'一两三四五六'[n - 1]}")
    yield "silence and noise", "What do you hear now?", np.zeros(SR * 2, np.float32), has("silent|silence|安静|nothing")
    yield "silence and noise", "What is that?", np.random.default_rng(1).normal(0, 0.1, SR * 2).astype(np.float32), has("noise|噪")


POEMS = [("en", "Two roads diverged in a yellow wood"), ("en", "The old house stood silent under the winter moon"), ("en", "Please remember to water the plants on Friday"), ("en", "My grandmother keeps seven chickens and a goat"), ("zh", "春眠不觉晓,处处闻啼鸟"), ("zh", "我明天要和朋友去看电影"), ("zh", "请把窗户打开"), ("zh", "今天的晚饭很好吃")]


def speech_rows():
    """[(lang, spoken text, question or None, right or None)]; without `right` the reply is a transcription."""
    yield from ((lang, words, "Can you write down what I said?" if lang == "en" else "我刚刚说的是什么?", None) for lang, words in POEMS)
    yield from (("en", words, None, right) for words, right in [("What is two plus three?", number(5)), ("Who are you?", has("nano")), ("Count to five.", sequence(range(1, 6))), ("What is fifty minus seventeen?", number(33)), ("Hello, how are you?", has("fine|hello")), ("My name is Robin.", has("robin")), ("Tell me a joke, please.", has("math|book"))])
    yield from (("zh", words, None, right) for words, right in [("你是谁?", has("nano")), ("三加五等于几?", number(8)), ("从一数到五", sequence(range(1, 6))), ("你好吗?", has("很好")), ("你能做什么?", has("聊天")), ("我叫小雨", has("小雨"))])


def video_rows():
    go = {"right": line((0.15, 0.5), (0.85, 0.5)), "left": line((0.85, 0.5), (0.15, 0.5)), "up": line((0.5, 0.85), (0.5, 0.15)), "down": line((0.5, 0.15), (0.5, 0.85))}
    zh = {"right": "右", "left": "左", "up": "上", "down": "下"}
    for i, (way, path) in enumerate(go.items()):
        yield "video", "Which way does it move?", film("circle", "red", path), has(f"{way}|{zh[way]}")
        yield "video", ["Where is the square heading?", "正方形往哪儿动?", "What's going on here?", "这段视频里发生了什么事?"][i], film("square", "blue", path), has(f"{way}|{zh[way]}")
    yield "video", "What happens to its colour?", film("circle", "red", [(0.5, 0.5)] * 3 + [(0.5, 0.5, "blue")] * 3), has("red", "blue")
    yield "video", "How many times does the star show up?", film("star", "green", [(0.5, 0.5), None, (0.5, 0.5), None, (0.5, 0.5), (0.5, 0.5), None, None]), has("three|3")


def rows():
    """[(kind, question, medium, array, right)], and for speech the spoken text."""
    out = [(kind, q, None, None, right) for kind, q, right in text_rows()]
    out += [(kind, q, "image", image, right) for kind, q, image, right in picture_rows()]
    out += [(kind, q, "audio", wave, right) for kind, q, wave, right in sound_rows()]
    out += [("video", q, "video", frames, right) for kind, q, frames, right in video_rows()]
    for lang, words, q, right in speech_rows():
        out.append(("speech to write down" if right is None else "spoken requests", q, "audio", voice(words, lang), right or words))
    return out


def talks(rng: random.Random, n):
    """Conversations of twelve turns: [[(kind, question, medium, array, right)]]."""
    out = []
    forms, inks = ["circle", "square", "triangle", "star", "heart", "diamond"], ["red", "blue", "green", "yellow", "purple", "orange", "black"]
    names = ["Robin", "Sven", "Ingrid", "Deepak", "Odile", "Mattis", "Amelie", "Bjorn"]
    for _ in range(n):
        who, (f1, f2), (c1, c2), beep = rng.choice(names), rng.sample(forms, 2), rng.sample(inks, 2), rng.randint(1, 5)
        a, b, c, d = rng.randint(5, 40), rng.randint(5, 40), rng.randint(50, 99), rng.randint(2, 40)
        low, word = rng.randint(1, 60), rng.choice(["garden", "window", "kitchen", "silver", "planet", "monkey", "tiger", "basket"])
        pool = [("sum", f"How much is {a} plus {b}?", None, None, number(a + b)), ("difference", f"And {c} minus {d}?", None, None, number(c - d)), ("count", f"Count from {low} to {low + 8} please.", None, None, sequence(range(low, low + 9))),
                ("spell", f"Please spell {word} for me.", None, None, letters(word)), ("picture", "What is in this picture?", "image", one(f1, c1, (200, 200), 100), has(c1, f1)),
                ("beeps", "How many beeps do you hear?", "audio", beeps(beep), has(WORDS[list(WORDS)[beep - 1]]))]
        rng.shuffle(pool)
        seen = next(i for i, row in enumerate(pool) if row[0] == "picture")
        talk = [("name", f"Hello, my name is {who}.", None, None, has(who.lower())), *pool[: seen + 1], ("picture colour", f"What colour was the {f1}?", None, None, has(c1)), *pool[seen + 1 :]]
        talk += [("second picture", "What do you see in this one?", "image", one(f2, c2, (200, 200), 100), has(c2, f2)), ("name again", "Do you remember my name?", None, None, has(who.lower())), ("first picture again", "What was in the first picture?", None, None, has(c1, f1)), ("who", "And who are you?", None, None, has("nano"))]
        out.append(talk[:12])
    return out


if __name__ == "__main__":
    everything = rows()
    print(len(everything), "prompts")
