"""Names used by the image, audio and video skills, in English and Chinese."""

COLOURS = {"red": ("红色", (220, 30, 30)), "green": ("绿色", (30, 160, 50)), "blue": ("蓝色", (40, 80, 220)), "yellow": ("黄色", (245, 215, 30)),
           "orange": ("橙色", (245, 140, 20)), "purple": ("紫色", (140, 50, 170)), "pink": ("粉色", (250, 140, 190)), "brown": ("棕色", (130, 80, 40)),
           "black": ("黑色", (15, 15, 15)), "white": ("白色", (245, 245, 245)), "gray": ("灰色", (130, 130, 130)), "cyan": ("青色", (50, 205, 215))}
SHAPES = {"circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "星形", "heart": "心形", "diamond": "菱形", "cross": "十字", "ring": "圆环"}
POSITIONS = {"top left": "左上角", "top right": "右上角", "bottom left": "左下角", "bottom right": "右下角", "center": "中间"}
MOVES = {"to the right": "向右", "to the left": "向左", "up": "向上", "down": "向下"}
COUNTS = {1: ("one", "一"), 2: ("two", "两"), 3: ("three", "三"), 4: ("four", "四"), 5: ("five", "五"), 6: ("six", "六")}
EMOJI = {
    "🐱": ("cat", "猫"), "🐶": ("dog", "狗"), "🐭": ("mouse", "老鼠"), "🐰": ("rabbit", "兔子"), "🦊": ("fox", "狐狸"), "🐻": ("bear", "熊"),
    "🐼": ("panda", "熊猫"), "🐯": ("tiger", "老虎"), "🦁": ("lion", "狮子"), "🐮": ("cow", "牛"), "🐷": ("pig", "猪"), "🐸": ("frog", "青蛙"),
    "🐵": ("monkey", "猴子"), "🐔": ("chicken", "鸡"), "🐧": ("penguin", "企鹅"), "🐦": ("bird", "鸟"), "🦆": ("duck", "鸭子"), "🦉": ("owl", "猫头鹰"),
    "🐴": ("horse", "马"), "🐝": ("bee", "蜜蜂"), "🦋": ("butterfly", "蝴蝶"), "🐌": ("snail", "蜗牛"), "🐢": ("turtle", "乌龟"), "🐍": ("snake", "蛇"),
    "🐙": ("octopus", "章鱼"), "🐟": ("fish", "鱼"), "🐬": ("dolphin", "海豚"), "🐳": ("whale", "鲸鱼"), "🐘": ("elephant", "大象"), "🍎": ("apple", "苹果"),
    "🍌": ("banana", "香蕉"), "🍇": ("grapes", "葡萄"), "🍓": ("strawberry", "草莓"), "🍉": ("watermelon", "西瓜"), "🍊": ("tangerine", "橘子"),
    "🍋": ("lemon", "柠檬"), "🥕": ("carrot", "胡萝卜"), "🌽": ("corn", "玉米"), "🍞": ("bread", "面包"), "🍕": ("pizza", "披萨"), "🍔": ("hamburger", "汉堡"),
    "🍦": ("ice cream", "冰淇淋"), "🎂": ("cake", "蛋糕"), "🚗": ("car", "汽车"), "🚌": ("bus", "公共汽车"), "🚲": ("bicycle", "自行车"), "🚀": ("rocket", "火箭"),
    "✈️": ("airplane", "飞机"), "⛵": ("boat", "船"), "🏠": ("house", "房子"), "🌳": ("tree", "树"), "🌹": ("rose", "玫瑰"), "🌻": ("sunflower", "向日葵"),
    "🌙": ("moon", "月亮"), "⭐": ("star", "星星"), "☀️": ("sun", "太阳"), "🌈": ("rainbow", "彩虹"), "☂️": ("umbrella", "雨伞"), "⚽": ("football", "足球"),
    "🏀": ("basketball", "篮球"), "🎸": ("guitar", "吉他"), "🔔": ("bell", "铃铛"), "📱": ("phone", "手机"), "💻": ("computer", "电脑"), "🔑": ("key", "钥匙"),
    "⏰": ("clock", "闹钟"), "📚": ("books", "书"), "👑": ("crown", "皇冠"), "🎁": ("gift", "礼物"), "🎈": ("balloon", "气球"), "👟": ("shoe", "鞋子"), "👀": ("eyes", "眼睛"),
    "🙂": ("smiley", "笑脸"), "🙁": ("sad face", "哭脸"), "😀": ("smiley", "笑脸"), "😃": ("smiley", "笑脸"), "😊": ("smiley", "笑脸"), "😁": ("smiley", "笑脸"), "😄": ("smiley", "笑脸"), "😢": ("sad face", "哭脸"),
    "😭": ("sad face", "哭脸"), "😡": ("angry face", "生气的脸"), "👍": ("thumbs up", "大拇指"), "🌸": ("flower", "花"), "🍄": ("mushroom", "蘑菇"), "🔥": ("fire", "火"), "☕": ("cup", "杯子"), "🚂": ("train", "火车"),
    "🐨": ("koala", "考拉"), "🐑": ("sheep", "绵羊"), "🍐": ("pear", "梨"), "🍍": ("pineapple", "菠萝"), "🥚": ("egg", "鸡蛋"), "🎩": ("hat", "帽子"), "🤖": ("robot", "机器人"), "⛄": ("snowman", "雪人"),
    "🎃": ("pumpkin", "南瓜"), "👻": ("ghost", "鬼"), "📷": ("camera", "照相机"), "💡": ("light bulb", "灯泡"),
}
FIRST_EMOJI = 74  # the emoji of the first grammar
STRANGE_EMOJI = "🧲 🪓 🧬 🔬 🩺 🧯 🪜 🧵 🪡 🧶 🛒 🧊 🪐 🧭 ⚓ 🎯 🎳 🪀 🎰 🧩 🪄 🎻 🪘 📯 📠 🔋 🔌 💾 🖨️ 🧮 📿 ⚗️ 🪒 🧴 🧷 🚦 🗿 🏭 🎪 🛗".split()
TONES = {"low": "低", "middle": "中等", "high": "高"}
SENTENCES = """The picture is plain . I can't tell what it is. I see mostly brown. 我认不出来,主要是棕色。 这张图片里有什么 它是什么颜色 形状 图里有几个 在哪里 写着 数字 单词 念 读
 What colour is it? What shape is it? What is in the picture? How many are there? Where is it? Describe the picture. What number is written? What word is written? It says
 It moves. It changes from to. I hear beeps. I heard a high beep. There are three beeps. What did I say? Please write down what you hear. 听到 几声 提示音 声音 写下 你听到了什么 我说了什么 移动 变成 先 后来 两张 图片 一样 不同 第一张 第二张 the same different first second image both are
 silence 安静 noise 噪声 music 音乐 rising falling 上升 下降 tone 音调 很响 loud quiet 谁 在 说话 turn on the light turn off 打开 关掉 灯 播放 停止 play stop music door window 门 窗户""".split()
WORDS = (list(COLOURS) + [v[0] for v in COLOURS.values()] + list(SHAPES) + [s + "s" for s in SHAPES] + list(SHAPES.values()) + list(POSITIONS) + list(POSITIONS.values())
         + [x for v in EMOJI.values() for x in v] + [x for v in COUNTS.values() for x in v] + SENTENCES + list(TONES) + list(TONES.values()) + list(MOVES) + list(MOVES.values()))
