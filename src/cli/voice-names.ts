/** Finds a voice by its typed name. */
import { createCatalogue } from '../catalogue/index.ts'
import { type ApiConnection, readResponse } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'
import { listText } from './output.ts'

/** The voice's name in its own spelling; case is ignored. @throws CommandError that names the model's voices */
export async function findVoice(api: ApiConnection, model: string, typed: string): Promise<string> {
  const names = await voicesOf(api, model)
  // Neither the server nor the catalogue lists the model's voices, so the name cannot be checked.
  if (names === undefined) return typed
  const found = names.find((name) => name.toLowerCase() === typed.toLowerCase())
  if (found !== undefined) return found
  throw new CommandError(`${model} has no voice '${typed}'. Voices: ${listText(names, 12)}`, EXIT.usage)
}

/** The server's list of voices, or the catalogue's if the server has none, like the hosted service. */
async function voicesOf(api: ApiConnection, model: string): Promise<readonly string[] | undefined> {
  try {
    const response = await api.fetch(`/voices?model=${encodeURIComponent(model)}`)
    const { voiceListSchema } = await import('../protocol/index.ts')
    const { data } = await readResponse(response, voiceListSchema)
    return data.flatMap(({ voices }) => voices.map(({ name }) => name))
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode !== EXIT.refused) throw error
    return (createCatalogue('intl').find(model) ?? createCatalogue('cn').find(model))?.voices
  }
}
