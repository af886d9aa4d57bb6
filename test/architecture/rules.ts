// Who may import whom: the one table behind `layers.test.ts`. A line names a folder (or file) and what it may reach
// besides itself; what is not allowed is forbidden.

export interface Layer {
  /** A folder ends in `/`. The longest path that fits a file decides. */
  readonly path: string
  readonly mayImport: readonly string[]
  /** Modules of Node: the compiler's inside is pure, so that it runs in a browser's worker too. */
  readonly usesNode: boolean
}

const diagnostic = 'compiler/diagnostic.ts'
const graph = 'compiler/graph/'
const kernel = 'compiler/kernel/'
const schedule = 'compiler/schedule/'
const plan = 'compiler/plan/'
/** What a backend may know of the graph: what a value is, never what computes it. */
const graphTypes = ['compiler/graph/axis.ts', 'compiler/graph/node.ts']
const profiles = ['compiler/schedule/profile.ts', 'compiler/schedule/gpuProfile.ts', 'compiler/plan/rates.ts']
const all = ['compiler/', 'dsl/', 'models/', 'formats/', 'data/', 'devices/', 'backends/']

export const layers: readonly Layer[] = [
  { path: diagnostic, mayImport: [], usesNode: false },
  { path: graph, mayImport: [diagnostic], usesNode: false },
  // It reads a researcher's files; the language they are written in is the only thing it knows.
  { path: 'compiler/frontend/', mayImport: [diagnostic], usesNode: true },
  { path: 'compiler/transform/', mayImport: [diagnostic, graph], usesNode: false },
  { path: kernel, mayImport: [diagnostic, graph], usesNode: false },
  { path: schedule, mayImport: [diagnostic, graph, kernel], usesNode: false },
  { path: plan, mayImport: [diagnostic, graph, kernel, schedule], usesNode: false },
  { path: 'compiler/pipeline.ts', mayImport: ['compiler/'], usesNode: false },
  { path: 'compiler/leastStep.ts', mayImport: ['compiler/'], usesNode: false },
  { path: 'dsl/', mayImport: [diagnostic, graph], usesNode: true },
  { path: 'models/', mayImport: [diagnostic, 'dsl/'], usesNode: false },
  { path: 'formats/', mayImport: [diagnostic], usesNode: true },
  { path: 'data/', mayImport: [diagnostic], usesNode: true },
  // Its tool chains keep what they compiled; how directories come to be is formats' business.
  {
    path: 'backends/neon/',
    mayImport: [diagnostic, ...graphTypes, kernel, plan, 'formats/directories.ts'],
    usesNode: true,
  },
  // It turns a file into a table and C++; how files are read is formats' business.
  {
    path: 'backends/tokenizer/',
    mayImport: [diagnostic, 'formats/files.ts', 'formats/json.ts'],
    usesNode: true,
  },
  // A shader's limits are the numbers that its schedule was made for.
  {
    path: 'backends/wgsl/',
    mayImport: [diagnostic, ...graphTypes, kernel, plan, 'compiler/schedule/gpuProfile.ts'],
    usesNode: false,
  },
  {
    path: 'devices/',
    mayImport: [diagnostic, ...profiles, 'backends/neon/isa/', 'formats/files.ts', 'formats/json.ts'],
    usesNode: true,
  },
  { path: 'train/', mayImport: all, usesNode: true },
  { path: 'evaluate/', mayImport: [...all, 'train/'], usesNode: true },
  { path: 'generate/', mayImport: [...all, 'train/'], usesNode: true },
  // An application is a user of the whole, but not of the command line that starts it.
  { path: 'apps/', mayImport: [...all, 'train/'], usesNode: true },
  { path: 'bin/', mayImport: [...all, 'train/', 'evaluate/', 'generate/', 'apps/'], usesNode: true },
  {
    path: 'bench/',
    mayImport: [...all, 'train/', 'evaluate/', 'generate/', 'bin/', 'apps/', 'test/support/', 'test/tokenizer/'],
    usesNode: true,
  },
  {
    path: 'tools/',
    mayImport: [...all, 'train/', 'evaluate/', 'generate/', 'bin/', 'apps/', 'bench/', 'test/'],
    usesNode: true,
  },
  {
    path: 'test/',
    mayImport: [...all, 'train/', 'evaluate/', 'generate/', 'bin/', 'apps/', 'bench/', 'tools/'],
    usesNode: true,
  },
]

/** The layer a file belongs to. */
export function layerOf(path: string): Layer | undefined {
  const fitting = layers.filter(
    (layer) => path === layer.path || (layer.path.endsWith('/') && path.startsWith(layer.path)),
  )
  return fitting.sort((a, b) => b.path.length - a.path.length)[0]
}

/** Whether a file may import another one of the repository. */
export function mayImport(path: string, target: string): boolean {
  const layer = layerOf(path)
  if (!layer) return false
  return [layer.path, ...layer.mayImport].some((allowed) =>
    allowed.endsWith('/') ? target.startsWith(allowed) : target === allowed,
  )
}
