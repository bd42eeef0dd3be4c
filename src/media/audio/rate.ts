/** The rate every sound is delivered at: what Qwen-Omni's feature extractors are fed, Hz. */
export const soundRate = 16_000
