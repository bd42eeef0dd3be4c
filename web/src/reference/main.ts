/**
 * The API reference at `/reference`: Swagger UI over this server's `/openapi.json`, with requests to try.
 *
 * Everything is served from here, under a policy without inline code. A key entered in the playground is used here too.
 */
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js'
import 'swagger-ui-dist/swagger-ui.css'
import { loadSettings } from '../state/settings.ts'
import './reference.css'

const dark = matchMedia('(prefers-color-scheme: dark)')

function applyTheme(): void {
  const { theme } = document.documentElement.dataset
  document.documentElement.classList.toggle('dark-mode', theme === undefined ? dark.matches : theme === 'dark')
}

applyTheme()
dark.addEventListener('change', applyTheme)

/** Names and focus that Swagger UI leaves out, for screen readers and the keyboard. */
function label(): void {
  const set = (selector: string, name: string, value: string): void => {
    for (const element of document.querySelectorAll(`${selector}:not([${name}])`)) element.setAttribute(name, value)
  }
  set('.body-param__text', 'aria-label', 'Request body')
  set('.examples-select-element', 'aria-label', 'Example')
  set('.microlight', 'tabindex', '0')
}

const root = document.querySelector('#reference')
if (root === null) throw new Error('The page has no #reference.')
new MutationObserver(label).observe(root, { childList: true, subtree: true })

const ui = SwaggerUI({
  url: '/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // The validator is another host.
  validatorUrl: null,
  onComplete: () => {
    const { apiKey } = loadSettings()
    if (apiKey !== '') ui.preauthorizeApiKey('key', apiKey)
  },
})
