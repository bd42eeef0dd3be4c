/** The API model under which a loaded checkpoint is served when it is named itself. */
import type { CatalogueModel } from '../catalogue/index.ts'
import type { Services } from './services.ts'

/** The API model of a loaded checkpoint: the one with the most voices, so that all of them have names. */
export function modelOfCheckpoint({ catalogue, host }: Services, name: string): CatalogueModel | undefined {
  const answers = catalogue.models.filter(({ id }) => {
    const bound = host.resolve(id, false)
    return bound !== undefined && (bound.model.id === name || host.nameOf(bound) === name)
  })
  return answers.toSorted((a, b) => b.voices.length - a.voices.length)[0]
}
