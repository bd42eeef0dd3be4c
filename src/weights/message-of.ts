/** What a caught value says, for messages. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
