/** Entry of an engine process: serves a checkpoint to the server that forked it. */

import { loadHostedModel } from './load-model.ts'
import { hostEngine } from './process-host.ts'

hostEngine(loadHostedModel)
