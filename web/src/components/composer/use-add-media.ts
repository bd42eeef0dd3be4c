/** Adds files to the message being written, large images made smaller, saying why when one cannot be added. */
import { useCallback } from 'react'
import { useTranslation } from 'react-i18next'
import { mediaReason, rawByteLimit } from '../../api/rules.ts'
import { mediaFromFile, MediaError } from '../../media/probe.ts'
import { shrinkMedia } from '../../media/shrink.ts'
import type { Media } from '../../state/conversation.ts'
import { attachReasonNow, currentModel, useStore } from '../../state/store.ts'
import { notify } from '../ui/toasts.tsx'
import { useReason } from '../use-reason.ts'

export interface AddMedia {
  addFiles: (files: Iterable<File>) => Promise<void>
  addMedia: (media: Media) => boolean
}

/** An image over the API's limit as a smaller copy; anything else, and what the browser cannot redraw, unchanged. */
async function fitted(media: Media): Promise<Media> {
  const model = currentModel(useStore.getState())
  if (model === undefined || media.kind !== 'image' || mediaReason(model, media)?.key !== 'tooManyBytes') return media
  return shrinkMedia(media, rawByteLimit(model)).catch(() => media)
}

export function useAddMedia(): AddMedia {
  const { t } = useTranslation()
  const say = useReason()
  const addMedia = useCallback(
    (media: Media): boolean => {
      const reason = attachReasonNow(useStore.getState(), media.kind)
      if (reason !== undefined) {
        notify(say(reason) ?? '', 'problem')
        return false
      }
      useStore.getState().attach(media)
      return true
    },
    [say],
  )
  const addFiles = useCallback(
    async (files: Iterable<File>): Promise<void> => {
      for (const file of files) {
        try {
          // One after the other: each is checked against those before it.
          // oxlint-disable-next-line no-await-in-loop
          if (!addMedia(await fitted(await mediaFromFile(file)))) break
        } catch (error) {
          if (!(error instanceof MediaError)) throw error
          notify(t(`problem.${error.reason}`, { name: file.name }), 'problem')
        }
      }
    },
    [addMedia, t],
  )
  return { addFiles, addMedia }
}
