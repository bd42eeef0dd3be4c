/** Special ids of the fake vocabulary. */
export const fakeIds = {
  imStart: 256,
  imEnd: 257,
  user: 258,
  assistant: 259,
  system: 260,
  thinkOpen: 261,
  thinkClose: 262,
  ttsBegin: 263,
  ttsEnd: 264,
  ttsPad: 265,
  media: 266,
} as const

/** Width of the thinker. */
export const fakeHidden = 4
