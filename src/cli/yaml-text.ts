import { Document, isScalar, isSeq, visit } from 'yaml'

/**
 * YAML as a person writes it: lists of plain values on one line, everything else in blocks.
 * No anchors: a lease may have none.
 */
export function yamlText(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false })
  visit(document, {
    Seq: (_, list) => {
      if (list.items.every((item) => isScalar(item))) list.flow = true
    },
    Map: (_, map, path) => {
      // Small maps inside of lists: `- {path: ., repo: clord}`.
      if (isSeq(path.at(-1)) && map.items.every(({ value: each }) => isScalar(each)))
        map.flow = true
    },
  })
  return document.toString({ lineWidth: 96, flowCollectionPadding: false })
}
