/** Adds files to the message being written, saying why when one cannot be added. */
import { useCallback } from 'react'
import { useTranslation } from 'react-i18next'
import { mediaFromFile, MediaError } from '../../media/probe.ts'
import type { Media } from '../../state/conversation.ts'
import { attachReasonNow, useStore } from '../../state/store.ts'
import { notify } from '../ui/toasts.tsx'
import { useReason } from '../use-reason.ts'

export interface AddMedia {
  addFiles: (files: Iterable<File>) => Promise<void>
  addMedia: (media: Media) => boolean
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
          if (!addMedia(await mediaFromFile(file))) break
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
