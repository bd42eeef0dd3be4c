/** Entry point of an engine process, which serves a checkpoint to its parent process. */

import { loadHostedModel } from './load-model.ts'
import { hostEngine } from './process-host.ts'

hostEngine(loadHostedModel)
