/** Warnings of a reply, in the header `x-omniserve-warnings`. */

export function ignoredWarning(fields: readonly string[]): string[] {
  return fields.length === 0 ? [] : [`not supported and ignored: ${fields.join(', ')}`]
}

/** Header values are ASCII; other characters are percent-encoded. */
export function warningHeader(warnings: readonly string[]): string {
  return encodeURI(warnings.join('; ')).replaceAll('%20', ' ')
}
