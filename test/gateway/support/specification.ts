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

/** Notifications that clients may send, likewise. */
export const NOTIFICATIONS_OF_CLIENTS: Readonly<Record<string, readonly ('legacy' | 'modern')[]>> =
  {
    'notifications/initialized': ['legacy'],
    'notifications/cancelled': ['legacy', 'modern'],
    'notifications/progress': ['legacy'],
    'notifications/roots/list_changed': ['legacy'],
    'notifications/tasks/status': ['legacy'],
  }

/** What servers may send. */
export const METHODS_OF_SERVERS = [
  ...['ping', 'sampling/createMessage', 'elicitation/create', 'roots/list'],
  ...['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel'],
]
export const NOTIFICATIONS_OF_SERVERS = [
  'notifications/cancelled',
  'notifications/elicitation/complete',
  'notifications/message',
  'notifications/progress',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
  'notifications/subscriptions/acknowledged',
  'notifications/tasks/status',
  'notifications/tools/list_changed',
]
