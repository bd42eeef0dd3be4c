/** Model names that the audio endpoints accept, for the error that lists them. */
import { type ApiError, didYouMean, errors } from '../../protocol/index.ts'
import type { BoundModel } from '../engine-host.ts'
import type { Services } from '../services.ts'

/**
 * 404 for a name that an audio endpoint does not know. For `speech` it lists models with audio output; otherwise those
 * with audio input, and realtime models.
 */
export function audioModelUnknown(services: Services, name: string, task: 'speech' | 'transcript'): ApiError {
  const { catalogue, host } = services
  const able = ({ model }: BoundModel): boolean =>
    task === 'speech' ? model.output.includes('audio') : model.input.includes('audio')
  const answers = (id: string): boolean => {
    const bound = host.resolve(id, false)
    return bound !== undefined && able(bound)
  }
  const chat = catalogue.models.filter(({ id, voices }) => answers(id) && (task === 'transcript' || voices.length > 0))
  const realtime = task === 'speech' ? [] : catalogue.realtime.filter((model) => answers(model.chat.id))
  const names = [...chat, ...realtime].map(({ id }) => id)
  const bound = catalogue.models.flatMap(({ id }) => host.resolve(id, false) ?? [])
  const checkpoints = new Set(bound.filter(able).map((one) => host.nameOf(one) ?? one.model.id))
  const shown = name.slice(0, 200)
  const known = [...names, ...checkpoints]
  const here = checkpoints.size === 0 ? '' : ` Checkpoints loaded here: ${[...checkpoints].join(', ')}.`
  const list =
    names.length === 0 ? ' No loaded checkpoint can do it.' : ` Models of this endpoint: ${names.join(', ')}.`
  return errors.listedModelUnknown(shown, `${didYouMean(shown, known)}${list}${here}`)
}
