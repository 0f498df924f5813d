/** Rows of an aligned table: cells stand apart by two spaces or more. */
export function rows(table: string): string[][] {
  const lines = table.split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => line.trim().split(/ {2,}/u))
}
