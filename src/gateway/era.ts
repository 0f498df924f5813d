/** Revisions of MCP by how they are spoken: `modern` from 2026-07-28 on, `legacy` before. */
export type Era = 'modern' | 'legacy'
