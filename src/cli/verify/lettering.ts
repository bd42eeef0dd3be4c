/**
 * Draws digits and lower-case letters as SVG paths, so that images are the same on every machine. An SVG `text`
 * element would depend on the installed fonts.
 *
 * In: a text of `0-9`, `a-z` and spaces. Out: an SVG document.
 */

interface Glyph {
  /** Without the width of the stroke. */
  readonly width: number
  /** An SVG path. Digits and ascenders reach y = 0, lower-case letters y = 33; the baseline is y = 100. */
  readonly path: string
}

const glyph = (width: number, path: string): Glyph => ({ width, path })

const BOWL_RIGHT = 'M0 67C0 47 11 33 27 33S53 47 53 67S43 101 27 101S0 87 0 67'
const BOWL_LEFT = 'M53 67C53 47 42 33 26 33S0 47 0 67S10 101 26 101S53 87 53 67'
const ARCH = 'M0 62C0 44 11 33 25 33C40 33 48 42 48 58V100'

const GLYPHS: Readonly<Record<string, Glyph>> = {
  '0': glyph(60, 'M30 0C47 0 60 20 60 50S47 100 30 100S0 80 0 50S13 0 30 0Z'),
  '1': glyph(34, 'M6 22L32 2V100'),
  '2': glyph(60, 'M2 26C2 10 14 0 30 0S58 10 58 27C58 44 44 56 2 100H60'),
  '3': glyph(
    60,
    'M4 14C10 4 20 0 30 0C46 0 56 10 56 25C56 40 44 48 26 48C46 48 60 57 60 74C60 90 47 100 29 100C17 100 6 95 0 85',
  ),
  '4': glyph(62, 'M46 100V0L0 70H62'),
  '5': glyph(60, 'M54 0H12L8 46C14 40 22 37 30 37C48 37 60 50 60 68C60 87 47 100 29 100C17 100 7 95 1 85'),
  '6': glyph(
    60,
    'M52 10C46 3 40 0 33 0C12 0 1 22 1 56C1 85 12 100 31 100C48 100 60 87 60 69C60 51 48 39 32 39C16 39 4 50 1 62',
  ),
  '7': glyph(58, 'M0 0H58L20 100'),
  '8': glyph(
    60,
    'M30 47C14 47 4 38 4 24C4 10 15 0 30 0S56 10 56 24C56 38 46 47 30 47C12 47 0 58 0 74C0 90 12 100 30 100S60 90 60 74C60 58 48 47 30 47Z',
  ),
  '9': glyph(
    60,
    'M8 90C14 97 20 100 27 100C48 100 59 78 59 44C59 15 48 0 29 0C12 0 0 13 0 31C0 49 12 61 28 61C44 61 56 50 59 38',
  ),
  a: glyph(
    50,
    'M5 46C11 37 18 33 27 33C42 33 50 41 50 56V100M50 62H26C10 62 0 69 0 81C0 93 9 101 22 101C36 101 50 92 50 76',
  ),
  b: glyph(53, `M0 0V100${BOWL_RIGHT}`),
  c: glyph(48, 'M48 44C43 37 36 33 28 33C11 33 0 47 0 67S11 101 28 101C36 101 43 97 48 90'),
  d: glyph(53, `M53 0V100${BOWL_LEFT}`),
  e: glyph(53, 'M1 65H53C53 45 43 33 27 33C11 33 0 47 0 67S11 101 29 101C38 101 45 98 50 91'),
  f: glyph(36, 'M36 3C33 1 30 0 26 0C16 0 11 7 11 20V100M0 35H34'),
  g: glyph(53, `${BOWL_LEFT}M53 33V105C53 121 43 130 27 130C17 130 9 127 3 121`),
  h: glyph(48, `M0 0V100${ARCH}`),
  i: glyph(0, 'M0 33V100M0 2V17'),
  j: glyph(14, 'M14 33V110C14 124 10 130 0 129M14 2V17'),
  k: glyph(48, 'M0 0V100M46 34L0 74M18 60L48 100'),
  l: glyph(0, 'M0 0V100'),
  m: glyph(80, 'M0 33V100M0 58C0 43 9 33 21 33C33 33 40 41 40 55V100M40 58C40 43 49 33 61 33C73 33 80 41 80 55V100'),
  n: glyph(48, `M0 33V100${ARCH}`),
  o: glyph(54, 'M27 33C43 33 54 47 54 67S43 101 27 101S0 87 0 67S11 33 27 33Z'),
  p: glyph(53, `M0 33V130${BOWL_RIGHT}`),
  q: glyph(53, `M53 33V130${BOWL_LEFT}`),
  r: glyph(33, 'M0 33V100M0 64C0 45 10 33 26 33C29 33 31 33 33 34'),
  s: glyph(
    46,
    'M44 43C39 36 32 33 23 33C10 33 2 40 2 50C2 62 13 64 24 66C36 68 46 71 46 82C46 94 36 101 23 101C13 101 5 97 0 90',
  ),
  t: glyph(36, 'M11 10V82C11 95 17 101 27 101C30 101 33 100 36 99M0 35H34'),
  u: glyph(48, 'M0 33V76C0 92 8 101 22 101C37 101 48 90 48 72M48 33V100'),
  v: glyph(50, 'M0 33L25 100L50 33'),
  w: glyph(74, 'M0 33L18 100L37 36L56 100L74 33'),
  x: glyph(46, 'M0 33L46 100M46 33L0 100'),
  y: glyph(52, 'M0 33L26 98M52 33L22 112C18 124 12 130 2 129'),
  z: glyph(48, 'M2 33H46L0 100H48'),
  ' ': glyph(26, ''),
}

const STROKE = 15
/** Distance between neighbouring glyphs. */
const GAP = 11
const DESCENT = 30

export interface Lettering {
  readonly text: string
  /** Pixels. */
  readonly width: number
  readonly height: number
  /** SVG colours. */
  readonly ink: string
  readonly paper: string
}

/** Draws the text in the middle of the image, as large as fits with a margin. @throws Error for other characters */
export function lettering({ text, width, height, ink, paper }: Lettering): string {
  let x = STROKE / 2
  const paths: string[] = []
  for (const character of text) {
    const drawn = GLYPHS[character]
    if (drawn === undefined) throw new Error(`there is no glyph for ${JSON.stringify(character)}`)
    paths.push(`<path transform="translate(${x} 0)" d="${drawn.path}"/>`)
    x += drawn.width + STROKE + GAP
  }
  const textWidth = x - STROKE / 2 - GAP
  const textHeight = 100 + STROKE + (/[gjpqy]/.test(text) ? DESCENT : 0)
  const scale = Math.min((0.84 * width) / textWidth, (0.5 * height) / (100 + STROKE))
  const left = (width - scale * textWidth) / 2
  const top = (height - scale * textHeight) / 2 + (scale * STROKE) / 2
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="${width}" height="${height}" fill="${paper}"/>` +
    `<g transform="translate(${left} ${top}) scale(${scale})" fill="none" stroke="${ink}" stroke-width="${STROKE}" ` +
    `stroke-linecap="butt" stroke-linejoin="round">${paths.join('')}</g></svg>`
  )
}
