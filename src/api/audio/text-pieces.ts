/** Splits text for speech at natural pauses. Pure: the pieces join to the text, white space at the splits aside. */

/** Most letters per piece: about fifteen seconds. A Han character counts as three. */
const MOST = 220

export function textPieces(text: string): string[] {
  const pieces: string[] = []
  let piece = ''
  for (const sentence of sentencesOf(text)) {
    for (const part of weightOf(sentence) > MOST ? shorter(sentence) : [sentence]) {
      if (piece !== '' && weightOf(piece) + weightOf(part) > MOST) {
        pieces.push(piece)
        piece = ''
      }
      piece += part
    }
  }
  pieces.push(piece)
  return pieces.map((each) => each.trim()).filter((each) => each !== '')
}

function sentencesOf(text: string): string[] {
  const segmenter = new Intl.Segmenter(undefined, { granularity: 'sentence' })
  return [...segmenter.segment(text)].map(({ segment }) => segment)
}

/** Splits a long sentence at its commas, then at its words, then anywhere. */
function shorter(sentence: string): string[] {
  const clauses = sentence.match(/[^,;:，；：、]+[,;:，；：、]*\s*/gu) ?? [sentence]
  return clauses.flatMap((clause) => {
    if (weightOf(clause) <= MOST) return [clause]
    const segmenter = new Intl.Segmenter(undefined, { granularity: 'word' })
    return [...segmenter.segment(clause)].flatMap(({ segment }) =>
      weightOf(segment) <= MOST ? [segment] : (segment.match(new RegExp(`.{1,${MOST / 4}}`, 'gsu')) ?? []),
    )
  })
}

function weightOf(text: string): number {
  let weight = 0
  for (const character of text) weight += /\p{Script=Han}/u.test(character) ? 3 : 1
  return weight
}
