/** A voice by its typed name. */
import { createCatalogue } from '../catalogue/index.ts'
import { voiceListSchema } from '../protocol/index.ts'
import { type ApiConnection, readAnswer } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'
import { listText } from './output.ts'

/** The voice's own spelling, whatever the typed case. @throws CommandError naming voices that the model has */
export async function findVoice(api: ApiConnection, model: string, typed: string): Promise<string> {
  const names = await voicesOf(api, model)
  // A model that only the server knows has voices that only the server knows.
  if (names === undefined) return typed
  const found = names.find((name) => name.toLowerCase() === typed.toLowerCase())
  if (found !== undefined) return found
  throw new CommandError(`${model} has no voice '${typed}'. Voices: ${listText(names, 12)}`, EXIT.usage)
}

/** As the server lists them; the catalogue's where the server has no such list, as the hosted service. */
async function voicesOf(api: ApiConnection, model: string): Promise<readonly string[] | undefined> {
  try {
    const response = await api.fetch(`/voices?model=${encodeURIComponent(model)}`)
    const { data } = await readAnswer(response, voiceListSchema)
    return data.flatMap(({ voices }) => voices.map(({ name }) => name))
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode !== EXIT.refused) throw error
    return (createCatalogue('intl').find(model) ?? createCatalogue('cn').find(model))?.voices
  }
}
