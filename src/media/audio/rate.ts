/** The sample rate of decoded audio, Hz. Qwen-Omni's feature extractors require it. */
export const audioRate = 16_000
