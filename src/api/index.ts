/** The API server. */
export { createApp } from './app.ts'
export { createServices, type RunningServer, type ServerOptions, startServer } from './server.ts'
export type { Services } from './services.ts'
