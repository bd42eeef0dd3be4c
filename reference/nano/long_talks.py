"""Conversations of up to twelve turns that mix skills and modalities: questions about earlier names, facts,
images and audio.

`talk(rng, split, lang, turns, pictures, sounds)` gives the messages and the media in their order; without media it is text only.
"""

import media_data as md
import open_text
import text_data
from extra_words import COUNTS, TONES
from wordings import ask

AGAIN = {  # about an earlier image or audio
    "only": (["What was in the picture?", "What did the picture show?", "What was in the picture again?", "Do you remember the picture?", "What did you see in the picture?", "What was in the picture I showed you?", "And the picture, what was in it?"], ["刚才的图片里有什么", "图片里是什么来着", "你还记得那张图吗", "刚才的图是什么", "那张图里有什么", "之前的图片里有什么"]),
    "first": (["What was in the first picture?", "What did the first picture show?", "Describe the first picture again.", "And the first picture?", "What was the first picture?"], ["第一张图里有什么", "第一张图片是什么", "第一张图是什么来着", "再说说第一张图"]),
    "last": (["What was in the last picture?", "What did the last picture show?", "What was in the second picture?", "And the last picture?"], ["最后一张图里有什么", "上一张图是什么", "最后那张图片里有什么", "第二张图里有什么"]),
    "sound": (["How many beeps did you hear before?", "What did you hear in the sound?", "How many beeps were there in the recording?", "What was the sound again?", "Do you remember the sound?", "How many beeps were there?"], ["刚才的声音有几声", "之前听到了什么", "刚才的声音是什么", "你还记得那个声音吗", "刚才听到几声"]),
}


def single(rng, split, lang):
    """One turn of the text skills, of both grammars."""
    if rng.random() < 0.35:
        while True:
            skill = rng.choice(["talk", "talk", "arith", "repeat", "spell", "unknown", "parity", "count"])
            messages = [m for m in text_data.sample(rng, split, lang, skill)["messages"] if m[0] != "system"]
            if len(messages[1][1]) < 90:
                return messages[:2]
    while True:
        messages = open_text.SKILLS[rng.choices(["talk", "arith", "spell", "repeat", "count", "bigger", "unknown"], [5, 6, 3, 3, 3, 2, 2])[0]](rng, split, lang)
        if len(messages[1][1]) < 90:
            return messages


def again(rng, key, en):
    q = rng.choice(AGAIN[key][0 if en else 1])
    return q if en else q + rng.choice(["?", ""])


def talk(rng, split, lang, turns, pictures=(), sounds=()):
    """`pictures` and `sounds`: [(thing, facts, tokens)] that come in this order, as many as fit. -> messages, kinds of turns, used images, used audio."""
    en, out, kinds = lang == "en", [], []
    told, seen, heard, shown, played = [], [], [], [], []
    pictures, sounds = list(pictures), list(sounds)

    def add(kind, messages):
        out.extend(messages[:2])
        kinds.append(kind)

    named = False
    while len(kinds) < turns:
        left = turns - len(kinds)
        media = len(pictures) + len(sounds)
        x = rng.random()
        if media and (rng.random() < min(0.9, 1.6 * media / left)):
            if pictures and (not sounds or rng.random() < len(pictures) / media):
                picture = pictures.pop(0)
                shown.append(picture)
                add("picture", md.image_dialogue(rng, picture[1], picture[2], "en" if en else "zh", more=0))
                seen.append(picture[1])
            else:
                sound = sounds.pop(0)
                played.append(sound)
                dialogue = md.sound_dialogue(rng, sound[1], sound[2], "en" if en else "zh") if "kind" in sound[1] else spoken(rng, sound[1], sound[2])
                add("sound", dialogue)
                if sound[1].get("kind") == "beeps":
                    heard = [sound[1]]
        elif x < 0.12 and not named:
            named, n = True, open_text.name(rng, split, lang)
            add("name", open_text.greeting(rng, split, lang, n))
            told.append(lambda n=n: open_text.asked_name(rng, split, lang, n))
        elif x < 0.18 and len(told) < 2:
            said, asked = open_text.fact(rng, split, lang)
            add("fact", said)
            told.append(lambda asked=asked: asked)
        elif x < 0.36 and told:
            add("asked again", rng.choice(told)())
        elif x < (0.85 if len(seen) > 1 else 0.56) and (seen or heard):
            if heard and (not seen or rng.random() < (0.2 if len(seen) > 1 else 0.35)):
                f = heard[0]
                add("heard again", [("user", again(rng, "sound", en)), ("assistant", f"I heard {COUNTS[f['count']][0]} {f['level']} beep{'s' if f['count'] > 1 else ''}." if en else f"我听到{'一两三四五六'[f['count'] - 1]}声{TONES[f['level']]}音。")])
            else:
                key = "only" if len(seen) == 1 else rng.choice(["first", "last"]) if len(seen) == 2 else "first"
                scene = seen[0] if key != "last" else seen[-1]
                questions = [(q, a) for q, a in md.image_questions(rng, scene, en) if q]
                if len(seen) == 1 and questions and rng.random() < 0.5:
                    add("seen again", [(role, text) for role, text in zip(("user", "assistant"), rng.choice(questions))])
                else:
                    add("seen again", [("user", again(rng, key, en)), ("assistant", md.describe(scene, en))])
        else:
            add("text", single(rng, split, lang))
    if not en:
        wide = text_data.full_width
        out = [(r, wide(m) if isinstance(m, str) else [wide(p) if isinstance(p, str) else p for p in m]) for r, m in out]
    return out, kinds, shown, played


def spoken(rng, facts, tokens):
    en = facts["lang"] == "en"
    if facts["answer"] and rng.random() < 0.7:
        return [("user", [("audio", tokens)]), ("assistant", facts["answer"])]
    return [("user", [("audio", tokens), ask(rng, "said", en)]), ("assistant", facts["text"] if en else facts["text"].rstrip("。?!"))]
