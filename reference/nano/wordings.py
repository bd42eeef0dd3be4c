"""Wordings of questions about images, audio and videos: {key: (English, Chinese)}. `newcomers.py` has others."""

import random

ASK = {
    "picture": (["What is in the picture?", "What is this?", "What do you see?", "Describe the picture.", "What is in this image?", "Describe this image.", "What can you see?", "", "What's in this picture?", "What's this?", "Tell me what you see.", "What does the picture show?",
                 "Can you describe this picture?", "What is shown here?", "Please describe the image.", "What can you see in the picture?", "What is it?", "Look at this picture.", "What do you see in this image?", "What's in the image?", "Tell me about this picture.", "What do you think this is?", "Describe it."],
                ["图片里有什么?", "这是什么?", "你看到了什么?", "描述一下这张图片。", "图中描绘的是什么景象?", "图里有什么", "看看这张图", "这张图片里是什么?", "你能看到什么?", "请描述这张图。", "图上是什么?", "说说图里的内容", "这张图里有什么?", "图片上有什么?", "看图说话", "你看见什么了?", "这是什么图?", "告诉我你看到了什么"]),
    "colour": (["What colour is it?", "What color is it?", "Which colour?", "What is the colour?", "What's the color?", "Which color is it?", "Tell me the colour.", "What colour does it have?", "Name the colour.", "What color is the shape?", "What colour is this?"], ["什么颜色?", "它是什么颜色?", "是什么颜色的", "颜色是什么?", "这是什么颜色?", "它的颜色是什么?", "什么颜色的?"]),
    "colours": (["What colour are they?", "What color are they?", "Which colour are they?", "What's their colour?"], ["什么颜色?", "它们是什么颜色?", "是什么颜色的", "颜色是什么?"]),
    "shape": (["What shape is it?", "Which shape?", "What shape is this?", "What is the shape?", "What shape do you see?", "Name the shape.", "Which shape is it?", "What kind of shape is it?"], ["什么形状?", "它是什么形状?", "是什么形状的", "这是什么形状?", "形状是什么?", "是哪种形状?"]),
    "shapes": (["What shapes are they?", "Which shapes are they?", "What shape are they?"], ["什么形状?", "它们是什么形状?", "是什么形状的", "形状是什么?"]),
    "where": (["Where is it?", "Where is the {x}?", "Where in the picture is it?", "In which part of the picture is it?", "Where is it placed?", "Where do you see it?", "What is its position?"], ["在哪里?", "它在哪里?", "{x}在哪里?", "在什么位置?", "它在图片的哪里?", "{x}在什么地方?"]),
    "many": (["How many are there?", "How many {x} are there?", "Count them.", "How many do you see?", "How many {x} do you see?", "Count the {x}.", "How many {x} are in the picture?", "How many {x} can you see?", "Can you count them?", "What is the number of {x}?", "How many shapes are there?"], ["有几个?", "有几个{x}?", "数一数有几个", "图里有几个{x}?", "一共有几个?", "数一下{x}", "有多少个?", "有多少个{x}?", "几个{x}?"]),
    "number": (["What number is it?", "What number is written?", "Read the number.", "Which number is this?", "What number do you see?", "What is the number?", "What number is in the picture?", "Which number is written here?", "What does it say?"], ["是什么数字?", "写着什么数字?", "读一下数字", "这是几?", "图里的数字是多少?", "上面写着什么数字?", "数字是什么?"]),
    "word": (["What word is written?", "Read the word.", "What does it say?", "What is written here?", "Which word is it?", "What word do you see?", "Read the text.", "What does the text say?", "What is the word?", "Read it."], ["写着什么?", "读一下单词", "是什么单词?", "上面写了什么?", "图里写着什么字?", "读出来", "写的是什么?"]),
    "left": (["What is on the left?", "What's on the left?", "What is on the left side?", "What do you see on the left?"], ["左边是什么?", "左边有什么?", "左侧是什么?"]),
    "right": (["What is on the right?", "What's on the right?", "What is on the right side?", "What do you see on the right?"], ["右边是什么?", "右边有什么?", "右侧是什么?"]),
    "top": (["What is at the top?", "What's on top?", "What do you see at the top?"], ["上面是什么?", "上面有什么?", "上方是什么?"]),
    "bottom": (["What is at the bottom?", "What's at the bottom?", "What do you see at the bottom?"], ["下面是什么?", "下面有什么?", "下方是什么?"]),
    "colour of": (["What colour is the {x}?", "What color is the {x}?", "Which colour does the {x} have?", "Tell me the colour of the {x}.", "What is the color of the {x}?", "And the {x}, what colour is it?"], ["{x}是什么颜色?", "{x}是什么颜色的?", "{x}的颜色是什么?"]),
    "is there": (["Is there a {x}?", "Is there a {x} in the picture?", "Do you see a {x}?", "Can you see a {x}?"], ["有{x}吗?", "图里有{x}吗?", "你看到{x}了吗?"]),
    "which shapes": (["Which shapes do you see?", "What shapes are there?", "What shapes are in the picture?", "Name the shapes.", "Which shapes are in the picture?"], ["有哪些形状?", "图里有什么形状?", "你看到哪些形状?"]),
    "beeps": (["What do you hear?", "What is this sound?", "Describe the sound.", "How many beeps are there?", "How many beeps do you hear?", "Count the beeps.", "What can you hear?", "What sound is this?", "How many beeps were there?", "How many times does it beep?", "How many tones do you hear?", "Tell me what you hear.", "What's this sound?", "How many sounds are there?", "What is in the audio?", "Describe what you hear.", "Listen. How many beeps?"],
              ["你听到了什么?", "这是什么声音?", "描述一下声音。", "有几声?", "你听到几声?", "数一数有几声", "一共响了几声?", "响了几次?", "听到什么了?", "音频里有什么?", "这段声音是什么?", "有几个声音?", "有多少声?"]),
    "beeps again": (["How many were there?", "How many was that?", "How many beeps were in the sound?", "And how many beeps was it?", "How many beeps did you hear?"], ["一共几声?", "有多少声?", "刚才响了几声?", "刚才有几声?"]),
    "level": (["Was it high or low?", "How high was it?", "Was the sound high or low?", "Were they high or low?", "Is it a high or a low tone?"], ["声音高还是低?", "是高音还是低音?", "音高不高?", "是高还是低?"]),
    "said": (["What did I say?", "Transcribe the audio.", "Write down what you hear.", "What is said in the audio?", "What do you hear?", "What did I just say?", "Transcribe this.", "Write what I said.", "What am I saying?", "What are the words?", "Please transcribe the recording.", "What is being said?", "Repeat what I said.", "What does the person say?"],
             ["我说了什么?", "请转写音频。", "写下你听到的话。", "音频里说了什么?", "你听到了什么?", "我刚才说了什么?", "转写一下", "把我说的话写下来", "这段话说了什么?", "请写出音频内容", "录音里说了什么?", "重复我说的话"]),
    "video": (["What happens in the video?", "Describe the video.", "What do you see?", "What happens?", "What is in the video?", "What's happening?", "What can you see in the video?", "Tell me what happens.", "Please describe this video.", "What's in the video?", "What is going on?", "What does the video show?"], ["视频里发生了什么?", "描述一下视频。", "你看到了什么?", "发生了什么?", "描述这个视频的具体过程", "视频里有什么?", "视频的内容是什么?", "说说这个视频", "看看这个视频"]),
    "move": (["What moves where?", "Which way does it move?", "Where does it go?", "In which direction does it move?", "Where does it move?", "Where is it going?", "What direction does it move in?", "How does it move?", "Which way does the {x} go?", "Where does the {x} move?", "Does it go left or right?", "What is moving?", "Which direction is it going?"], ["什么在移动?", "它往哪里移动?", "它向哪个方向移动?", "往哪边走?", "{x}往哪里去了?", "它怎么移动?", "朝哪个方向?", "它去哪里了?", "{x}向哪边移动?"]),
    "change": (["What colour does it become?", "How does the colour change?", "What changes?", "Which colour does it change to?", "What colour is it at the end?", "What color does it turn into?", "What happens to the colour?"], ["变成什么颜色?", "颜色怎么变了?", "什么变了?", "最后是什么颜色?", "它变成了什么颜色?"]),
    "appear": (["How many times does it appear?", "Count how often it appears.", "How often does it appear?", "How often does the {x} appear?", "How many times do you see the {x}?", "How many times does the {x} appear?", "How often is it shown?"], ["出现了几次?", "数一数出现了几次", "{x}出现了几次?", "一共出现几次?", "出现了多少次?"]),
}


MORE = {  # added to the wordings of the same key
    "picture": (["What does this show?", "What is this a picture of?", "What am I looking at?", "Name what you see.", "What is on the picture?", "What's on this image?", "Which things do you see?", "What did I draw?", "What is visible here?", "Identify this.", "What have I sent you?", "Do you know what this is?", "Can you see what it is?", "What do we have here?"],
                ["这是啥?", "图片上是什么东西?", "图里画的是什么?", "照片里是什么?", "你看这是什么?", "认一下这是什么", "这个是什么?", "画的是啥?", "图片中有什么?", "照片上有什么东西?", "这里有什么?", "看到了什么东西?"]),
    "many": (["How many {x} does it show?", "How many {x} did you find?", "What's the count of {x}?", "Tell me how many {x} there are.", "How many of them are there?", "How many {x} did I draw?", "What number of {x} do you see?"], ["{x}有几个?", "图中有多少{x}?", "数数看有几个{x}", "你看到几个{x}?", "画了几个{x}?"]),
    "colour of": (["The {x} is what colour?", "Which colour is the {x}?", "What colour did I give the {x}?", "{x}: which colour?"], ["图里的{x}是什么颜色?", "{x}什么颜色?", "{x}是哪种颜色?", "那{x}呢,什么颜色?"]),
    "which shapes": (["Which shapes can you see, and which colours?", "List the shapes.", "Name the shapes and their colours.", "What shapes do you see and what colour are they?", "Tell me the shapes with their colours.", "Which coloured shapes are there?"], ["有什么形状,分别是什么颜色?", "说出形状和颜色", "都有哪些形状和颜色?"]),
    "number": (["Can you see the number?", "What is this number?", "Which digits are these?", "Tell me the number.", "Read the digits.", "Which number do you see here?", "What number did I write?"], ["这个数字是几?", "这是多少?", "是什么数?", "图里写的是几?", "看看是什么数字"]),
    "word": (["What do you read?", "What did I write?", "Which word can you see?", "What is the text?", "Tell me what is written.", "Read what it says.", "Please read the word."], ["图上写的是什么?", "这是什么字?", "上面的单词是什么?", "写了什么单词?", "读读看"]),
    "beeps": (["How many times did you hear it?", "How often do you hear a beep?", "Tell me how many beeps there are.", "How many tones were played?", "What kind of sound is it?", "What sound do you hear?", "Number of beeps?", "How many signals are there?", "What was that sound?", "How often does it sound?", "Count how often it beeps."], ["响了几下?", "听到几下?", "有几下声音?", "这是几声?", "数数有几声", "能听到多少声?", "是什么声音?", "哔了几声?"]),
    "said": (["What were my words?", "Write down my words.", "What did you hear me say?", "Which words did I speak?", "Type what I said.", "Put into text what I said.", "Give me the text of this recording.", "Tell me what I said."], ["我说的是什么?", "我讲了什么?", "写出我说的话", "这句话说的是什么?", "你听到我说什么?", "刚才那句话是什么?", "把录音变成文字"]),
    "video": (["What do you see happening?", "What is this video about?", "What goes on in it?", "Tell me about the video.", "What's this video?", "Explain what happens."], ["这个视频是什么?", "视频里在做什么?", "讲讲视频里的事", "片子里有什么?", "里面发生了什么?"]),
    "move": (["Where is the {x} going?", "To which side does it move?", "Does it go up or down?", "In what direction does the {x} go?", "Which way is the {x} moving?", "Where to does it move?", "What way does it go?"], ["{x}朝哪里走?", "它往哪走?", "往哪个方向动?", "{x}去哪边了?", "移动的方向是什么?"]),
    "change": (["Does the colour change?", "What is the new colour?", "From which colour to which does it change?", "What happens with the {x}?", "What happens to the {x}'s colour?"], ["颜色有什么变化?", "新的颜色是什么?", "它的颜色变成了什么?"]),
    "appear": (["How many times is the {x} shown?", "How many times do you see it?", "How often can you see the {x}?", "Count the appearances.", "How often does it come up?"], ["{x}出现了多少次?", "看到几次?", "{x}闪了几次?", "数一下它出现了几次"]),
}
for _key, (_en, _zh) in MORE.items():
    ASK[_key][0].extend(_en)
    ASK[_key][1].extend(_zh)
BEFORE = (["Tell me, ", "Please tell me: ", "Now, ", "Okay, ", "Hey, ", "So, ", "nano, ", "Hi! ", "Question: ", "And here: ", "One more: ", "I wonder, ", "Say, "], ["请问", "请问,", "告诉我,", "你说", "那么,", "来,", "帮我看看,", "nano,", "你好,", "问一下,"])
AFTER = ([", please?", " please", " now?", ", nano?", ", do you know?", " Thanks.", " Thank you!", " then?"], ["呢?", "呢", "呀?", "啊?", ",谢谢", ",说一下"])


def ask(rng: random.Random, key, en, **names):
    """A question in one of its wordings; sometimes with words around it, without capitals or the final mark, as people type."""
    q = rng.choice(ASK[key][0 if en else 1]).format(**names)
    if q and rng.random() < 0.2:
        before = rng.choice(BEFORE[not en])
        q = before + (q[0].lower() + q[1:] if en and before[-2] != "!" else q)
    if q and rng.random() < 0.15:
        after = rng.choice(AFTER[not en])
        q = q + after if after.startswith(" Th") else q.rstrip("?.") + after
    if en and q:
        if rng.random() < 0.1:
            q = q[0].lower() + q[1:]
        if rng.random() < 0.1:
            q = q.rstrip("?.")
    return q if en or rng.random() > 0.2 else q.rstrip("?。")
