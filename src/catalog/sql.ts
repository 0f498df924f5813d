/**
 * What can be told of PostgreSQL text without the database. The lexer follows section 4.1 of its
 * manual; whatever depends on a setting (a backslash in a plain string, `U&`) is not understood.
 */
type Token =
  | { readonly kind: 'word' | 'quoted'; readonly text: string }
  | { readonly kind: 'string' | 'number' }
  | { readonly kind: 'mark'; readonly text: string }

/** Longer statements are not looked through; bounds the cost of one call (threat 16). */
const SQL_CHARS_MAX = 32_000

const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const NUMBER = /\d[\w.]*/y
const PLAIN_STRING = /'[^']*(?:''[^']*)*'/y
const ESCAPE_STRING = /'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*'/y
const QUOTED = /"[^"]*(?:""[^"]*)*"/y
const DOLLAR_OPEN = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const SPACE = /(?:[ \t\n\r\f\v]+|--[^\n\r]*)+/y

/**
 * Whether the text is exactly one statement: a second one runs outside of the server's transaction.
 */
export function isOneStatement(value: unknown): boolean {
  return statementOf(value) !== null
}

/**
 * Whether the text is one statement that only reads, given that the server runs it in a READ ONLY
 * transaction: a query, no clause that writes or locks, no function but those known to compute, no
 * catalog of PostgreSQL itself (`pg_authid` holds passwords, `pg_read_file` reads the disk).
 */
export function isReadStatement(value: unknown): boolean {
  const tokens = statementOf(value)
  const first = tokens?.[0]
  if (first?.kind !== 'word' || !FIRST_WORDS.has(first.text)) return false
  return tokens!.every((token, index) => onlyReads(tokens!, token, index))
}

function onlyReads(tokens: readonly Token[], token: Token, index: number): boolean {
  if (token.kind !== 'word' && token.kind !== 'quoted') return true
  if (/^pg_|^lo_/i.test(token.text)) return false
  const isCall = isMark(tokens[index + 1], '(')
  if (token.kind === 'quoted') return !isCall
  if (WRITE_WORDS.has(token.text)) return false
  if (!isCall) return true
  const before = tokens[index - 1]
  if (isMark(before, '.')) return false
  // `AS name (columns)` gives names to what was called before it.
  if (before?.kind === 'word' && before.text === 'as') return true
  return CALLS.has(token.text)
}

function isMark(token: Token | undefined, text: string): boolean {
  return token?.kind === 'mark' && token.text === text
}

/** The tokens of the one statement; null when there is none, more than one, or no telling. */
function statementOf(value: unknown): readonly Token[] | null {
  if (typeof value !== 'string' || value.length > SQL_CHARS_MAX) return null
  const tokens = tokensOf(value)
  if (tokens === null) return null
  if (isMark(tokens.at(-1), ';')) tokens.pop()
  return tokens.length === 0 || tokens.some((token) => isMark(token, ';')) ? null : tokens
}

function tokensOf(sql: string): Token[] | null {
  const tokens: Token[] = []
  let at = 0
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    const found = pattern.exec(sql)?.[0]
    if (found === undefined || found === '') return null
    at += found.length
    return found
  }
  while (at < sql.length) {
    if (take(SPACE) !== null) continue
    if (sql.startsWith('/*', at)) {
      at = commentEnd(sql, at)
      if (at < 0) return null
      continue
    }
    const token =
      sql[at] === "'" ? stringAt(tokens.at(-1), sql[at - 1], take) : tokenAt(sql, at, take)
    if (token === null) return null
    if (token.kind === 'string' && sql[at - 1] === '$') {
      at = dollarEnd(sql, at)
      if (at < 0) return null
    }
    tokens.push(token)
  }
  return tokens
}

function tokenAt(sql: string, at: number, take: (pattern: RegExp) => string | null): Token | null {
  const char = sql[at]!
  if (char === '\0') return null
  const word = take(WORD)
  if (word !== null) {
    // `U&'…'` and `U&"…"` escape with a character that another clause chooses.
    if (/^u$/i.test(word) && /^&['"]/.test(sql.slice(at + 1, at + 3))) return null
    return { kind: 'word', text: word.toLowerCase() }
  }
  if (take(NUMBER) !== null) return { kind: 'number' }
  if (char === '"') {
    const quoted = take(QUOTED)
    return quoted === null ? null : { kind: 'quoted', text: quoted.slice(1, -1) }
  }
  if (char === '$' && take(DOLLAR_OPEN) !== null) return { kind: 'string' }
  return { kind: 'mark', text: take(/[\s\S]/y)! }
}

/** A string; with backslashes only where an `E` right before it says that they escape. */
function stringAt(
  last: Token | undefined,
  before: string | undefined,
  take: (pattern: RegExp) => string | null,
): Token | null {
  const escapes = last?.kind === 'word' && last.text === 'e' && /e/i.test(before ?? '')
  if (escapes) return take(ESCAPE_STRING) === null ? null : { kind: 'string' }
  const text = take(PLAIN_STRING)
  return text === null || text.includes('\\') ? null : { kind: 'string' }
}

function dollarEnd(sql: string, at: number): number {
  const tag = sql.slice(sql.lastIndexOf('$', at - 2), at)
  const end = sql.indexOf(tag, at)
  return end < 0 ? -1 : end + tag.length
}

/** Comments nest. */
function commentEnd(sql: string, start: number): number {
  let depth = 0
  for (let at = start; at < sql.length; at++) {
    const pair = sql.slice(at, at + 2)
    if (pair === '/*') depth++
    else if (pair === '*/') depth--
    else continue
    at++
    if (depth === 0) return at + 1
  }
  return -1
}

const words = (text: string) => new Set(text.trim().split(/\s+/))

const FIRST_WORDS = words('select with values table explain')

/** What the first words can lead into beside reading: writes, locks, statements prepared before. */
const WRITE_WORDS = words('insert update delete merge into create execute declare refresh share')

/**
 * Words that stand before a parenthesis: clauses, types, and functions that compute and no more.
 */
const CALLS = words(`
  select from where values in any some all exists not and or on using over filter as by having limit
  offset union intersect except distinct when then else case between like ilike is array row rows
  lateral join order group partition rollup cube sets within explain materialized both only
  numeric decimal varchar char character bit varying float timestamp time interval
  count sum avg min max every bool_and bool_or string_agg array_agg json_agg jsonb_agg json_object_agg
  jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr mode percentile_cont
  percentile_disc row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
  last_value nth_value
  coalesce nullif greatest least cast extract date_part date_trunc date_bin age now to_char to_date
  to_timestamp to_number make_date make_interval make_timestamp justify_days justify_hours
  abs ceil ceiling floor round trunc mod power sqrt exp ln log sign random width_bucket div
  lower upper initcap length char_length character_length octet_length substring substr position
  strpos left right lpad rpad ltrim rtrim btrim trim replace translate reverse split_part concat
  concat_ws format repeat starts_with overlay regexp_replace regexp_match regexp_matches
  regexp_split_to_array regexp_split_to_table md5 quote_literal quote_ident ascii chr to_hex
  array_length array_position array_to_string string_to_array unnest cardinality array_append
  array_cat array_remove generate_series generate_subscripts
  json_build_object jsonb_build_object json_build_array jsonb_build_array to_json to_jsonb row_to_json
  json_array_length jsonb_array_length json_array_elements jsonb_array_elements
  json_array_elements_text jsonb_array_elements_text json_each jsonb_each json_each_text
  jsonb_each_text json_object_keys jsonb_object_keys json_extract_path jsonb_extract_path
  json_extract_path_text jsonb_extract_path_text json_typeof jsonb_typeof jsonb_path_query
  jsonb_path_exists to_tsvector to_tsquery plainto_tsquery ts_rank similarity`)
