/**
 * The hosted service's list prices per million tokens, in each region's currency; for comparison, since this server
 * does not bill. Reference: Model Studio's price page (2026); the US dollar prices are the commonly quoted ones.
 */
import type { FamilyName } from './families.ts'
import type { RegionName } from './models.ts'

/** Per 1,000,000 tokens. */
export interface Prices {
  readonly currency: 'USD' | 'CNY'
  readonly inputText: number
  readonly inputAudio: number
  readonly inputImageVideo: number
  /** Text out when only text went in. */
  readonly outputText: number
  /** Text out when other modalities went in. */
  readonly outputTextMultimodal: number
  /** Audio out; the text of such a reply is free. */
  readonly outputAudio: number
}

const prices: Readonly<Record<RegionName, Readonly<Partial<Record<FamilyName, Prices>>>>> = {
  intl: {
    flash: {
      currency: 'USD',
      inputText: 0.43,
      inputAudio: 3.81,
      inputImageVideo: 0.78,
      outputText: 1.66,
      outputTextMultimodal: 3.06,
      outputAudio: 15.11,
    },
    turbo: {
      currency: 'USD',
      inputText: 0.07,
      inputAudio: 4.44,
      inputImageVideo: 0.21,
      outputText: 0.27,
      outputTextMultimodal: 0.63,
      outputAudio: 8.89,
    },
  },
  cn: {
    flash: {
      currency: 'CNY',
      inputText: 1.8,
      inputAudio: 15.8,
      inputImageVideo: 3.3,
      outputText: 6.9,
      outputTextMultimodal: 12.7,
      outputAudio: 62.6,
    },
    turbo: {
      currency: 'CNY',
      inputText: 0.4,
      inputAudio: 25,
      inputImageVideo: 1.5,
      outputText: 1.6,
      outputTextMultimodal: 4.5,
      outputAudio: 50,
    },
  },
}

/** Undefined where the service lists no price (the open checkpoint). */
export function pricesOf(region: RegionName, family: FamilyName): Prices | undefined {
  return prices[region][family]
}
