/**
 * fast-check for the tests of properties: the same cases every time, so that a change is what makes a test fail.
 *
 * `OMNISERVE_PROPERTY_SEED=7` tries other cases, `OMNISERVE_PROPERTY_RUNS=10` ten times as many.
 */
import fc from 'fast-check'

const times = Number(process.env['OMNISERVE_PROPERTY_RUNS'] ?? 1)

/** For properties that are tried on another number of cases than fast-check's hundred. */
export const runs = (usual: number): { numRuns: number } => ({ numRuns: usual * times })

fc.configureGlobal({ seed: Number(process.env['OMNISERVE_PROPERTY_SEED'] ?? 20_261_130), ...runs(100) })

export { fc }
