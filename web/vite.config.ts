/**
 * Builds the playground and the API reference into `web/dist`, which the server sends at `/` and `/reference`.
 *
 * Nothing is inlined (the page's content security policy allows no `data:` script or style), so every asset is a file.
 * `npm run dev` proxies the API to a server on port 8000, or to OMNISERVE_URL.
 */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const target = process.env.OMNISERVE_URL ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: ['index.html', 'reference.html'] },
  },
  worker: { format: 'es' },
  server: {
    proxy: {
      '/compatible-mode': target,
      '/health': target,
      '/ready': target,
      '/openapi.json': target,
      '/api-ws': { target, ws: true },
    },
  },
})
