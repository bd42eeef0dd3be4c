/** Buttons with a text or an icon. An icon button always has a name and shows it as a tooltip. */
import { Tooltip } from '@base-ui/react/tooltip'
import type { ComponentProps, ReactElement, ReactNode } from 'react'

interface ButtonProps extends ComponentProps<'button'> {
  variant?: 'plain' | 'primary' | 'danger'
  children: ReactNode
}

export function Button({ variant = 'plain', className = '', ...rest }: ButtonProps): ReactElement {
  return <button type="button" className={`button button-${variant} ${className}`} {...rest} />
}

interface IconButtonProps extends Omit<ComponentProps<'button'>, 'aria-label'> {
  label: string
  /** Shown in place of the label when the button is disabled. */
  reason?: string | undefined
}

/** When disabled it stays focusable, so that screen readers and keyboard users can read its reason. */
export function IconButton({
  label,
  reason,
  disabled,
  onClick,
  className = '',
  ...rest
}: IconButtonProps): ReactElement {
  const off = disabled === true || reason !== undefined
  return (
    <Tooltip.Root>
      <Tooltip.Trigger
        {...rest}
        type="button"
        className={`icon-button ${className}`}
        aria-label={reason === undefined ? label : `${label}. ${reason}`}
        aria-disabled={off || undefined}
        onClick={off ? undefined : onClick}
      />
      <Tooltip.Portal>
        <Tooltip.Positioner sideOffset={6} className="layer">
          <Tooltip.Popup className="tooltip">{reason ?? label}</Tooltip.Popup>
        </Tooltip.Positioner>
      </Tooltip.Portal>
    </Tooltip.Root>
  )
}
