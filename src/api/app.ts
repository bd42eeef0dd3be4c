/** The API server's app: middleware and routes. */
import { Hono } from 'hono'
import { errors } from '../protocol/index.ts'
import { guardOrigin, requireKey } from './middleware/guard.ts'
import { refuseWhileLoading } from './middleware/refuse-while-loading.ts'
import { renderError, requestContext } from './middleware/request-context.ts'
import { requireAdmin } from './middleware/require-admin.ts'
import { openApiDocument } from './openapi.ts'
import { adminPage } from './routes/admin-page.ts'
import { drainReplica, showCluster } from './routes/admin-cluster.ts'
import { chatCompletions } from './routes/chat-completions.ts'
import { listModels, listSpeechVoices, listVoices, showModel } from './routes/models.ts'
import { playground } from './routes/playground.ts'
import { type ReferenceDocument, referencePage } from './routes/reference-page.ts'
import { realtime } from './routes/realtime.ts'
import { health, metrics, ready } from './routes/status.ts'
import { speech } from './routes/audio-speech.ts'
import { transcriptions } from './routes/audio-transcriptions.ts'
import { tokensCount } from './routes/tokens-count.ts'
import type { AppEnv, Services } from './services.ts'

export interface AppOptions {
  /** The folder of the built playground. */
  readonly playgroundFolder?: string
}

export function createApp(services: Services, options: AppOptions = {}): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.use(requestContext(services))
  app.use(guardOrigin(services))
  app.onError((error, c) => renderError(services, error, c))
  app.notFound((c) => {
    throw errors.notFound(c.req.path.slice(0, 200))
  })

  const document = openApiDocument(services.version)
  app.get('/health', health(services))
  app.get('/ready', ready(services))
  app.get('/openapi.json', (c) => c.json(document))
  app.get('/reference', referencePage(document as unknown as ReferenceDocument, options.playgroundFolder))
  app.get('/metrics', requireKey(services), metrics(services))

  app.get('/admin', adminPage(services))
  const admin = new Hono<AppEnv>()
  admin.use('/cluster/*', requireAdmin(services))
  admin.get('/cluster', showCluster(services))
  admin.post('/cluster/replicas/:name', drainReplica(services))
  app.route('/admin', admin)
  for (const [path, wire] of [
    ['/api-ws/v1/realtime', 'dashscope'],
    ['/v1/realtime', 'openai'],
  ] as const) {
    app.get(path, requireKey(services), refuseWhileLoading(services), realtime(services, wire))
  }

  app.route('/compatible-mode/v1', api(services, false))
  app.route('/v1', api(services, true))
  if (options.playgroundFolder !== undefined) app.use(playground(options.playgroundFolder))
  return app
}

/** The API's routes: as the service has them, or for OpenAI's clients. */
function api(services: Services, lenient: boolean): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.use(requireKey(services))
  routes.use(refuseWhileLoading(services))
  routes.post('/chat/completions', chatCompletions(services, lenient))
  routes.post('/tokens/count', tokensCount(services, lenient))
  routes.get('/models', listModels(services))
  routes.get('/models/:id', showModel(services))
  routes.get('/voices', listVoices(services))
  const paths = ['/chat/completions', '/tokens/count', '/models', '/models/:id', '/voices']
  if (lenient) {
    routes.get('/audio/voices', listSpeechVoices(services))
    routes.post('/audio/speech', speech(services))
    routes.post('/audio/transcriptions', transcriptions(services, 'transcribe'))
    routes.post('/audio/translations', transcriptions(services, 'translate'))
    paths.push('/audio/voices', '/audio/speech', '/audio/transcriptions', '/audio/translations')
  }
  for (const path of paths) {
    routes.all(path, (c) => {
      throw errors.methodNotSupported(c.req.method)
    })
  }
  return routes
}
