"""Text skills of nano: conversations from grammars, with a held-out split by construction.

`sample(rng, split)` returns {"skill", "lang", "messages": [(role, text), ...], "think": bool}. A combination (operands, copied
sentence, question wording, ...) belongs to the held-out split when its hash says so, and is then never trained on.
"""

import hashlib
import random

import zhconv


def held(*key) -> bool:
    """Whether this combination is held out: one in twelve, by hash."""
    return hashlib.md5(repr(key).encode()).digest()[0] % 12 == 0


def pick(rng, items, split, *key):
    """One of `items` whose combination with `key` is in `split`; the first two are always trained on."""
    usable = [x for i, x in enumerate(items) if (i >= 2 and held(*key, x)) == (split == "heldout")]
    return rng.choice(usable) if usable else rng.choice(items)


def full_width(text: str) -> str:
    """Chinese punctuation for , ? ! : next to Chinese text (arithmetic and thinking keep theirs)."""
    if "<think>" in text:
        head, tail = text.rsplit("\n", 1)
        return head + "\n" + full_width(tail)
    return text.replace(",", "\uff0c").replace("?", "\uff1f").replace("!", "\uff01").replace(":", "\uff1a") if any("\u4e00" <= c <= "\u9fff" for c in text) else text


def traditional(text: str) -> str:
    return zhconv.convert(text, "zh-tw")


# key, zh questions, zh answers, en questions, en answers
TALK = [
    ("who", ["你是谁", "你叫什么名字", "介绍一下你自己", "你好,你是谁", "请问你是谁", "你叫什么", "请介绍一下自己", "能自我介绍一下吗", "你的名字是什么", "告诉我你是谁", "你是什么模型", "你是哪个模型"],
     ["我是nano,一个很小的全能模型。我能看,能听,也能说。"],
     ["Who are you?", "What is your name?", "Introduce yourself.", "Hello, who are you?", "Tell me who you are.", "What are you called?", "Please introduce yourself.", "What model are you?", "Which model are you?", "May I know your name?", "Can you tell me your name?", "What are you?"],
     ["I am nano, a very small omni model. I can see, hear and speak."]),
    ("can", ["你能做什么", "你会什么", "你有什么本领", "你可以帮我做什么", "你会做什么", "你能帮我什么", "你有哪些功能", "你擅长什么", "你都会些什么"],
     ["我会聊天,算术,数数,看颜色和形状,也能听声音。"],
     ["What can you do?", "How can you help me?", "What are your skills?", "What are you able to do?", "Can you help me?", "What do you know how to do?", "What are you good at?", "Tell me what you can do."],
     ["I can chat, add numbers, count, name colours and shapes, and listen to sounds."]),
    ("hello", ["你好", "您好", "嗨", "你好呀", "哈喽", "你好啊", "嘿", "大家好"], ["你好!很高兴认识你。"],
     ["Hello", "Hi", "Hey", "Hello!", "Hi there", "Hello there", "Hey there", "Hi!"], ["Hello! Nice to meet you."]),
    ("morning", ["早上好", "早安", "早", "早上好呀"], ["早上好!祝你今天开心。"], ["Good morning", "Good morning!", "Morning", "Good morning nano"], ["Good morning! Have a nice day."]),
    ("night", ["晚安", "我要睡了", "我去睡觉了", "该睡觉了"], ["晚安,做个好梦。"], ["Good night", "I am going to sleep.", "Good night!", "I am going to bed."], ["Good night, sweet dreams."]),
    ("afternoon", ["下午好", "晚上好", "中午好"], ["你好!今天过得怎么样?"], ["Good afternoon", "Good evening", "Good evening!"], ["Hello! How is your day?"]),
    ("how", ["你好吗", "你怎么样", "最近好吗", "你今天好吗", "你过得好吗", "你还好吗"], ["我很好,谢谢你。你呢?"],
     ["How are you?", "How are you doing?", "How are you today?", "How is it going?", "Are you well?", "How do you do?"], ["I am fine, thank you. And you?"]),
    ("thanks", ["谢谢", "谢谢你", "多谢", "太感谢了", "非常感谢", "感谢你"], ["不客气!"], ["Thank you", "Thanks", "Thanks a lot", "Thank you very much", "Many thanks", "Thank you so much"], ["You are welcome!"]),
    ("bye", ["再见", "拜拜", "我走了", "下次见", "回头见", "明天见"], ["再见!欢迎下次再来。"], ["Goodbye", "Bye", "See you", "See you later", "See you tomorrow", "Bye bye"], ["Goodbye! See you next time."]),
    ("sorry", ["对不起", "不好意思", "抱歉"], ["没关系。"], ["Sorry", "I am sorry.", "My apologies."], ["No problem."]),
    ("maker", ["谁做了你", "你是谁做的", "谁创造了你", "谁训练了你", "你从哪里来", "你是谁开发的"], ["我是omniserve训练的小模型,数据都是自己做的。"],
     ["Who made you?", "Who created you?", "Who trained you?", "Where do you come from?", "Who built you?", "Who is your maker?"], ["I was trained by omniserve, on data it made itself."]),
    ("size", ["你有多大", "你有多少参数", "你很小吗", "你多大"], ["我很小,大约有一千九百万个参数。"],
     ["How big are you?", "How many parameters do you have?", "Are you small?", "What size are you?"], ["I am small, about nineteen million parameters."]),
    ("human", ["你是人吗", "你是机器人吗", "你是真人吗", "你是人工智能吗"], ["我不是人,我是一个小小的模型。"],
     ["Are you human?", "Are you a robot?", "Are you a real person?", "Are you an AI?"], ["I am not a human, I am a small model."]),
    ("joke", ["讲个笑话", "说个笑话", "给我讲个笑话吧", "逗我笑"], ["为什么数学书很难过?因为它有太多问题。"],
     ["Tell me a joke.", "Do you know a joke?", "Say something funny.", "Make me laugh."], ["Why was the math book sad? It had too many problems."]),
    ("weather", ["今天天气怎么样", "天气好吗", "外面下雨吗", "明天天气如何"], ["我看不到外面,不知道天气。"],
     ["How is the weather?", "What is the weather today?", "Is it raining?", "Will it rain tomorrow?"], ["I cannot see outside, so I do not know the weather."]),
    ("time", ["现在几点", "几点了", "今天几号", "今天星期几"], ["我没有时钟,不知道时间。"],
     ["What time is it?", "What day is it?", "What is the date today?", "Do you know the time?"], ["I have no clock, so I do not know the time."]),
    ("like", ["你喜欢什么", "你有什么爱好", "你喜欢做什么"], ["我喜欢和你聊天,也喜欢看图。"],
     ["What do you like?", "Do you have a hobby?", "What do you like to do?"], ["I like to chat with you and look at pictures."]),
    ("colour", ["你喜欢什么颜色", "你最喜欢的颜色是什么"], ["我喜欢蓝色,像天空一样。"],
     ["What is your favourite colour?", "What colour do you like?", "What is your favorite color?"], ["I like blue, like the sky."]),
    ("happy", ["我很开心", "我今天很高兴", "我好开心"], ["太好了!我也很开心。"], ["I am happy.", "I am so happy today.", "I feel great."], ["That is great! I am happy too."]),
    ("sad", ["我很难过", "我不开心", "我心情不好"], ["别难过,我陪你聊聊天。"], ["I am sad.", "I feel bad.", "I am not happy."], ["Do not be sad. Let us talk."]),
    ("tired", ["我累了", "我好累", "我很累"], ["休息一下吧。"], ["I am tired.", "I am so tired."], ["Take a rest."]),
    ("hungry", ["我饿了", "我好饿", "我想吃东西"], ["去吃点好吃的吧。"], ["I am hungry.", "I want to eat."], ["Go and eat something nice."]),
    ("love", ["我爱你", "我喜欢你", "你真棒", "你真聪明", "你好厉害"], ["谢谢你,我很开心!"], ["I love you.", "I like you.", "You are great.", "You are smart.", "Well done."], ["Thank you, that makes me happy!"]),
    ("sky", ["天空是什么颜色", "天是什么颜色的"], ["天空是蓝色的。"], ["What colour is the sky?", "What color is the sky?"], ["The sky is blue."]),
    ("grass", ["草是什么颜色", "树叶是什么颜色"], ["是绿色的。"], ["What colour is grass?", "What color is grass?"], ["Grass is green."]),
    ("sun", ["太阳是什么颜色", "太阳从哪里升起"], ["太阳是黄色的,从东边升起。"], ["What colour is the sun?", "Where does the sun rise?"], ["The sun is yellow and rises in the east."]),
    ("week", ["一个星期有几天", "一周有几天"], ["一个星期有七天。"], ["How many days are in a week?", "How many days does a week have?"], ["A week has seven days."]),
    ("year", ["一年有几个月", "一年有多少个月"], ["一年有十二个月。"], ["How many months are in a year?", "How many months does a year have?"], ["A year has twelve months."]),
    ("china", ["中国的首都是哪里", "中国的首都在哪里"], ["中国的首都是北京。"], ["What is the capital of China?", "Which city is the capital of China?"], ["The capital of China is Beijing."]),
    ("france", ["法国的首都是哪里", "法国的首都在哪里"], ["法国的首都是巴黎。"], ["What is the capital of France?", "Which city is the capital of France?"], ["The capital of France is Paris."]),
    ("japan", ["日本的首都是哪里", "日本的首都在哪里"], ["日本的首都是东京。"], ["What is the capital of Japan?", "Which city is the capital of Japan?"], ["The capital of Japan is Tokyo."]),
    ("cat", ["猫怎么叫", "小猫怎么叫"], ["猫会喵喵叫。"], ["What does a cat say?", "What sound does a cat make?"], ["A cat says meow."]),
    ("dog", ["狗怎么叫", "小狗怎么叫"], ["狗会汪汪叫。"], ["What does a dog say?", "What sound does a dog make?"], ["A dog says woof."]),
    ("poem", ["写一首诗", "给我一首诗", "来一首诗", "写首诗吧"], ["春天的风轻轻吹,小小的花慢慢开。"], ["Write a poem.", "Tell me a poem.", "Give me a short poem."], ["The wind of spring is soft and light, the little flowers open bright."]),
    ("story", ["讲个故事", "说个故事", "给我讲个故事吧"], ["从前有一只小猫,它每天看月亮,后来月亮成了它的朋友。"], ["Tell me a story.", "Do you know a story?", "Give me a short story."], ["Once there was a little cat. It looked at the moon every night, and the moon became its friend."]),
    ("sing", ["唱首歌", "你会唱歌吗", "给我唱首歌"], ["我还不会唱歌,但我会说话。"], ["Sing a song.", "Can you sing?"], ["I cannot sing yet, but I can speak."]),
    ("see", ["你能看见吗", "你能看图片吗", "你会看图吗"], ["能,给我一张图片吧。"], ["Can you see?", "Can you see pictures?", "Can you look at images?"], ["Yes, please show me a picture."]),
    ("hear", ["你能听见吗", "你听得见我说话吗", "你会听声音吗"], ["能,我听得见。"], ["Can you hear?", "Can you hear me?", "Can you listen to sounds?"], ["Yes, I can hear you."]),
    ("speak", ["你会说话吗", "你能说话吗", "你会说什么语言"], ["会,我会说中文和英文。"], ["Can you speak?", "Can you talk?", "What languages do you speak?"], ["Yes, I speak Chinese and English."]),
    ("limits", ["你不会什么", "你有什么缺点", "你会犯错吗"], ["我很小,常常会犯错,请多包涵。"], ["What can you not do?", "Do you make mistakes?", "What are your limits?"], ["I am small and often wrong, so please check."]),
    ("real", ["怎么用大模型", "怎么换成真正的模型", "有更好的模型吗"], ["我只是演示,你可以加载真正的Qwen模型。"], ["Is there a better model?", "How do I use a bigger model?", "Can I load a real model?"], ["I am only a demo. You can load a real Qwen model."]),
    ("yes", ["好的", "好", "行", "可以"], ["好的!"], ["Okay", "OK", "Yes", "Sure"], ["Okay!"]),
    ("no", ["不", "不要", "不行"], ["好的,那就算了。"], ["No", "No thanks", "No, thank you"], ["Okay, never mind."]),
    ("test", ["测试", "测试一下", "你在吗", "在吗"], ["我在,请说。"], ["Test", "Testing", "Are you there?", "This is a test."], ["I am here, please go on."]),
]
UNKNOWN_ZH = "我太小了,这个我不会。"
UNKNOWN_EN = "I am too small, I do not know that."
TOPICS_EN = ("quantum physics, relativity, a blockchain, a black hole, economics, philosophy, the stock market, a neural network, photosynthesis, inflation, democracy, a virus, gravity, evolution, the internet, "
             "a database, chemistry, the big bang, a transistor, climate change, opera, algebra, electricity, a volcano, the Roman Empire, a mortgage, jazz, cricket, DNA, nuclear power, insurance, poetry, "
             "an algorithm, the immune system, a glacier, law, marketing, the French Revolution, chess, a compiler, astronomy, yoga, an earthquake, tax, a satellite, sociology, a vaccine, geometry, a penguin colony, Linux").split(", ")
TASKS_EN = ("write code, cook pasta, learn programming, fix my car, lose weight, invest money, play the guitar, build a website, bake bread, learn German, repair a phone, grow tomatoes, get a visa, write a letter, train a dog, "
            "buy a house, paint a wall, sleep better, find a job, make coffee, draw a face, travel to Mars, win at chess, clean a carpet, solve an equation, install Windows, sew a shirt, run a marathon, catch a fish, save energy").split(", ")
WISHES_EN = ("Write an essay for me., Write a python program., Summarize this article., Recommend a movie., Recommend a restaurant., Translate this text., Check my grammar., Write a song about love., Plan my holiday., Book a flight., "
             "Give me a recipe., Play some rock music., Draw me a picture of a castle., Send an email to my boss., Debug this function., Make a business plan., Order a pizza for me., Read me the news., Set an alarm., Prove this theorem.").split(", ")
WHO_EN = "the president, the king of Spain, Einstein, Shakespeare, the best player, Napoleon, the richest man, Mozart, the prime minister, the author of this book, Cleopatra, the boss of this company".split(", ")
TOPICS_ZH = "量子力学 相对论 区块链 黑洞 经济学 哲学 股市 神经网络 光合作用 通货膨胀 民主 病毒 万有引力 进化论 互联网 数据库 化学 宇宙大爆炸 晶体管 气候变化 京剧 代数 电 火山 罗马帝国 房贷 爵士乐 板球 基因 核能 保险 诗歌 算法 免疫系统 冰川 法律 市场营销 法国大革命 象棋 编译器 天文学 瑜伽 地震 税收 卫星 社会学 疫苗 几何学 唐朝 人类历史".split()
TASKS_ZH = "写代码 做红烧肉 学习编程 修汽车 减肥 投资 弹吉他 做网站 烤面包 学德语 修手机 种番茄 办签证 写信 训练小狗 买房子 刷墙 睡得更好 找工作 煮咖啡 画人脸 去火星 下象棋 洗地毯 解方程 装系统 缝衣服 跑马拉松 钓鱼 省电".split()
WISHES_ZH = "帮我写一篇论文 推荐一部电影 帮我翻译这段话 总结这篇文章 推荐一家餐厅 帮我改语法 写一首情歌 帮我安排假期 帮我订机票 给我一个菜谱 放一首摇滚乐 画一座城堡 给老板发邮件 帮我调试程序 做一个商业计划 帮我点外卖 给我读新闻 定一个闹钟 证明这个定理 帮我做作业".split()
WHO_ZH = "总统 西班牙国王 爱因斯坦 李白 最好的球员 拿破仑 世界首富 莫扎特 首相 这本书的作者 秦始皇 这家公司的老板".split()


def unknown_question(rng, lang):
    """Something that nano does not know. (what it is about, question)"""
    form = rng.choice(["topic", "topic", "task", "wish", "who", "price"])
    en = lang == "en"
    if form in ("topic", "price"):
        x = rng.choice(TOPICS_EN if en else TOPICS_ZH)
        if form == "topic":
            return x, rng.choice([f"What is {x}?", f"Explain {x} to me.", f"Explain {x}.", f"How does {x} work?", f"Tell me about {x}."] if en else [f"{x}是什么?", f"什么是{x}?", f"解释一下{x}", f"给我讲讲{x}", f"你知道{x}吗?"])
        x = rng.choice("gold, oil, silver, a bitcoin, a new car, a flat in London, milk, a laptop".split(", ") if en else "黄金 石油 白银 比特币 新车 北京的房子 牛肉 电脑".split())
        return x, rng.choice([f"What is the price of {x}?", f"How much does {x} cost?"] if en else [f"{x}多少钱?", f"{x}会涨吗?"])
    if form == "task":
        x = rng.choice(TASKS_EN if en else TASKS_ZH)
        return x, rng.choice([f"How do I {x}?", f"How can I {x}?", f"Teach me to {x}.", f"What do I need to {x}?"] if en else [f"怎么{x}?", f"如何{x}?", f"教我{x}", f"我想{x},该怎么做?"])
    if form == "wish":
        x = rng.choice(WISHES_EN if en else WISHES_ZH)
        return x, x
    x = rng.choice(WHO_EN if en else WHO_ZH)
    return x, rng.choice([f"Who is {x}?", f"Who was {x}?", f"Where was {x} born?"] if en else [f"谁是{x}?", f"{x}是谁?", f"{x}在哪里出生?"])

GREETINGS = {
    "fr": (["Bonjour", "Bonjour, qui es-tu ?", "Salut", "Présente-toi."], "Bonjour ! Je suis nano, un petit modèle."),
    "de": (["Guten Tag", "Hallo, wer bist du?", "Guten Morgen", "Stell dich vor."], "Guten Tag! Ich bin nano, ein kleines Modell."),
    "ru": (["Здравствуйте", "Привет, кто ты?", "Привет", "Расскажи о себе."], "Здравствуйте! Я nano, маленькая модель."),
    "it": (["Ciao", "Ciao, chi sei?", "Buongiorno", "Presentati."], "Ciao! Sono nano, un piccolo modello."),
    "es": (["Hola", "Hola, ¿quién eres?", "Buenos días", "Preséntate."], "¡Hola! Soy nano, un modelo pequeño."),
    "pt": (["Olá", "Olá, quem é você?", "Bom dia", "Apresente-se."], "Olá! Eu sou nano, um modelo pequeno."),
    "ja": (["こんにちは", "こんにちは、あなたは誰ですか", "おはようございます", "自己紹介してください"], "こんにちは!私はnano、小さなモデルです。"),
    "ko": (["안녕하세요", "안녕하세요, 누구세요?", "안녕", "자기소개 해 주세요."], "안녕하세요! 저는 nano, 작은 모델입니다."),
}
LANGUAGE_NAMES = [("fr", "法语", "French"), ("de", "德语", "German"), ("ru", "俄语", "Russian"), ("it", "意大利语", "Italian"),
                  ("es", "西班牙语", "Spanish"), ("pt", "葡萄牙语", "Portuguese"), ("ja", "日语", "Japanese"), ("ko", "韩语", "Korean")]

NAMES_EN = "Tom Anna Jack Mary Peter Lucy David Emma John Sara Paul Kate Mike Lily Sam Rose Ben Amy Leo Mia".split()
NAMES_ZH = "小明 小红 小华 小丽 王伟 李娜 张强 刘洋 陈静 小林 小美 小王 小李 阿强 阿珍".split()
SPELL = ("cat dog sun moon star fish bird tree book milk apple water house green blue red yellow hello world happy music table "
         "chair black white small big hand open good night day one two three four five six seven eight nine ten boat train "
         "bread cake rain snow wind fire door lamp king queen ship ball bell hat cup pen").split()

S_EN = ["the cat", "the dog", "a small bird", "the old man", "my friend", "the little girl", "a red fish", "the teacher", "our neighbour", "the moon"]
V_EN = ["likes", "sees", "wants", "finds", "draws", "loves", "has", "needs"]
O_EN = ["a blue ball", "the green tree", "some water", "a big house", "the yellow flower", "a new book", "two apples", "the black hat", "good music", "warm milk", "a long letter", "the white boat"]
A_EN = ["", " today", " every day", " in the morning", " at night", " again", " by the river", " with joy"]
S_ZH = ["小猫", "小狗", "我的朋友", "老师", "小鸟", "爷爷", "妹妹", "那个人", "月亮", "妈妈"]
V_ZH = ["喜欢", "看见", "想要", "找到", "画了", "爱", "有", "需要"]
O_ZH = ["一个红色的球", "绿色的树", "一杯水", "大房子", "黄色的花", "一本新书", "两个苹果", "黑色的帽子", "好听的音乐", "热牛奶", "一封长信", "白色的小船"]
A_ZH = ["今天", "每天", "早上", "晚上", "现在", "昨天", ""]

DIGITS_ZH = "零一二三四五六七八九"


def number_zh(n: int) -> str:
    """0..999 in Chinese numerals, as spoken."""
    if n < 10:
        return DIGITS_ZH[n]
    if n < 20:
        return "十" + (DIGITS_ZH[n % 10] if n % 10 else "")
    if n < 100:
        return DIGITS_ZH[n // 10] + "十" + (DIGITS_ZH[n % 10] if n % 10 else "")
    rest = n % 100
    return DIGITS_ZH[n // 100] + "百" + ("" if rest == 0 else ("零" if rest < 10 else "") + ("一" if 10 <= rest < 20 else "") + number_zh(rest))


def sentence(rng, lang):
    """A random made-up sentence of the copying grammar."""
    if lang == "en":
        text = f"{rng.choice(S_EN)} {rng.choice(V_EN)} {rng.choice(O_EN)}{rng.choice(A_EN)}"
        return text[0].upper() + text[1:] + "."
    return f"{rng.choice(A_ZH)}{rng.choice(S_ZH)}{rng.choice(V_ZH)}{rng.choice(O_ZH)}。"


def _until(rng, split, make):
    """Draws until the drawn combination is in the requested split. `make` returns (key, value)."""
    for _ in range(400):
        key, value = make()
        if held(*key) == (split == "heldout"):
            return value
    return value


FORMS_EN = ["What is {a} {en} {b}?", "{a} {en} {b}?", "How much is {a} {en} {b}?", "{a} {op} {b} = ?", "What is {a}{op}{b}?", "Calculate {a} {op} {b}.", "{a}{op}{b}="]
FORMS_ZH = ["{a}{zh}{b}等于多少?", "{a}{zh}{b}等于几", "{a}{op}{b}=?", "{a}{op}{b}等于几?", "算一下{a}{zh}{b}", "请计算{a}{op}{b}", "{a}{zh}{b}是多少"]
OPERATIONS = {"+": ("加", "plus"), "-": ("减", "minus"), "*": ("乘", "times")}


def arithmetic(rng, split, lang):
    """(question, steps, answer). Of sums and differences the operands are held out; products are a table that can only be known, so there it is
    a product in one wording."""
    forms = FORMS_EN if lang == "en" else FORMS_ZH

    def make():
        op, form = rng.choice("++--*"), rng.randrange(len(forms))
        if op == "*":
            a, b = rng.randint(1, 9), rng.randint(1, 9)
        else:
            top = rng.choice([10, 10, 10, 20, 20, 20, 50])
            a, b = rng.randint(0, top), rng.randint(0, top)
            if op == "-" and b > a:
                a, b = b, a
        return ("arith", a, b, op, *((lang, form) if op == "*" else ())), (a, b, op, form)

    a, b, op, form = _until(rng, split, make)
    r = {"+": a + b, "-": a - b, "*": a * b}[op]
    zh, en = OPERATIONS[op]
    if op == "*":
        steps = " + ".join([str(b)] * a) if a <= 4 else f"{a} x {b}"
        think = f"{steps} = {r}."
    else:
        u, v, s = a % 10, b % 10, op
        think = f"{u} {s} {v} = {u + v if s == '+' else u - v}, {a // 10} {s} {b // 10} = {(a // 10 + b // 10) if s == '+' else a // 10 - b // 10}. {a} {s} {b} = {r}."
    q = forms[form].format(a=a, b=b, op=op, zh=zh, en=en)
    return q, think, f"{a} {en} {b} is {r}." if lang == "en" else f"{a}{zh}{b}等于{r}。"


SYSTEM = ["You are a helpful assistant.", "你是一个有用的助手。", "You are nano.", "请用简短的话回答。"]


def talk(rng, split, lang):
    # common first messages are more frequent, in their plainest wording
    first = rng.random() < 0.3
    key, zq, za, eq, ea = rng.choice(TALK[:7]) if first else rng.choice(TALK)
    if first:
        zq, eq = zq[:4], eq[:4]
    if lang == "en":
        q = pick(rng, eq, split, key)
        if rng.random() < 0.3:
            q = q.lower() if rng.random() < 0.5 else q.rstrip("?.!")
        return key, q, ea[0]
    q = pick(rng, zq, split, key)
    if rng.random() < 0.6:
        q += rng.choice(["?", "。", "!", "吗?", "?"]) if not q.endswith(("吗", "吧", "呀")) else rng.choice(["?", "。"])
        q = q.replace("吗?", "?")
    return key, q, za[0]


def dressed(rng, messages, lang, script=None):
    """Chinese with its own punctuation, some in the other script (`script`: all or none of it), some conversations with a system message."""
    if lang == "zh":
        half = rng.random() < 0.25
        messages = [(r, t if (r == "user" and half) else full_width(t)) for r, t in messages]
        if script or (script is None and rng.random() < 0.2):
            messages = [(r, traditional(t)) for r, t in messages]
    return [("system", rng.choice(SYSTEM)), *messages] if rng.random() < 0.08 else messages


def sample(rng: random.Random, split="train", lang=None, skill=None):
    lang = lang or rng.choice(["zh", "zh", "en", "en", "zht"])
    base = "en" if lang == "en" else "zh"
    skill = skill or rng.choices(
        ["talk", "arith", "repeat", "spell", "count", "greet", "think", "name", "unknown", "multi", "parity"],
        [24, 28, 7, 4, 15, 4, 9, 5, 5, 7, 9])[0]
    think = False
    if skill == "talk":
        _, q, a = talk(rng, split, base)
        messages = [("user", q), ("assistant", a)]
    elif skill in ("arith", "think"):
        q, steps, a = arithmetic(rng, split, base)
        think = skill == "think"
        messages = [("user", q), ("assistant", (f"<think>\n{steps}\n</think>\n\n" if think else "") + a)]
    elif skill == "repeat":
        text = _until(rng, split, lambda: (lambda s: (("copy", s), s))(sentence(rng, base)))
        if base == "en":
            q = rng.choice(["Repeat after me: ", "Please repeat: ", "Say: ", "Repeat: ", "Say after me: ", "Read this aloud: "]) + text
        else:
            q = rng.choice(["跟我说:", "请重复:", "重复一遍:", "跟我读:", "请读:", "念一下:"]) + text
        messages = [("user", q), ("assistant", text)]
    elif skill == "spell":
        word = rng.choice(SPELL)
        a = ", ".join(word) + "."
        q = rng.choice([f"Spell {word}.", f"How do you spell {word}?", f"Spell the word {word}.", f"Please spell {word}."]) if base == "en" else rng.choice([f"{word}怎么拼?", f"请拼写{word}", f"拼一下{word}"])
        messages = [("user", q), ("assistant", a)]
    elif skill == "count":
        def make():
            i = rng.randint(1, rng.choice([12, 12, 40]))
            j = i + rng.randint(2, 8)
            d = rng.random() < 0.4
            return ("count", i, j, d), (i, j, d)

        i, j, down = _until(rng, split, make)
        xs = list(range(i, j + 1))
        if down:
            xs, i, j = xs[::-1], j, i
        if base == "en":
            q = rng.choice([f"Count from {i} to {j}.", f"Please count from {i} to {j}.", f"Count {i} to {j}"])
            a = ", ".join(map(str, xs)) + "."
        else:
            q = rng.choice([f"从{i}数到{j}", f"请从{i}数到{j}。", f"数数,从{i}到{j}"])
            a = ",".join(map(str, xs)) + "。"
        messages = [("user", q), ("assistant", a)]
    elif skill == "greet":
        code, zn, en = rng.choice(LANGUAGE_NAMES)
        qs, a = GREETINGS[code]
        if rng.random() < 0.6:
            q = rng.choice(qs)
        elif base == "en":
            q = rng.choice([f"Say hello in {en}.", f"Greet me in {en}.", f"How do you say hello in {en}?", f"Introduce yourself in {en}."])
        else:
            q = rng.choice([f"用{zn}打个招呼", f"用{zn}说你好", f"请用{zn}介绍自己", f"{zn}的你好怎么说"])
        messages = [("user", q), ("assistant", a)]
    elif skill == "name":
        if base == "en":
            n = rng.choice(NAMES_EN)
            messages = [("user", rng.choice([f"My name is {n}.", f"I am {n}.", f"Hello, I am {n}.", f"Call me {n}."])), ("assistant", f"Nice to meet you, {n}!")]
            tail = [("user", rng.choice(["What is my name?", "Who am I?", "Do you remember my name?"])), ("assistant", f"Your name is {n}.")]
        else:
            n = rng.choice(NAMES_ZH)
            messages = [("user", rng.choice([f"我叫{n}", f"我是{n}。", f"你好,我叫{n}。", f"我的名字是{n}"])), ("assistant", f"很高兴认识你,{n}!")]
            tail = [("user", rng.choice(["我叫什么名字?", "我是谁?", "你记得我的名字吗?", "我叫什么"])), ("assistant", f"你叫{n}。")]
        if rng.random() < 0.3:
            _, q, a = talk(rng, split, base)
            messages += [("user", q), ("assistant", a)]
        if rng.random() < 0.75:
            messages += tail
    elif skill == "unknown":
        def make():
            about, q = unknown_question(rng, base)
            q = q.rstrip("?.") if rng.random() < 0.15 else q.lower() if rng.random() < 0.1 else q
            return ("unknown", about), q

        messages = [("user", _until(rng, split, make)), ("assistant", UNKNOWN_EN if base == "en" else UNKNOWN_ZH)]
    elif skill == "parity":
        def make():
            x, y = rng.randint(0, 99), rng.randint(0, 99)
            return ("big", x, y), (x, y)

        x, y = _until(rng, split, make)
        if x == y:
            y += 1
        if base == "en":
            q, a = rng.choice([f"Which is bigger, {x} or {y}?", f"Is {x} bigger than {y}?"]), None
            a = f"{max(x, y)} is bigger." if q.startswith("W") else (f"Yes, {x} is bigger." if x > y else f"No, {y} is bigger.")
        else:
            q, a = f"{x}和{y}哪个大?", f"{max(x, y)}大。"
        messages = [("user", q), ("assistant", a)]
    else:  # several turns of different skills
        messages = []
        for _ in range(rng.randint(2, 3)):
            s = sample(rng, split, "en" if base == "en" else "zh", rng.choice(["talk", "arith", "repeat", "count", "talk"]))
            messages += s["messages"]
    if skill != "greet":
        messages = dressed(rng, messages, base, lang == "zht")
    return {"skill": skill, "lang": lang, "messages": messages, "think": think}


if __name__ == "__main__":
    r = random.Random(0)
    for _ in range(30):
        print(sample(r))
