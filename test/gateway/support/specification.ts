/**
 * Requests that clients may send, by the schemas of the revisions; kept apart from what we built.
 */
export const METHODS_OF_SPECIFICATION: Readonly<Record<string, readonly ('legacy' | 'modern')[]>> =
  {
    initialize: ['legacy'],
    ping: ['legacy'],
    'logging/setLevel': ['legacy'],
    'resources/subscribe': ['legacy'],
    'resources/unsubscribe': ['legacy'],
    'tasks/result': ['legacy'],
    'tasks/list': ['legacy'],
    'server/discover': ['modern'],
    'subscriptions/listen': ['modern'],
    'tasks/update': ['modern'],
    'completion/complete': ['legacy', 'modern'],
    'prompts/get': ['legacy', 'modern'],
    'prompts/list': ['legacy', 'modern'],
    'resources/list': ['legacy', 'modern'],
    'resources/templates/list': ['legacy', 'modern'],
    'resources/read': ['legacy', 'modern'],
    'tools/call': ['legacy', 'modern'],
    'tools/list': ['legacy', 'modern'],
    'tasks/get': ['legacy', 'modern'],
    'tasks/cancel': ['legacy', 'modern'],
  }
