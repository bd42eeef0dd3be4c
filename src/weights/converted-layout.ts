/**
 * The layout of a converted file without the weights' values: tensors in order with their types, and the metadata.
 *
 * In: the model's declarations, the requested types, the small files. Out: the arguments of {@link GgufWriter}. Used by
 * conversion, and by benchmarks that write files of random weights.
 *
 * Reference: docs/decisions/2026-11-23-converted-file.md
 */

import type { ParameterDeclaration } from '../nn/index.ts'
import { type TensorType, trimShape } from '../tensor/index.ts'
import { type GgufMetadata, type GgufTensorPlan, GgufWriter } from './gguf-write.ts'
import { chooseType, weightStages, type WeightTypeChoice } from './weight-types.ts'

export interface ConvertedSource {
  /** For display. */
  readonly name: string
  /** Texts of the small files by name; config.json must be among them. */
  readonly files: Readonly<Record<string, string>>
  /** Small files that are not text, in base64. */
  readonly binaries?: Readonly<Record<string, string>>
  /** `model_type` of config.json. */
  readonly modelType?: string
}

export interface ConvertedLayout {
  /** In the order of the file. */
  readonly weights: readonly { readonly declaration: ParameterDeclaration; readonly type: TensorType }[]
  readonly plan: readonly GgufTensorPlan[]
  readonly metadata: GgufMetadata
  /** Bytes of the whole file. */
  readonly bytes: number
}

/** Computes the layout. Throws as `chooseType` and {@link GgufWriter.size} do. */
export function convertedLayout(
  declarations: readonly ParameterDeclaration[],
  choice: WeightTypeChoice,
  { name, files, binaries = {}, modelType = 'unknown' }: ConvertedSource,
): ConvertedLayout {
  const weights = declarations.map((declaration) => ({ declaration, type: chooseType(declaration, choice) }))
  const plan = weights.map(({ declaration, type }, index): GgufTensorPlan => {
    // ggml limits names to 63 bytes; the full names are in the metadata.
    const ggufName = Buffer.byteLength(declaration.name) > 63 ? `t.${index}` : declaration.name
    return { name: ggufName, type, shape: trimShape(declaration.shape) }
  })
  const metadata: Record<string, string | number | readonly string[]> = {
    'general.architecture': modelType,
    'general.name': name,
    'general.quantization_version': 2,
    'omniserve.format': 1,
    'omniserve.weights': describeChoice(choice),
    'omniserve.tensor_names': declarations.map((declaration) => declaration.name),
  }
  for (const [file, text] of Object.entries(files)) metadata[`omniserve.file.${file}`] = text
  for (const [file, encoded] of Object.entries(binaries)) metadata[`omniserve.binary.${file}`] = encoded
  return { weights, plan, metadata, bytes: GgufWriter.size(metadata, plan) }
}

/** For display: `q4_0 (code-predictor q8_0)`. */
function describeChoice({ type, stages = {} }: WeightTypeChoice): string {
  const others = weightStages.flatMap((stage) => (stages[stage] === undefined ? [] : [`${stage} ${stages[stage]}`]))
  return others.length === 0 ? type : `${type} (${others.join(', ')})`
}
