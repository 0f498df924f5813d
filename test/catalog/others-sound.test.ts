import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bindServer } from '../../src/catalog/bindings.ts'
import { classify } from '../../src/catalog/classify.ts'
import type { Facts } from '../../src/core/facts.ts'
import { CATALOGS, catalogOf, git, scratch } from './servers.ts'

/* Tables of calls of the servers of other makers: what they touch, or why that cannot be told. */

const dir = scratch()
const tree = join(dir.path, 'clord')
const catalogs = new Map(CATALOGS.map((name) => [name as string, catalogOf(name)]))

beforeAll(() => {
  mkdirSync(tree)
  git(tree, 'init', '-q', '-b', 'main')
  writeFileSync(join(tree, '.env'), 'TOKEN=x\n')
  writeFileSync(join(tree, 'a.txt'), 'a\n')
})
afterAll(() => dir.remove())

const BINDS: Readonly<Record<string, unknown>> = {
  memory: { memory: 'team' },
  postgres: { database: 'prod/shop' },
  mongodb: { cluster: 'prod' },
  playwright: { roots: [{ path: tree, repo: 'clord' }] },
}

function facts(name: string, tool: string, args: unknown): Facts {
  const catalog = catalogs.get(name)!
  const bind = name === 'playwright' ? { roots: [{ path: tree, repo: 'clord' }] } : BINDS[name]
  const server = bindServer(name, bind, catalog)
  if (!server.ok) throw new Error(server.error.join('\n'))
  return classify({
    server: server.value,
    catalog,
    definitionStatus: 'mapped',
    definition: 'd',
    tool,
    args,
    capture: [],
    digestSalt: 's',
  }) as Facts
}

/** Each touch as `action effect types of resources=values | within > hosts`. */
function touches(name: string, tool: string, args: unknown): readonly string[] {
  const found = facts(name, tool, args)
  expect(found.fault, `${tool} ${JSON.stringify(args)}`).toBeNull()
  const values = (map: Readonly<Record<string, readonly string[]>>) =>
    Object.entries(map).map(([type, list]) => ` ${type}=${list.join(',')}`)
  return found.touches.map(({ action, effect, reversible, resources, within, hosts }) =>
    [
      `${action} ${effect}${effect === 'read' || reversible ? '' : '!'}`,
      ...values(resources),
      ...(Object.keys(within).length > 0 ? [' |', ...values(within)] : []),
      ...(hosts.length > 0 ? [` > ${hosts.join(',')}`] : []),
    ].join(''),
  )
}

function expectFault(name: string, tool: string, args: unknown, words: RegExp): void {
  const found = facts(name, tool, args)
  expect(found.fault, `${tool} ${JSON.stringify(args)}`).toMatch(words)
  expect(found.touches).toEqual([])
}

type Rows = readonly (readonly [tool: string, args: unknown, touches: readonly string[]])[]
type Faults = readonly (readonly [tool: string, args: unknown, words: RegExp])[]

describe('memory', () => {
  const entity = { name: 'Ada', entityType: 'person', observations: ['x'] }
  const relation = { from: 'Ada', to: 'Bob', relationType: 'knows' }
  const rows: Rows = [
    [
      'create_entities',
      { entities: [entity] },
      ['memory.write write memories=team | entities=Ada'],
    ],
    [
      'create_relations',
      { relations: [relation] },
      ['memory.write write memories=team | entities=Ada,Bob'],
    ],
    [
      'add_observations',
      { observations: [{ entityName: 'Ada', contents: [] }] },
      ['memory.write write memories=team | entities=Ada'],
    ],
    [
      'delete_entities',
      { entityNames: ['Ada', 'Bob'] },
      ['memory.delete destructive! memories=team | entities=Ada,Bob'],
    ],
    [
      'delete_observations',
      { deletions: [{ entityName: 'Ada', observations: ['x'] }] },
      ['memory.delete destructive! memories=team | entities=Ada'],
    ],
    ['read_graph', {}, ['memory.read read memories=team']],
    ['search_nodes', { query: 'a' }, ['memory.read read memories=team']],
    ['open_nodes', { names: ['Ada'] }, ['memory.read read memories=team']],
  ]
  test.each(rows)('%s %j', (tool, args, expected) => {
    expect(touches('memory', tool, args)).toEqual(expected)
  })
  const faults: Faults = [
    ['create_entities', { entities: [{ entityType: 'person' }] }, /needs `name`/],
    ['create_entities', { entities: [{ name: 7 }] }, /`name`, a string/],
    ['create_entities', { entities: [] }, /empty/],
    ['create_entities', { entities: ['Ada'] }, /must be objects/],
    ['create_relations', { relations: [{ from: 'Ada' }] }, /needs `to`/],
    ['delete_entities', { entityNames: ['A\u200bda'] }, /invisible/],
  ]
  test.each(faults)('%s %j is a fault', (tool, args, words) => {
    expectFault('memory', tool, args, words)
  })
})

describe('everything', () => {
  const rows: Rows = [
    ['echo', { message: 'x' }, ['demo.call read']],
    ['get-sum', { a: 1, b: 2 }, ['demo.call read']],
    ['get-env', {}, ['secret.read read secrets=environment']],
    [
      'gzip-file-as-resource',
      { data: 'http://169.254.169.254/latest/meta-data/?x=1' },
      ['web.fetch egress! urls=http://169.254.169.254/latest/meta-data > 169.254.169.254'],
    ],
    [
      'gzip-file-as-resource',
      { data: 'http://0x7f.1:8080/a' },
      ['web.fetch egress! urls=http://127.0.0.1:8080/a > 127.0.0.1:8080'],
    ],
    [
      'gzip-file-as-resource',
      {},
      [
        'web.fetch egress! urls=https://raw.githubusercontent.com/modelcontextprotocol/servers/' +
          'refs/heads/main/README.md > raw.githubusercontent.com',
      ],
    ],
    ['toggle-simulated-logging', {}, ['demo.toggle write']],
  ]
  test.each(rows)('%s %j', (tool, args, expected) => {
    expect(touches('everything', tool, args)).toEqual(expected)
  })
  test.each([
    ['file:///etc/passwd'],
    ['data:text/plain,x'],
    ['https://user@host.example/'],
    ['https://good.example\\@evil.example/'],
  ])('fetching %s is a fault', (data) => {
    expectFault('everything', 'gzip-file-as-resource', { data }, /urls/)
  })
})

describe('github', () => {
  const at = { owner: 'acme', repo: 'site' }
  const GH = ' > api.github.com'
  const branch = ' repos=acme/site branches=agent/x'
  const rows: Rows = [
    ['get_file_contents', { ...at, path: 'src/a.ts' }, ['repo.read read repos=acme/site']],
    [
      'get_file_contents',
      { ...at, path: '.env', branch: 'refs/heads/agent/x' },
      [`repo.read read${branch}`, 'secret.read read repos=acme/site secrets=.env'],
    ],
    ['list_commits', { ...at, sha: 'refs/heads/agent/x' }, [`repo.read read${branch}`]],
    ['list_commits', at, ['repo.read read repos=acme/site']],
    ['get_issue', { ...at, issue_number: 1 }, ['issue.read read repos=acme/site']],
    [
      'get_pull_request_files',
      { ...at, pull_number: 1 },
      ['pull_request.read read repos=acme/site'],
    ],
    ['search_code', { q: 'repo:acme/site x' }, ['repo.search read hosts=api.github.com']],
    ['search_users', { q: 'x' }, ['user.read read hosts=api.github.com']],
    [
      'create_branch',
      { ...at, branch: 'agent/x', from_branch: 'main' },
      [
        `repo.branch.create write${branch} | base_branches=main${GH}`,
        'repo.read read repos=acme/site branches=main',
      ],
    ],
    [
      'create_or_update_file',
      { ...at, path: 'a.txt', content: '', message: 'm', branch: 'agent/x' },
      ['repo.file.write write', 'repo.commit write', 'repo.push egress'].map(
        (action) => `${action}${branch} | paths=a.txt${GH}`,
      ),
    ],
    [
      'create_or_update_file',
      { ...at, path: '.github/workflows/ci.yml', content: '', message: 'm', branch: 'agent/x' },
      [
        ...['repo.file.write write', 'repo.commit write', 'repo.push egress'].map(
          (action) => `${action}${branch} | paths=.github/workflows/ci.yml${GH}`,
        ),
        `repo.internals.write destructive! repos=acme/site${GH}`,
      ],
    ],
    [
      'push_files',
      {
        ...at,
        branch: 'agent/x',
        message: 'm',
        files: [
          { path: 'a.txt', content: '' },
          { path: 'keys/server.pem', content: '' },
        ],
      },
      [
        ...['repo.file.write write', 'repo.commit write', 'repo.push egress'].map(
          (action) => `${action}${branch} | paths=a.txt,keys/server.pem${GH}`,
        ),
        `repo.push.force destructive!${branch} | paths=a.txt,keys/server.pem${GH}`,
        `secret.write destructive! repos=acme/site secrets=keys/server.pem${GH}`,
      ],
    ],
    [
      'create_pull_request',
      { ...at, title: 't', head: 'agent/x', base: 'main' },
      [`pull_request.create egress${branch} | base_branches=main${GH}`],
    ],
    [
      'create_pull_request_review',
      { ...at, pull_number: 1, body: 'b', event: 'COMMENT' },
      [`pull_request.review egress! repos=acme/site${GH}`],
    ],
    [
      'create_pull_request_review',
      { ...at, pull_number: 1, body: 'b', event: 'APPROVE' },
      [
        `pull_request.review egress! repos=acme/site${GH}`,
        `pull_request.approve destructive! repos=acme/site${GH}`,
      ],
    ],
    [
      'merge_pull_request',
      { ...at, pull_number: 1 },
      [`pull_request.merge destructive! repos=acme/site${GH}`],
    ],
    [
      'update_pull_request_branch',
      { ...at, pull_number: 1 },
      ['pull_request.update write', 'repo.commit write', 'repo.push egress'].map(
        (action) => `${action} repos=acme/site${GH}`,
      ),
    ],
    ['create_issue', { ...at, title: 't' }, [`issue.create egress repos=acme/site${GH}`]],
    [
      'update_issue',
      { ...at, issue_number: 1, state: 'closed' },
      [`issue.update destructive! repos=acme/site${GH}`],
    ],
    [
      'add_issue_comment',
      { ...at, issue_number: 1, body: 'b' },
      [`issue.comment egress! repos=acme/site${GH}`],
    ],
    ['create_repository', { name: 'x' }, [`repo.create egress! hosts=api.github.com${GH}`]],
    [
      'fork_repository',
      { ...at, organization: 'evil' },
      ['repo.read read repos=acme/site', `repo.fork egress! repos=acme/site accounts=evil${GH}`],
    ],
  ]
  test.each(rows)('%s %j', (tool, args, expected) => {
    expect(touches('github', tool, args)).toEqual(expected)
  })

  test.each([
    '../x',
    '..',
    '.',
    'x/y',
    'site?x',
    'site#',
    'site%2f..',
    'site&x',
    ' site',
    'site\n',
    '',
    'ѕite',
  ])('a name that is no plain name: %j', (name) => {
    expectFault('github', 'get_issue', { ...at, owner: name, issue_number: 1 }, /plain name/)
    expectFault('github', 'merge_pull_request', { ...at, repo: name, pull_number: 1 }, /plain name/)
  })

  test.each([
    'agent/x#',
    'agent/%2e%2e/main',
    'agent/../main',
    'agent//x',
    'agent/x&ref=main',
    'agent/x;y',
    'refs/heads/agent/x',
    '/agent/x',
  ])('a branch that would be another one in a URL: %j', (name) => {
    const file = { ...at, path: 'a', content: '', message: 'm', branch: name }
    expectFault('github', 'create_or_update_file', file, /short name/)
    const files = [{ path: 'a', content: '' }]
    expectFault('github', 'push_files', { ...at, branch: name, files, message: 'm' }, /short name/)
    const from = { ...at, branch: 'agent/x', from_branch: name }
    expectFault('github', 'create_branch', from, /short name/)
  })

  const faults: Faults = [
    ['get_file_contents', { ...at, path: 'a?ref=secret' }, /pasted into an address/],
    ['get_file_contents', { ...at, path: '../../other/contents/a' }, /pasted into an address/],
    ['get_file_contents', { ...at, path: '' }, /pasted into an address/],
    ['get_file_contents', { ...at, path: 'a', branch: 'v1' }, /refs\/heads\/v1/],
    ['get_file_contents', { ...at, path: 'a', branch: 'refs/tags/v1' }, /refs\/heads\/v1/],
    ['list_commits', { ...at, sha: 'abc1234' }, /refs\/heads/],
    ['list_commits', { ...at, sha: 'refs/heads/main..x' }, /range/],
    ['create_branch', { ...at, branch: 'agent/x' }, /name it/],
    ['create_pull_request', { ...at, title: 't', head: 'evil:x', base: 'main' }, /branch/],
    ['fork_repository', { ...at, organization: 'x&default_branch_only=1' }, /pasted/],
    ['push_files', { ...at, branch: 'x', files: [{ content: '' }], message: 'm' }, /needs `path`/],
    [
      'push_files',
      { ...at, branch: 'x', files: [{ path: '../a', content: '' }], message: 'm' },
      /`\.\.` segment|without `\.\.`/,
    ],
    ['get_issue', { ...at, issue_number: 1.5 }, /integer/],
    ['get_issue', { ...at, issue_number: '1/comments' }, /integer/],
    ['create_pull_request_review', { ...at, pull_number: 1, body: '' }, /`event` is missing/],
  ]
  test.each(faults)('%s %j is a fault', (tool, args, words) => {
    expectFault('github', tool, args, words)
  })
})

describe('playwright', () => {
  const rows: Rows = [
    [
      'browser_navigate',
      { url: 'https://EXAMPLE.com:443/a/?q=1' },
      ['browser.open egress! urls=https://example.com/a > example.com'],
    ],
    [
      'browser_tabs',
      { action: 'new', url: 'http://localhost:3000' },
      ['browser.open egress! urls=http://localhost:3000 > localhost:3000'],
    ],
    ['browser_tabs', { action: 'list' }, ['browser.read read']],
    ['browser_tabs', { action: 'new' }, ['browser.act egress!']],
    ['browser_tabs', { action: 'select', index: 1 }, ['browser.act egress!']],
    ['browser_snapshot', {}, ['browser.read read']],
    ['browser_click', { target: 'e1' }, ['browser.act egress!']],
    ['browser_type', { target: 'e1', text: 'x', submit: true }, ['browser.act egress!']],
    ['browser_file_upload', {}, ['browser.act egress!']],
    [
      'browser_network_request',
      { index: 1 },
      ['browser.read read', 'secret.read read secrets=browser session'],
    ],
    [
      'browser_evaluate',
      { function: '() => document.cookie' },
      ['browser.script egress!', 'secret.read read secrets=browser session'],
    ],
    ['browser_emulate_media', { colorScheme: null }, ['browser.act egress!']],
  ]
  test.each(rows)('%s %j', (tool, args, expected) => {
    expect(touches('playwright', tool, args)).toEqual(expected)
  })

  test('files are judged as files, wherever they go', () => {
    const main = 'repos=clord branches=main'
    expect(touches('playwright', 'browser_file_upload', { paths: [join(tree, '.env')] })).toEqual([
      'browser.act egress!',
      'secret.read read repos=clord secrets=.env',
    ])
    const drop = { target: 'e1', paths: [join(tree, 'a.txt')] }
    expect(touches('playwright', 'browser_drop', drop)).toEqual([
      'browser.act egress!',
      `repo.read read ${main} | paths=a.txt`,
    ])
    for (const [tool, more] of [
      ['browser_snapshot', {}],
      ['browser_take_screenshot', {}],
      ['browser_find', {}],
      ['browser_console_messages', { level: 'info' }],
      ['browser_network_requests', { static: true }],
      ['browser_network_request', { index: 1 }],
      ['browser_evaluate', { function: '() => 1' }],
    ] as const) {
      const found = touches('playwright', tool, { ...more, filename: join(tree, 'b.txt') })
      expect(found, tool).toContain(`repo.file.write write ${main} | paths=b.txt`)
      const hook = touches('playwright', tool, { ...more, filename: join(tree, '.git/hooks/x') })
      expect(hook, tool).toContain('repo.internals.write destructive! repos=clord')
    }
  })

  const faults: Faults = [
    ['browser_navigate', { url: 'file:///etc/passwd' }, /urls/],
    ['browser_navigate', { url: 'javascript:alert(1)' }, /urls/],
    ['browser_navigate', { url: 'example.com' }, /https:\/\//],
    ['browser_tabs', { action: 'select', index: 0, url: 'https://a.example' }, /goes with/],
    ['browser_snapshot', { filename: 'a.md' }, /relative/],
    ['browser_snapshot', { filename: '/etc/cron.d/x' }, /no bound folder/],
    ['browser_file_upload', { paths: ['/etc/passwd'] }, /no bound folder/],
    ['browser_emulate_media', { colorScheme: 1 }, /string or null/],
  ]
  test.each(faults)('%s %j is a fault', (tool, args, words) => {
    expectFault('playwright', tool, args, words)
  })
  test('code in the server is left out', () => {
    expect(facts('playwright', 'browser_run_code_unsafe', {}).status).toBe('unmapped')
  })
})

describe('mongodb', () => {
  const on = { connectionId: 'preconfigured', database: 'shop', collection: 'orders' }
  const orders = ' databases=prod/shop collections=orders'
  const query = `database.query read${orders}`
  const rows: Rows = [
    ['find', { ...on, filter: { total: { $gt: 5 } } }, [query]],
    ['count', on, [query]],
    ['aggregate', { ...on, pipeline: [{ $match: {} }, { $group: { _id: 1 } }] }, [query]],
    [
      'aggregate',
      {
        ...on,
        pipeline: [
          { $lookup: { from: 'users', pipeline: [{ $unionWith: { coll: 'admins' } }], as: 'u' } },
          { $facet: { a: [{ $unionWith: 'old' }], b: [{ $graphLookup: { from: 'tree' } }] } },
          { $rankFusion: { input: { pipelines: { a: [{ $match: {} }] } } } },
        ],
      },
      [query, 'database.query read databases=prod/shop collections=users,admins,old,tree'],
    ],
    [
      'explain',
      {
        ...on,
        method: [{ name: 'aggregate', arguments: { pipeline: [{ $unionWith: 'users' }] } }],
      },
      [query, 'database.query read databases=prod/shop collections=users'],
    ],
    ['explain', { ...on, method: [{ name: 'find', arguments: { filter: {} } }] }, [query]],
    [
      'list-databases',
      { connectionId: 'preconfigured' },
      ['database.schema.read read clusters=prod'],
    ],
    ['mongodb-logs', { connectionId: 'preconfigured' }, ['database.log.read read clusters=prod']],
    ['insert-many', { ...on, documents: [{ a: 1 }] }, [`database.insert write${orders}`]],
    ['update-many', { ...on, update: { $set: {} } }, [`database.update destructive!${orders}`]],
    [
      'update-many',
      { ...on, update: { $set: {} }, upsert: true },
      [`database.update destructive!${orders}`, `database.insert write${orders}`],
    ],
    ['delete-many', on, [`database.delete destructive!${orders}`]],
    [
      'rename-collection',
      { ...on, newName: 'public', dropTarget: true },
      [
        'database.schema.write write databases=prod/shop collections=orders,public',
        'database.query read databases=prod/shop collections=orders,public',
        'database.drop destructive! databases=prod/shop collections=public',
      ],
    ],
    [
      'drop-index',
      { ...on, indexName: 'i', type: 'classic' },
      [`database.schema.write destructive!${orders}`],
    ],
    [
      'create-index',
      { ...on, definition: [{ type: 'classic', keys: { a: 1 } }] },
      [`database.schema.write write${orders}`],
    ],
    ['drop-collection', on, [`database.drop destructive!${orders}`]],
    [
      'drop-database',
      { connectionId: 'preconfigured', database: 'shop' },
      ['database.drop destructive! databases=prod/shop'],
    ],
    [
      'search-knowledge',
      { query: 'q' },
      ['docs.search egress! hosts=knowledge.mongodb.com > knowledge.mongodb.com'],
    ],
  ]
  test.each(rows)('%s %j', (tool, args, expected) => {
    expect(touches('mongodb', tool, args)).toEqual(expected)
  })

  test.each([
    [[{ $match: {} }, { $out: 'orders' }]],
    [[{ $merge: { into: 'x' } }]],
    [[{ $facet: { a: [{ $out: 'x' }] } }]],
    [[{ $lookup: { from: 'a', pipeline: [{ $merge: 'x' }] } }]],
    [[{ $lookup: { from: { db: 'admin', coll: 'system.users' } } }]],
    [[{ $lookup: { pipeline: [] } }]],
    [[{ $unionWith: { coll: 'a', pipeline: {} } }]],
    [[{ $match: {}, $out: 'x' }]],
    [[{}]],
    [[{ $currentOp: {} }]],
    [[{ $collStats: {} }]],
    [[{ $somethingNew: {} }]],
    [[{ $match: { $expr: { $function: { body: 'x' } } } }]],
    [[{ $match: { $where: 'x' } }]],
    [[{ $group: { _id: 1, a: { $accumulator: {} } } }]],
    [[{ $vectorSearch: { query: { text: 'secret' } } }]],
    [[{ $rerank: {} }]],
    [[JSON.parse('{"__proto__":{"$out":"x"}}')]],
    [[{ name: 'aggregate', arguments: { pipeline: [{ $out: 'x' }] } }]],
    [[{ name: 'aggregate', arguments: { pipeline: [] }, $out: 'x' }]],
  ])('an aggregation that does not provably read: %j', (pipeline) => {
    expectFault('mongodb', 'aggregate', { ...on, pipeline }, /a stage writes/)
    const method = [{ name: 'aggregate', arguments: { pipeline } }]
    expectFault('mongodb', 'explain', { ...on, method }, /a stage writes/)
  })

  test('threat 16: a pipeline nested without end is answered', () => {
    let pipeline: unknown[] = [{ $match: {} }]
    for (let depth = 0; depth < 20_000; depth++) pipeline = [{ $facet: { a: pipeline } }]
    expect(facts('mongodb', 'aggregate', { ...on, pipeline }).fault).not.toBeNull()
  })

  const faults: Faults = [
    ['find', { ...on, connectionId: 'staging-1' }, /one of `preconfigured`/],
    ['find', { database: 'shop', collection: 'orders' }, /`connectionId` is missing/],
    ['find', { ...on, filter: { $where: 'sleep(1)' } }, /runs code/],
    ['count', { ...on, query: { $expr: { $function: {} } } }, /runs code/],
    ['delete-many', { ...on, filter: { a: { $where: '1' } } }, /runs code/],
    ['find', { ...on, database: '../prod' }, /plain name/],
    ['find', { ...on, database: 'a/b' }, /plain name/],
    ['create-index', { ...on, definition: [{ type: 'vectorSearch' }] }, /search index/],
    ['create-index', { ...on, definition: [] }, /search index/],
    ['create-index', { ...on, definition: [{ type: 'classic' }, { type: 'search' }] }, /search/],
  ]
  test.each(faults)('%s %j is a fault', (tool, args, words) => {
    expectFault('mongodb', tool, args, words)
  })
  test.each(['connect', 'disconnect', 'aggregate-db', 'export'])('%s is left out', (tool) => {
    expect(facts('mongodb', tool, {}).status).toBe('unmapped')
  })
})
