/** The sample rate of decoded audio, Hz: that of Qwen-Omni's feature extractors. */
export const audioRate = 16_000
