/** Starts the page. */
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { player } from './audio/speech-player.ts'
import { startI18n } from './i18n/index.ts'
import './styles/tokens.css'
import './styles/layout.css'
import './styles/controls.css'
import './styles/turns.css'
import './styles/composer.css'
import './styles/talk.css'

declare global {
  var omniservePlayground: { player: typeof player } | undefined
}

// For tests and debugging: samples that reach the audio graph can be counted and tapped.
globalThis.omniservePlayground = { player }

await startI18n()
const root = document.querySelector('#root')
if (root === null) throw new Error('The page has no #root.')
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
