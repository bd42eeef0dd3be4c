/** Short notices at the bottom of the page, announced by screen readers. */
import { Toast } from '@base-ui/react/toast'
import { X } from 'lucide-react'
import type { ReactElement, ReactNode } from 'react'
import { useTranslation } from 'react-i18next'

const manager = Toast.createToastManager()

/** Shows a notice. Problems stay twice as long. */
export function notify(text: string, kind: 'info' | 'problem' = 'info'): void {
  manager.add({
    description: text,
    type: kind,
    timeout: kind === 'problem' ? 10_000 : 4000,
    priority: kind === 'problem' ? 'high' : 'low',
  })
}

function List(): ReactElement[] {
  const { t } = useTranslation()
  const { toasts } = Toast.useToastManager()
  return toasts.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className="toast" data-kind={toast.type}>
      <Toast.Content className="toast-content">
        <Toast.Description className="toast-text" />
        <Toast.Close className="icon-button" aria-label={t('app.close')}>
          <X size={16} />
        </Toast.Close>
      </Toast.Content>
    </Toast.Root>
  ))
}

export function Toasts({ children }: { children: ReactNode }): ReactElement {
  return (
    <Toast.Provider toastManager={manager}>
      {children}
      <Toast.Portal>
        <Toast.Viewport className="toasts">
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  )
}
