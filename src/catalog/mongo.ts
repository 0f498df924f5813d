import { err, ok, type Result } from '../core/result.ts'
import { isRecord } from './yaml-reader.ts'

/**
 * What MongoDB aggregation stages reach. Only stages that are known to read the collection they run
 * on, or to name the others they read, pass; a stage that a later server adds does not.
 */
const PLAIN_STAGES = new Set([
  '$addFields',
  '$bucket',
  '$bucketAuto',
  '$count',
  '$densify',
  '$documents',
  '$fill',
  '$geoNear',
  '$group',
  '$limit',
  '$match',
  '$project',
  '$redact',
  '$replaceRoot',
  '$replaceWith',
  '$sample',
  '$search',
  '$searchMeta',
  '$set',
  '$setWindowFields',
  '$skip',
  '$sort',
  '$sortByCount',
  '$unset',
  '$unwind',
  '$vectorSearch',
])

/** Code that runs in the server; and a key that is no member once it has been copied. */
const FORBIDDEN_KEYS = new Set(['$where', '$function', '$accumulator', '__proto__'])

/** Bounds the scan of a document made to be deep (threat 16). */
const DEPTH_MAX = 64

/** Whether stages, or calls that hold a pipeline of them, do nothing but read. */
export function readsOnly(value: unknown): boolean {
  return collectionsOf(value).ok
}

/** Whether they name other collections than the one they run on. */
export function namesOthers(value: unknown): boolean {
  const found = collectionsOf(value)
  return found.ok && found.value.length > 0
}

/**
 * The collections that an argument's stages read beside the one they run on. The argument is a
 * pipeline, a filter, or a list of calls such as `[{ name: aggregate, arguments: { pipeline } }]`.
 */
export function collectionsOf(value: unknown): Result<readonly string[], string> {
  const key = forbiddenKey(value, 0)
  if (key !== null) return err(`\`${key}\` is refused`)
  const found = new Set<string>()
  for (const item of Array.isArray(value) ? value : []) {
    if (!isRecord(item)) return err('a stage must be an object')
    const isCall =
      Object.hasOwn(item, 'arguments') &&
      Object.keys(item).every((name) => name === 'name' || name === 'arguments')
    const fault = isCall
      ? addPipeline(pipelineOf(item.arguments), found, 0)
      : addStage(item, found, 0)
    if (fault !== null) return err(fault)
  }
  return ok([...found])
}

function pipelineOf(call: unknown): unknown {
  return isRecord(call) && Object.hasOwn(call, 'pipeline') ? call.pipeline : []
}

function addPipeline(value: unknown, found: Set<string>, depth: number): string | null {
  if (!Array.isArray(value)) return 'a pipeline must be a list of stages'
  for (const stage of value) {
    const fault = addStage(stage, found, depth)
    if (fault !== null) return fault
  }
  return null
}

function addStage(stage: unknown, found: Set<string>, depth: number): string | null {
  if (depth > DEPTH_MAX) return 'the pipeline is nested too deep'
  const names = isRecord(stage) ? Object.keys(stage) : []
  const name = names[0]
  if (name === undefined || names.length > 1) return 'a stage has exactly one operator'
  const body = (stage as Record<string, unknown>)[name]
  // A text to be embedded goes to the service of a model.
  if (name === '$vectorSearch' && isRecord(body) && Object.hasOwn(body, 'query')) {
    return '`$vectorSearch` with `query` sends it to another service'
  }
  if (PLAIN_STAGES.has(name)) return null
  switch (name) {
    case '$lookup':
      return addOther(isRecord(body) ? body.from : undefined, body, found, depth)
    case '$graphLookup':
      return addOther(isRecord(body) ? body.from : undefined, {}, found, depth)
    case '$unionWith':
      return addOther(isRecord(body) ? body.coll : body, body, found, depth)
    case '$facet':
      return addEach(body, found, depth)
    case '$rankFusion':
    case '$scoreFusion': {
      const input = isRecord(body) ? body.input : undefined
      return addEach(isRecord(input) ? input.pipelines : undefined, found, depth)
    }
    default:
      return `\`${name}\` does more than read the collection`
  }
}

/** A stage that reads another collection, through a pipeline of its own if it has one. */
function addOther(name: unknown, body: unknown, found: Set<string>, depth: number): string | null {
  // An object names another database, which the catalog could not tell from this one.
  if (typeof name !== 'string') return 'the other collection must be named by a string'
  found.add(name)
  const own = pipelineOf(body)
  return addPipeline(own, found, depth + 1)
}

function addEach(body: unknown, found: Set<string>, depth: number): string | null {
  if (!isRecord(body)) return 'pipelines must be named'
  for (const pipeline of Object.values(body)) {
    const fault = addPipeline(pipeline, found, depth + 1)
    if (fault !== null) return fault
  }
  return null
}

function forbiddenKey(value: unknown, depth: number): string | null {
  if (typeof value !== 'object' || value === null) return null
  if (depth > DEPTH_MAX) return 'depth'
  for (const [key, item] of Object.entries(value)) {
    if (!Array.isArray(value) && FORBIDDEN_KEYS.has(key)) return key
    const inner = forbiddenKey(item, depth + 1)
    if (inner !== null) return inner
  }
  return null
}

/** A search index sends what it indexes to another service; one that reads synonyms, elsewhere. */
export function isClassicIndex(value: unknown): boolean {
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  return list.length > 0 && list.every((item) => isRecord(item) && item.type === 'classic')
}
