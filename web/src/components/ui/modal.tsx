/** A dialog in the middle of the page, or a sheet at its side. Closes with Escape, the button or a click outside. */
import { Dialog } from '@base-ui/react/dialog'
import { X } from 'lucide-react'
import type { ReactElement, ReactNode } from 'react'
import { useTranslation } from 'react-i18next'

interface ModalProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: string
  description?: string
  side?: 'left' | 'right'
  wide?: boolean
  children: ReactNode
}

export function Modal({ open, onOpenChange, title, description, side, wide, children }: ModalProps): ReactElement {
  const { t } = useTranslation()
  return (
    <Dialog.Root open={open} onOpenChange={(next) => onOpenChange(next)}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className={side ? `sheet sheet-${side}` : `dialog${wide === true ? ' dialog-wide' : ''}`}>
          <header className="dialog-head">
            <Dialog.Title className="dialog-title">{title}</Dialog.Title>
            <Dialog.Close className="icon-button" aria-label={t('app.close')}>
              <X size={18} />
            </Dialog.Close>
          </header>
          {description === undefined ? null : (
            <Dialog.Description className="dialog-description">{description}</Dialog.Description>
          )}
          <div className="dialog-body">{children}</div>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
