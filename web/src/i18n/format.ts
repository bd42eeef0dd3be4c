/** Numbers, sizes, times and money, in the page's language. */

/** `7.5 MB`; powers of 1024, as the API counts. */
export function formatBytes(bytes: number, language: string): string {
  const units = ['B', 'kB', 'MB', 'GB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0 }).format(value)} ${units[unit]}`
}

/** `20 min`, `150 s`. */
export function formatLimit(seconds: number, language: string): string {
  const whole = seconds >= 180 && seconds % 60 === 0
  return new Intl.NumberFormat(language, {
    style: 'unit',
    unit: whole ? 'minute' : 'second',
    unitDisplay: 'short',
  }).format(whole ? seconds / 60 : seconds)
}

/** A duration of audio, or a position in audio of `total` seconds: `0.9 s` when it is short, `1:07` when it is not. */
export function formatLength(seconds: number, language: string, total: number = seconds): string {
  if (total >= 10) return formatClock(seconds)
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 }
  return `${new Intl.NumberFormat(language, digits).format(seconds)} s`
}

/** `0:07`. */
export function formatClock(seconds: number): string {
  const whole = Math.floor(seconds + 0.001)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}

/** `130 ms`, `2.4 s`. */
export function formatMilliseconds(milliseconds: number, language: string): string {
  const short = milliseconds < 1000
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: short ? 0 : 1 }).format(short ? milliseconds : milliseconds / 1000)} ${short ? 'ms' : 's'}`
}

/** Small sums keep two significant digits: `$0.000043`. */
export function formatMoney(value: number, currency: string, language: string): string {
  const digits = value === 0 || value >= 0.01 ? { maximumFractionDigits: 4 } : { maximumSignificantDigits: 2 }
  return new Intl.NumberFormat(language, {
    style: 'currency',
    currency,
    currencyDisplay: 'narrowSymbol',
    ...digits,
  }).format(value)
}
