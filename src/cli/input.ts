/** The whole standard input as text. */
export async function readStandardInput(): Promise<string> {
  process.stdin.setEncoding('utf8')
  let text = ''
  for await (const piece of process.stdin) text += String(piece)
  return text
}
