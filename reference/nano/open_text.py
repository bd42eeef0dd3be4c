"""Text skills of nano in everyday wording: open vocabulary (names, words to spell, sentences to repeat), counting to anything up to
100, small arithmetic in digits and numerals, and many wordings.

`sample(rng, split, lang, skill)` gives [(role, text), ...]. Words, operands and whole wordings are held out by hash, as in `text_data.py`.
"""

import random
import re
from functools import lru_cache
from pathlib import Path

import wordfreq

from text_data import held, number_zh, pick

NAMES_EN = ("Alice Bob Carol Dan Erin Frank Grace Henry Irene Jane Kevin Laura Martin Nina Oscar Paula Quentin Rachel Steve Tina Ulrich Vera Walter Xena Yvonne Zoe "
            "Adam Barbara Chris Diana Eric Fiona George Hannah Ivan Julia Karl Linda Max Nora Oliver Philip Rita Simon Teresa Victor Wendy Aaron Bella Carlos Daisy Ethan Felix "
            "Gloria Hugo Isabel Jason Karen Louis Megan Nathan Olga Patrick Rebecca Stefan Thomas Ursula Vincent William Andrea Brian Chloe Dennis Elena Fred Greta Harry Ines Jonas Klara "
            "Lars Marta Noah Otto Pia Ralf Sofia Theo Uma Viola Wanda Yusuf Zara Ahmed Fatima Priya Raj Yuki Kenji Mei Chen Sanjay Omar Layla Pablo Lucia Diego Maria Jose Ana Pedro "
            "Sophie Pierre Marie Jean Claire Luca Giulia Marco Anya Boris Dmitri Natasha Kofi Amara Zuri Alex Charlie Jordan Taylor Morgan Casey Jamie Riley Avery Quinn").split()
SURNAMES_ZH = "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗郑梁谢宋唐许韩冯邓曹彭曾"
GIVEN_ZH = "明红华丽伟娜强洋静文芳军杰敏磊艳勇涛超平刚玲霞飞鹏辉玉林春雪梅云天海山花龙星月光安宁思雨晨佳欣怡子轩一诺浩然心可乐小大东南国建志成"
CITIES = ("Paris London Berlin Madrid Rome Vienna Prague Oslo Cairo Lima Tokyo Boston Chicago Toronto Sydney Delhi Moscow Lisbon Athens Dublin".split(), "北京 上海 广州 深圳 杭州 南京 成都 武汉 西安 重庆 天津 苏州".split())
COLOURS = ("red green blue yellow orange purple pink brown black white".split(), "红色 绿色 蓝色 黄色 橙色 紫色 粉色 棕色 黑色 白色".split())
RUDE = set("fuck fucking fucked shit bitch sex sexy porn nigger nigga cunt dick cock pussy ass rape fag faggot whore slut bastard hitler nazi nude naked penis vagina anal cum".split())
UNITS_EN = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS_EN = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def number_en(n):
    """0..100 in English words."""
    if n < 20:
        return UNITS_EN[n]
    return "one hundred" if n == 100 else TENS_EN[n // 10] + ("-" + UNITS_EN[n % 10] if n % 10 else "")


@lru_cache(None)
def words(lang, split):
    """Frequent words of the split: English of 3 to 12 letters, Chinese of 1 to 4 characters."""
    if lang == "en":
        usable = [w for w in wordfreq.top_n_list("en", 14000) if w.isascii() and w.isalpha() and 3 <= len(w) <= 12 and w not in RUDE]
    else:
        usable = [w for w in wordfreq.top_n_list("zh", 6000) if len(w) <= 4 and all("\u4e00" <= ch <= "\u9fff" for ch in w)]
    return [w for w in usable if held("word", w) == (split == "heldout")]


@lru_cache(None)
def rare_words():
    """English words beyond the frequent ones, without those that `newcomers.py` asks for."""
    asked = set(re.findall("[a-z]+", (Path(__file__).parent / "newcomers.py").read_text().lower()))
    return [w for w in wordfreq.top_n_list("en", 120000)[14000:] if w.isascii() and w.isalpha() and 3 <= len(w) <= 13 and w not in RUDE and w not in asked and not held("word", w)]


def made_up(rng):
    """An unseen word: a rare one, parts of two words, or syllables."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(rare_words())
    if kind < 0.75:
        first, second = rng.choice(words("en", "train")), rng.choice(words("en", "train"))
        return (first[: rng.randint(1, len(first))] + second[rng.randint(0, len(second) - 1) :])[:13]
    return syllables(rng)


def syllables(rng):
    """Like names of people and products."""
    onset, vowel, coda = "b d f g h j k l m n p r s t v w z ch sh th br tr st kr pl".split(), "a e i o u ai ee oo ia".split(), ["", "", "", "n", "r", "l", "s", "t", "x", "m"]
    return "".join(rng.choice(onset) + rng.choice(vowel) + rng.choice(coda) for _ in range(rng.randint(1, 3)))


def name(rng, split, lang):
    if lang == "zh":
        while True:
            n = rng.choice(SURNAMES_ZH) + "".join(rng.choice(GIVEN_ZH) for _ in range(rng.randint(1, 2))) if rng.random() < 0.75 else rng.choice("小阿") + rng.choice(GIVEN_ZH)
            if held("name", n) == (split == "heldout"):
                return n
    kind = rng.random()
    while True:
        n = rng.choice(NAMES_EN) if kind < 0.5 else rng.choice(words("en", "train")).capitalize() if kind < 0.7 else made_up(rng).capitalize()
        if held("name", n) == (split == "heldout"):
            return n


AROUND = (["And ", "And ", "Please tell me: ", "Okay. ", "Now, ", "Hey, ", "nano, ", "Quick question: ", "So, ", "Next: ", "I want to know: ", "Hello. "], [", please", " now", ", nano", " for me", " please", ", okay"])


def plain(rng, text):
    """As people type: sometimes with words around it, without capitals, without the final point."""
    if rng.random() < 0.1:
        text = rng.choice(AROUND[0]) + text[0].lower() + text[1:]
    if rng.random() < 0.08:
        text = text.rstrip(".?") + rng.choice(AROUND[1]) + text[len(text.rstrip(".?")) :]
    if rng.random() < 0.12:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.12:
        text = text.lower()
    return text.rstrip(".?") if rng.random() < 0.15 else text


NAME_EN = ["My name is {}.", "I am {}.", "I'm {}.", "Hi, I'm {}.", "Hello, my name is {}.", "Hi, my name is {}.", "My name's {}.", "You can call me {}.", "Call me {}.", "Hello! I am {}.", "This is {}.", "People call me {}.",
           "Hey, {} here.", "I am called {}.", "Please call me {}.", "Hi nano, I'm {}.", "Good morning, I am {}.", "Hello nano, my name is {}.", "Nice to meet you, I am {}.", "The name is {}.",
           "They call me {}.", "{} is my name.", "My friends call me {}.", "Everyone calls me {}.", "It is me, {}.", "I'm known as {}.", "Good evening, my name is {}.", "Well, I am {}.", "Hey! My name is {}.", "I'm {}, nice to meet you.", "My first name is {}.", "They named me {}.", "Please note my name: {}."]
NAME_ZH = ["我叫{}", "我是{}", "你好,我叫{}", "我的名字是{}", "你好,我是{}", "叫我{}", "你可以叫我{}", "大家叫我{}", "您好,我的名字叫{}", "我的名字叫{}", "嗨,我是{}", "请叫我{}吧", "早上好,我叫{}", "认识一下,我叫{}", "我名叫{}", "朋友们都叫我{}", "我的大名是{}", "他们叫我{}", "姓名:{}", "各位好,我叫{}", "我呢,叫{}", "晚上好,我是{}", "我是{},很高兴认识你", "记住,我叫{}", "名字是{}"]
WHO_EN = ["What is my name?", "What's my name?", "Who am I?", "Do you remember my name?", "Do you know my name?", "Can you tell me my name?", "What did I say my name was?", "Tell me my name.", "What am I called?", "And what is my name?", "Do you still know my name?", "Please say my name.", "Do you remember who I am?"]
WHO_ZH = ["我叫什么名字", "我叫什么", "我是谁", "你记得我的名字吗", "你还记得我叫什么吗", "你知道我的名字吗", "我的名字是什么", "说说我的名字", "我刚才说我叫什么", "还记得我是谁吗", "那我叫什么"]


def greeting(rng, split, lang, n):
    """Someone says their name."""
    if lang == "en":
        q = pick(rng, NAME_EN, split, "name").format(n)
        return [("user", q.rstrip(".") if rng.random() < 0.15 else q), ("assistant", f"Nice to meet you, {n}!")]
    return [("user", pick(rng, NAME_ZH, split, "name").format(n) + rng.choice(["", "。"])), ("assistant", f"很高兴认识你,{n}!")]


def asked_name(rng, split, lang, n):
    if lang == "en":
        return [("user", plain(rng, pick(rng, WHO_EN, split, "who"))), ("assistant", f"Your name is {n}.")]
    return [("user", pick(rng, WHO_ZH, split, "who") + rng.choice(["", "?"])), ("assistant", f"你叫{n}。")]


def fact(rng, split, lang):
    """Something to remember that is not a name: ([statement], [question])."""
    kind = rng.choice(["colour", "age", "city", "number", "word"])
    e = lang != "en"
    if kind == "colour":
        x = rng.choice(COLOURS[e])
        told = (["My favourite colour is {}.", "My favorite color is {}.", "I like {} best.", "I love the colour {}."], "Okay, your favourite colour is {}.", ["What is my favourite colour?", "What's my favorite color?", "Which colour do I like?", "Do you know my favourite colour?"], "Your favourite colour is {}.") if not e else (
            ["我最喜欢的颜色是{}", "我最喜欢{}", "我喜欢{}"], "好的,你最喜欢{}。", ["我最喜欢什么颜色", "我喜欢什么颜色", "你记得我喜欢的颜色吗"], "你最喜欢{}。")
    elif kind == "age":
        x = rng.randint(5, 99)
        told = (["I am {} years old.", "I'm {} years old.", "My age is {}."], "Okay, you are {} years old.", ["How old am I?", "What is my age?", "Do you know how old I am?"], "You are {} years old.") if not e else (["我今年{}岁", "我{}岁", "我{}岁了"], "好的,你{}岁。", ["我多大", "我几岁", "我今年多大了"], "你{}岁。")
    elif kind == "city":
        x = rng.choice(CITIES[e])
        told = (["I live in {}.", "I am from {}.", "My home is in {}."], "Okay, you live in {}.", ["Where do I live?", "Which city do I live in?", "Where am I from?"], "You live in {}.") if not e else (["我住在{}", "我家在{}", "我是{}人"], "好的,你住在{}。", ["我住在哪里", "我家在哪里", "我住哪儿"], "你住在{}。")
    else:
        x = rng.randint(0, 999) if kind == "number" else rng.choice(words("en", split)) if not e else rng.choice(words("zh", split))
        noun, zh = ("number", "数字") if kind == "number" else ("word", "词")
        told = ([f"Remember the {noun} {{}}.", f"Please remember the {noun} {{}}.", f"The secret {noun} is {{}}.", f"Keep this {noun} in mind: {{}}."], f"Okay, the {noun} is {{}}.", [f"What was the {noun}?", f"Which {noun} did I tell you?", f"What {noun} should you remember?", f"What is the secret {noun}?"], f"The {noun} was {{}}.") if not e else (
            [f"记住{zh}{{}}", f"请记住这个{zh}:{{}}", f"秘密{zh}是{{}}"], f"好的,{zh}是{{}}。", [f"刚才的{zh}是什么", f"{zh}是什么", f"我让你记住的{zh}是什么"], f"{zh}是{{}}。")
    says, ok, asks, answer = told
    mark = "" if lang == "en" else rng.choice(["", "。"])
    told = [("user", pick(rng, says, split, kind).format(x) + mark), ("assistant", ok.format(x))]
    return told, [("user", pick(rng, asks, split, kind, "ask") + ("" if lang == "en" else rng.choice(["", "?"]))), ("assistant", answer.format(x))]


SPELL_EN = ["Spell {}.", "How do you spell {}?", "Spell the word {}.", "Please spell {}.", "Can you spell {}?", "How is {} spelled?", "Spell {} for me.", "Spell \"{}\".", "spell {}", "What letters are in {}?", "Could you spell the word {}?",
            "Spell out {}.", "Can you spell the word {} for me?", "How do I spell {}?", "Give me the letters of {}.", "How do you write {}?", "Spell {} letter by letter.", "Please spell out {}.", "What is the spelling of {}?", "Which letters does {} have?", "Spell this word: {}", "Spell this: {}", "I want you to spell {}.", "Spelling of {}, please.", "Now spell {}.", "How is the word {} written?", "Show me how to spell {}.", "{}, spelled out?",
            "Please spell the word {}.", "Spell the name {}.", "How does one spell {}?", "How is the word {} spelt?", "Tell me how {} is spelt.", "Would you spell {}?", "Spell {} slowly.", "The word is {}. Spell it.", "I need the letters of {}.", "Can you tell me how to spell {}?"]
SPELL_ZH = ["{}怎么拼?", "请拼写{}", "拼一下{}", "{}怎么拼写", "拼写单词{}", "{}这个单词怎么拼", "单词{}由哪些字母组成", "请把{}拼出来", "帮我拼一下{}", "英文{}怎么写", "怎么拼{}", "{}的拼写是什么", "{}的字母有哪些", "请逐个字母拼{}", "单词{}怎么拼写", "告诉我{}怎么拼", "拼出{}", "麻烦拼一下{}", "你会拼{}吗", "请你拼写单词{}", "能拼写一下{}吗", "把{}的字母说出来"]


def spell(rng, split, lang, w=None):
    """`w`: the word; one of the split when left out. Training takes unseen words more often, so that none is memorised."""
    if w is None:
        known = words("en", split)
        frequent, all_known, named, unseen = [15, 15, 6, 64] if split == "train" else [30, 45, 12, 13]
        kinds = [lambda: rng.choice(known[:1500]), lambda: rng.choice(known), lambda: name(rng, split, "en"), lambda: made_up(rng)]
        w = rng.choices(kinds, [frequent, all_known, named, unseen])[0]()
    q = pick(rng, SPELL_EN if lang == "en" else SPELL_ZH, split, "spell").format(w if rng.random() < 0.9 else rng.choice([w.upper(), w.capitalize()]))
    return [("user", plain(rng, q) if lang == "en" else q), ("assistant", ", ".join(w.lower()) + ".")]


REPEAT_EN = ["Repeat after me: {}", "Say: {}", "Please repeat: {}", "Repeat: {}", "Say \"{}\"", "Say {}", "Repeat this: {}", "Can you say {}", "Please say: {}", "Say after me: {}", "Repeat the sentence: {}", "Repeat \"{}\"", "Say exactly this: {}", "Read this aloud: {}", "Say the following: {}", "Echo: {}", "Please say {}", "Now say: {}", "Repeat these words: {}", "Copy this: {}", "I say: {} Now you.", "Can you repeat: {}", "Say this sentence: {}", "Say these words: {}", "Repeat what I say: {}", "Please repeat the words {}", "Speak after me: {}"]
REPEAT_ZH = ["跟我说:{}", "请重复:{}", "重复一遍:{}", "跟我读:{}", "请说:{}", "说:{}", "请你说“{}”", "重复这句话:{}", "念一下:{}", "读一下:{}", "照着说:{}", "复述:{}", "请跟读:{}", "请重复一遍:{}", "你说:{}", "请说{}", "学我说:{}", "请念:{}", "把这句话说一遍:{}", "请复述一下:{}", "跟着我念:{}"]
EN_WORDS = "the a my your our this that one every some no".split()


def free_sentence(rng, split, lang):
    """Words in an order of no grammar."""
    if lang == "en":
        n = rng.choice([1, 2, 3, 4, 5, 6, 7, 9])
        ws = [rng.choice(EN_WORDS) if rng.random() < 0.25 and n > 2 else rng.choice(words("en", split)[: 400 if rng.random() < 0.6 else None]) for _ in range(n)]
        text = " ".join(ws)
        if n > 2 or rng.random() < 0.5:
            text = text[0].upper() + text[1:] + rng.choice([".", ".", "!"])
        return text
    text = "".join(rng.choice(words("zh", split)[: 500 if rng.random() < 0.6 else None]) for _ in range(rng.choice([1, 2, 3, 4, 5, 6])))
    return text + rng.choice(["", "。", "。", "!"])


PEOPLE, DOING, THINGS, PLACES = (
    "I she he we they nobody someone everyone".split() + ["my mother", "the doctor", "a stranger", "the children", "an old ship", "the river", "a red fox", "my brother", "the king", "the rain"],
    "saw found lost bought sold forgot opened broke carried painted heard remembered followed kept built".split(),
    "key window garden letter road song mountain bottle horse clock bridge candle picture coat river flower stone island table mirror story lamp bird field tower".split(),
    ["", "", " yesterday", " last night", " in the winter", " under the tree", " behind the house", " near the sea", " on Monday", " before dinner", " without a word", " for the first time"])


def odd_sentence(rng, split, lang):
    """A sentence as read aloud: a grammar of its own with open vocabulary."""
    if lang == "en":
        w = lambda: rng.choice(words("en", split)[:1500])
        text = rng.choice([f"{rng.choice(PEOPLE)} {rng.choice(DOING)} the {rng.choice(THINGS)}{rng.choice(PLACES)}", f"the {w()} {rng.choice(THINGS)} is {w()}", f"there is a {w()} in the {rng.choice(THINGS)}", f"the {rng.choice(THINGS)} and the {w()} {rng.choice(DOING)} a {w()}",
                           f"please bring me the {w()} {rng.choice(THINGS)}", f"{rng.choice(PEOPLE)} {rng.choice(DOING)} a {w()} {rng.choice(THINGS)}{rng.choice(PLACES)}"])
        return text[0].upper() + text[1:] + "."
    w = lambda: rng.choice(words("zh", split)[:1500])
    return rng.choice([f"{rng.choice('我你他她')}{rng.choice(['看到', '买了', '忘了', '喜欢', '听说'])}{w()}", f"{w()}和{w()}都很{rng.choice('好大小多美')}", f"请把{w()}给{rng.choice('我他她')}", f"今天的{w()}很{rng.choice(['好', '特别', '重要'])}", f"{rng.choice(['窗外', '山上', '河边', '桌上', '家里'])}有{w()}"]) + "。"


def repeat(rng, split, lang):
    text = free_sentence(rng, split, lang) if rng.random() < 0.7 else odd_sentence(rng, split, lang)
    return [("user", pick(rng, REPEAT_EN if lang == "en" else REPEAT_ZH, split, "repeat").format(text)), ("assistant", text)]


COUNT_TO_EN = ["Count to {b}.", "Count up to {b}.", "Please count to {b}.", "Can you count to {b}?", "count to {b}", "Count to {b} please", "Could you count to {b}?", "Count until {b}.", "Count up until {b}, please.", "Count from one to {b}.", "Start at 1 and count to {b}.", "I want you to count to {b}.", "Numbers up to {b}, please.", "Count for me to {b}.", "All numbers up to {b}."]
COUNT_EN = ["Count from {a} to {b}.", "Please count from {a} to {b}.", "Count {a} to {b}", "Can you count from {a} to {b}?", "Count up from {a} to {b}.", "count from {a} to {b}", "Count from {a} up to {b}.", "List the numbers from {a} to {b}.", "Say the numbers from {a} to {b}.", "Numbers from {a} to {b}, please.", "Start at {a} and count to {b}.", "Give me the numbers {a} to {b}.", "Count the numbers from {a} to {b}.", "Count between {a} and {b}.", "Count on from {a} to {b}.", "{a} to {b}, please count."]
DOWN_EN = ["Count from {a} to {b}.", "Count from {a} down to {b}.", "Count down from {a} to {b}.", "Count backwards from {a} to {b}.", "Please count down from {a} to {b}.", "Can you count backwards from {a} to {b}?", "Start at {a} and count down to {b}.", "Backwards from {a} to {b}.", "Do a countdown from {a} to {b}.", "Count back from {a} to {b}."]
FROM_EN = ["Count down from {a}.", "Count backwards from {a}.", "Do a countdown from {a}.", "Countdown from {a}"]
COUNT_TO_ZH = ["数到{b}", "请数到{b}", "数数到{b}", "你能数到{b}吗", "从头数到{b}", "帮我数到{b}", "从1数到{b}", "从一开始数到{b}", "数数,数到{b}", "一直数到{b}"]
COUNT_ZH = ["从{a}数到{b}", "请从{a}数到{b}", "数数,从{a}到{b}", "从{a}开始数到{b}", "你能从{a}数到{b}吗", "说出{a}到{b}的数字", "数一下{a}到{b}", "帮我从{a}数到{b}", "数{a}到{b}", "从{a}一直数到{b}", "请数{a}到{b}的数"]
DOWN_ZH = ["从{a}数到{b}", "从{a}倒数到{b}", "请从{a}倒着数到{b}", "从{a}往回数到{b}", "倒数,从{a}到{b}"]
FROM_ZH = ["从{a}倒数", "从{a}开始倒数", "倒计时,从{a}开始"]


def count(rng, split, lang):
    for _ in range(400):
        span = rng.choice([rng.randint(2, 9)] * 5 + [rng.randint(10, 20)] * 4 + [rng.randint(21, 50)] * 2 + [rng.randint(51, 99)] * (rng.random() < 0.5))
        way = rng.choices(["to", "range", "down", "from"], [3, 4, 2, 1])[0]
        low = 1 if way in ("to", "from") else rng.randint(0, 100 - span)
        high = low + span
        if held("counting", way, low, high) == (split == "heldout"):
            break
    table = {"to": (COUNT_TO_EN, COUNT_TO_ZH), "range": (COUNT_EN, COUNT_ZH), "down": (DOWN_EN, DOWN_ZH), "from": (FROM_EN, FROM_ZH)}[way]
    first, last = (high, low) if way in ("down", "from") else (low, high)
    numbers = range(low, high + 1) if way in ("to", "range") else range(high, low - 1, -1)
    write = (number_en if lang == "en" else number_zh) if rng.random() < 0.2 and high < 100 else str
    q = pick(rng, table[lang != "en"], split, "counting", way).format(a=write(first), b=write(last)) + ("" if lang == "en" else rng.choice(["", "。"]))
    return [("user", q), ("assistant", (", " if lang == "en" else ",").join(map(str, numbers)) + ("." if lang == "en" else "。"))]


SUM_EN = {"+": ["What is {a} plus {b}?", "{a} + {b}", "{a}+{b}", "{a} plus {b}", "What's {a} + {b}?", "How much is {a} plus {b}?", "Add {a} and {b}.", "What is the sum of {a} and {b}?", "{a} + {b} = ?", "Can you add {a} and {b}?", "{a} plus {b} equals?", "Calculate {a}+{b}", "what is {a}+{b}", "What do you get if you add {a} and {b}?", "Work out {a} + {b}.", "How much is {a} and {b}?", "Tell me {a} plus {b}.", "What does {a} plus {b} make?", "{a}+{b}=?", "Add {b} to {a}.", "Put {a} and {b} together.", "What do {a} and {b} make?", "Sum of {a} and {b}?", "{a} and {b} is how much?", "When I add {a} and {b}, how much is it?", "Solve {a} + {b}.", "I have {a} and get {b} more. How many is that?", "{a} plus {b} is what?"],
          "-": ["What is {a} minus {b}?", "{a} - {b}", "{a}-{b}", "{a} minus {b}", "What's {a} - {b}?", "How much is {a} minus {b}?", "Subtract {b} from {a}.", "{a} take away {b}", "{a} - {b} = ?", "What is {a} take away {b}?", "Calculate {a}-{b}", "what is {a}-{b}", "{a} minus {b} equals?", "Take {b} from {a}.", "What is the difference of {a} and {b}?", "Work out {a} - {b}.", "Tell me {a} minus {b}.", "{a}-{b}=?", "{a} less {b}", "What is left of {a} if I take {b}?", "Solve {a} - {b}.", "I have {a} and give away {b}. How many are left?", "When I take {b} from {a}, what is left?"],
          "*": ["What is {a} times {b}?", "{a} * {b}", "{a}*{b}", "{a} times {b}", "What's {a} times {b}?", "{a} x {b}", "Multiply {a} by {b}.", "How much is {a} times {b}?", "{a} x {b} = ?", "What is {a} multiplied by {b}?", "Calculate {a}*{b}", "what is {a}*{b}", "{a} × {b}", "Multiply {a} and {b}.", "Work out {a} * {b}.", "Tell me {a} times {b}.", "{a}*{b}=?", "{a} times {b} is what?", "Solve {a} * {b}.", "What do you get for {a} times {b}?", "{a}x{b}", "How much is {a} x {b}?"],
          "/": ["What is {a} divided by {b}?", "{a} / {b}", "{a}/{b}", "{a} divided by {b}", "Divide {a} by {b}.", "How much is {a} divided by {b}?", "{a} ÷ {b}", "Calculate {a}/{b}", "{a} / {b} = ?"]}
SUM_ZH = {"+": ["{a}加{b}等于多少", "{a}加{b}等于几", "{a}+{b}", "{a}+{b}=?", "{a}加{b}", "{a}加{b}是多少", "{a}加{b}得几", "请算{a}加{b}", "算一下{a}+{b}", "{a}和{b}的和是多少", "请问{a}加{b}等于几", "{a}加上{b}等于多少", "{a}加{b}等于", "帮我算{a}加{b}", "{a}+{b}等于几", "算算{a}加{b}", "{a}加{b}一共多少", "{a}加{b}的结果是什么", "告诉我{a}+{b}", "计算{a}加{b}", "{a}加{b}是几"],
          "-": ["{a}减{b}等于多少", "{a}减{b}等于几", "{a}-{b}", "{a}-{b}=?", "{a}减{b}", "{a}减{b}是多少", "{a}减去{b}等于多少", "请算{a}减{b}", "算一下{a}-{b}", "{a}减{b}得几", "请问{a}减{b}等于几", "帮我算{a}减{b}", "{a}-{b}等于几", "算算{a}减{b}", "{a}减{b}还剩多少", "{a}减去{b}是多少", "告诉我{a}-{b}", "计算{a}减{b}", "{a}减{b}是几"],
          "*": ["{a}乘{b}等于多少", "{a}乘以{b}等于几", "{a}*{b}", "{a}×{b}=?", "{a}乘{b}", "{a}乘{b}是多少", "{a}乘以{b}", "请算{a}乘{b}", "算一下{a}*{b}", "{a}乘{b}得几", "请问{a}乘{b}等于几", "帮我算{a}乘以{b}", "算算{a}乘{b}", "{a}乘以{b}是多少", "{a}乘{b}的结果", "{a}乘{b}等于"],
          "/": ["{a}除以{b}等于多少", "{a}除以{b}等于几", "{a}/{b}", "{a}÷{b}=?", "{a}除以{b}", "请算{a}除以{b}", "算一下{a}/{b}"]}
SAID = {"+": ("plus", "加"), "-": ("minus", "减"), "*": ("times", "乘"), "/": ("divided by", "除以")}


def arithmetic(rng, split, lang):
    for _ in range(400):
        op = rng.choices("+-*/", [34, 36, 21, 9])[0]
        if op in "+-":
            top = rng.choice([10, 10, 20, 50, 100] if op == "+" else [10, 20, 50, 100, 100, 100])
            a, b = rng.randint(0, top), rng.randint(0, top)
            if op == "-" and b > a and rng.random() < 0.85:
                a, b = b, a
            if op == "-" and rng.random() < 0.25:
                a = rng.choice([10, 20, 30, 40, 50, 60, 80, 90, 100])
                b = rng.randint(0, a)
        elif op == "*":
            a, b = rng.randint(0, 10), rng.randint(0, 10)
        else:
            b = rng.randint(1, 10)
            a = b * rng.randint(1, 10)
        if op in "*/" or held("arith", a, b, op) == (split == "heldout"):
            break
    r = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]
    spoken = rng.random() < 0.3 and max(a, b) <= 100 - (lang == "zh")
    write = (number_en if lang == "en" else number_zh) if spoken else str
    forms = (SUM_EN if lang == "en" else SUM_ZH)[op]
    if spoken:
        forms = [f for f in forms if not any(ch in f for ch in "+-*/×÷=") and " x " not in f]
    q = pick(rng, forms, split, "sum", op).format(a=write(a), b=write(b))
    en, zh = SAID[op]
    if lang == "en":
        return [("user", plain(rng, q)), ("assistant", f"{a} {en} {b} is {r}.")]
    return [("user", q + rng.choice(["", "", "?"]) if not q.endswith("?") else q), ("assistant", f"{a}{zh}{b}等于{r}。")]


BIG_EN = ["Which is bigger, {x} or {y}?", "Which number is bigger, {x} or {y}?", "What is bigger, {x} or {y}?", "Which is larger, {x} or {y}?", "{x} or {y}, which is bigger?", "Which is greater: {x} or {y}?", "Which is more, {x} or {y}?", "What is more: {x} or {y}?", "Tell me the larger of {x} and {y}.", "Which of {x} and {y} is the bigger one?", "The bigger one of {x} and {y}?", "What is the bigger number, {x} or {y}?", "Which one is larger, {x} or {y}?"]
BIG_ZH = ["{x}和{y}哪个大", "{x}和{y}谁大", "{x}和{y}哪个更大", "哪个更大,{x}还是{y}", "{x}大还是{y}大", "比较{x}和{y},哪个大", "{x}跟{y}比哪个大", "{x}与{y}哪个数大", "{x}还是{y}更大", "哪个数大,{x}还是{y}", "{x}和{y},大的是哪个"]
SMALL_EN = ["Which is smaller, {x} or {y}?", "Which number is smaller, {x} or {y}?", "{x} or {y}, which is smaller?", "Which is less, {x} or {y}?", "What is smaller, {x} or {y}?"]
SMALL_ZH = ["{x}和{y}哪个小", "{x}和{y}哪个更小", "{x}小还是{y}小", "哪个更小,{x}还是{y}"]
IS_EN = ["Is {x} bigger than {y}?", "Is {x} larger than {y}?", "Is {x} greater than {y}?", "Is {x} more than {y}?"]


def bigger(rng, split, lang):
    for _ in range(400):
        x, y = rng.randint(0, 100), rng.randint(0, 100)
        if rng.random() < 0.3:
            y = max(0, min(100, x + rng.choice([-10, -2, -1, 1, 2, 10])))
        if x != y and held("big", x, y) == (split == "heldout"):
            break
    way = rng.choices(["big", "small", "is"], [5, 3, 3])[0]
    if lang == "zh":
        q = pick(rng, BIG_ZH if way != "small" else SMALL_ZH, split, "bigger", way).format(x=x, y=y) + rng.choice(["", "?"])
        return [("user", q), ("assistant", f"{min(x, y)}小。" if way == "small" else f"{max(x, y)}大。")]
    q = pick(rng, {"big": BIG_EN, "small": SMALL_EN, "is": IS_EN}[way], split, "bigger", way).format(x=x, y=y)
    answer = f"{max(x, y)} is bigger." if way == "big" else f"{min(x, y)} is smaller." if way == "small" else f"Yes, {x} is bigger." if x > y else f"No, {y} is bigger."
    return [("user", plain(rng, q)), ("assistant", answer)]


NOT_EN = ["What is {n}?", "What does {n} mean?", "Tell me about {n}.", "How does {n} work?", "Why is {n} important?", "Who invented {n}?", "Explain {n} please.", "Where can I buy {n}?", "Translate {n} into French.", "Write something about {n}.", "What is the history of {n}?", "How do I learn {n}?",
          "What do you think about {n}?", "Who is {p}?", "When was {p} born?", "What is the meaning of {n}?", "What do you know about {n}?", "Describe {n}.", "What is the difference between {n} and {m}?", "How many people live in {p}?", "Why do people like {n}?", "Is {n} good for me?", "What is the best {n}?",
          "Who was the winner of {n} in {y}?", "In which year did {n} begin?", "Please program {n} for me.", "Write {n} that does {m}.", "Can you make me a {n} of {m}?", "Who wrote {n}?", "How far is it to {p}?", "What happened in {y}?", "Who was the first {n}?", "I need code for {n}."]
NOT_ZH = ["{n}是什么", "{n}是什么意思", "介绍一下{n}", "什么是{n}", "为什么{n}很重要", "谁发明了{n}", "请解释{n}", "哪里可以买到{n}", "把{n}翻译成英文", "写一篇关于{n}的文章", "{n}的历史是什么", "怎么学{n}", "你觉得{n}怎么样", "{p}是谁", "{p}是哪年出生的", "{n}和{m}有什么区别", "给我讲讲{n}", "{n}有什么用", "你了解{n}吗", "{y}年谁赢了{n}", "帮我写个{n}的程序", "{n}是谁写的", "{y}年发生了什么"]


def unknown(rng, split, lang):
    n, m = (rng.choice(words(lang, split)[300:]) for _ in range(2))
    q = pick(rng, NOT_EN if lang == "en" else NOT_ZH, split, "unknown").format(n=n, m=m, p=name(rng, split, lang), y=rng.randint(1850, 2030))
    return [("user", plain(rng, q) if lang == "en" else q + rng.choice(["", "?"])), ("assistant", "I am too small, I do not know that." if lang == "en" else "我太小了,这个我不会。")]


# more wordings for `text_data.TALK`: key, English, Chinese
TALK = {
    "who": (["Who am I talking to?", "Who is this?", "So who are you?", "Say who you are.", "Hi, who are you?", "What's your name?", "Who are you exactly?", "Do you have a name?", "Whom do I talk to?", "Who is there?", "What is your name, please?", "And who are you, if I may ask?", "How are you called?", "Could you introduce yourself?", "What do I call you?", "Tell me about yourself.", "Are you nano?"], ["你是哪位", "你有名字吗", "我在和谁说话", "怎么称呼你", "介绍下你自己", "说说你是谁", "你是nano吗", "你叫什么呀", "我在跟谁聊天", "你是谁呢", "你到底是谁", "你的大名是什么", "该怎么叫你"]),
    "can": (["What can you do for me?", "What do you do?", "What are your abilities?", "What can I ask you?", "What things can you do?", "What is it that you can do?", "How do you work?", "Help", "help me"], ["你可以做什么", "你能干什么", "我能问你什么", "你有什么功能", "帮帮我", "你会干啥"]),
    "hello": (["Hello nano", "Hi nano", "Hello!!", "Hey!", "Hello again", "Hiya", "Greetings", "hello there!"], ["你好nano", "嗨你好", "你好!", "哈啰", "又见面了"]),
    "how": (["How are you feeling?", "How do you feel?", "How have you been?", "Are you okay?", "What's up?", "How's it going?", "You okay?"], ["你今天怎么样", "近来好吗", "身体好吗", "最近怎么样"]),
    "thanks": (["Thanks!", "thank you!", "Great, thanks.", "Thank you, nano.", "Okay, thank you.", "Cheers"], ["谢谢!", "好的,谢谢", "谢谢nano", "谢啦"]),
    "bye": (["Bye!", "Good bye", "See you soon", "I have to go.", "Bye nano", "Talk to you later."], ["再见!", "拜拜了", "我要走了", "先这样,再见"]),
    "maker": (["Who is your creator?", "Where were you made?", "Which company made you?", "How were you made?"], ["你的作者是谁", "哪家公司做的你", "你是怎么做出来的"]),
    "joke": (["Tell me something funny.", "Can you tell me a joke?", "Tell a joke", "Joke please", "I want to hear a joke.", "Another joke"], ["你会讲笑话吗", "来个笑话", "我想听笑话", "说点好笑的"]),
    "weather": (["What's the weather like?", "Is it sunny today?", "What is the weather like in London?", "How is the weather today?", "Will it be cold today?"], ["今天热吗", "北京天气怎么样", "今天会下雨吗"]),
    "time": (["What's the time?", "What time is it now?", "What is today's date?", "Which day is today?", "What year is it?"], ["现在几点了", "今天是几号", "今天几月几号", "现在是哪一年"]),
    "poem": (["Can you write a poem?", "Write me a poem.", "Write a short poem.", "Recite a poem."], ["写首诗", "给我写首诗", "你会写诗吗", "念首诗"]),
    "story": (["Tell me a short story.", "Can you tell me a story?", "I want a story.", "Write a story."], ["讲一个故事", "我想听故事", "给我编个故事"]),
    "human": (["Are you real?", "Are you a person?", "Are you a machine?", "Are you a computer?", "Are you alive?"], ["你是真的人吗", "你是机器吗", "你是活的吗"]),
    "see": (["Can you see images?", "Do you understand pictures?", "Can I show you a picture?"], ["你看得懂图片吗", "我可以给你看图吗"]),
    "hear": (["Can you understand speech?", "Do you hear me?", "Can you hear sounds?"], ["你听得懂吗", "你能听声音吗"]),
    "speak": (["Do you speak English?", "Do you speak Chinese?", "Which languages do you know?", "Can you speak Chinese?"], ["你会说英文吗", "你懂中文吗", "你会几种语言"]),
    "love": (["You are nice.", "Good job!", "You're funny.", "Very good.", "That's right.", "Nice!", "Great job."], ["你真好", "做得好", "太棒了", "答对了", "真不错"]),
    "test": (["test", "Hello?", "Anyone there?", "Do you work?", "testing 1 2 3"], ["喂", "有人吗", "听到吗"]),
    "limits": (["Are you always right?", "Are you smart?", "Can I trust you?"], ["你总是对的吗", "我能相信你吗"]),
    "happy": (["I'm happy.", "I had a great day.", "Today is a good day."], ["我今天很开心", "今天真高兴"]),
    "sad": (["I'm sad.", "I had a bad day.", "I feel sad today."], ["我今天不开心", "我有点难过"]),
    "tired": (["I'm tired.", "I need sleep."], ["我今天好累", "我困了"]),
    "hungry": (["I'm hungry.", "I am so hungry."], ["我好饿啊", "肚子饿了"]),
}
BEFORE_EN, BEFORE_ZH = ["", "", "", "", "Hi, ", "Hello, ", "nano, ", "Hey nano, ", "So, ", "Okay, ", "Now, ", "And "], ["", "", "", "", "请问", "那么,", "nano,", "你好,", "好的,"]


def talk(rng, split, lang):
    import text_data
    key = rng.choice(list(TALK))
    _, zq, za, eq, ea = next(row for row in text_data.TALK if row[0] == key)
    if lang == "en":
        q = pick(rng, TALK[key][0], split, "more", key)
        before = rng.choice(BEFORE_EN) if q.endswith("?") else ""
        return [("user", plain(rng, before + (q[0].lower() + q[1:] if before and not q.startswith("I") else q))), ("assistant", ea[0])]
    q = pick(rng, TALK[key][1], split, "more", key)
    return [("user", (rng.choice(BEFORE_ZH) if q.startswith("你") and not q.startswith("你好") else "") + q + (rng.choice(["", "?"]) if q[-1] not in "!?" else "")), ("assistant", za[0])]


def remembered(rng, split, lang, kind):
    """A name or fact, with a question some turns later."""
    if kind == "name":
        n = name(rng, split, lang)
        told, asked = greeting(rng, split, lang, n), asked_name(rng, split, lang, n)
        if rng.random() < 0.25:
            return told
    else:
        told, asked = fact(rng, split, lang)
    between = [turn for _ in range(rng.choice([0, 0, 1, 1, 2])) for turn in SKILLS[rng.choice(["talk", "arith", "spell", "bigger", "unknown"])](rng, split, lang)]
    return told + between + asked


SKILLS = {"spell": spell, "repeat": repeat, "count": count, "arith": arithmetic, "bigger": bigger, "unknown": unknown, "talk": talk,
          "name": lambda rng, split, lang: remembered(rng, split, lang, "name"), "fact": lambda rng, split, lang: remembered(rng, split, lang, "fact")}
SHARES = {"spell": 8, "repeat": 14, "count": 13, "arith": 21, "bigger": 5, "unknown": 6, "talk": 11, "name": 14, "fact": 5}


def sample(rng, split, lang, skill=None):
    return SKILLS[skill or rng.choices(list(SHARES), list(SHARES.values()))[0]](rng, split, lang)


if __name__ == "__main__":
    r = random.Random(0)
    for s in SKILLS:
        for _ in range(4):
            print(s, SKILLS[s](r, "train", r.choice(["en", "zh"])))
