// Runs in the thread that resolves modules: `heddle` in a researcher's file is this package, wherever the file lies, and
// a TypeScript file is a module, whatever package.json stands above it. Knows nothing of recipes.

const shipped = new Map([
  ['heddle', new URL('../dsl/index.ts', import.meta.url).href],
  ['heddle/models', new URL('../models/index.ts', import.meta.url).href],
])

export async function resolve(specifier, context, nextResolve) {
  const found = await nextResolve(shipped.get(specifier) ?? specifier, context)
  // Without a package.json that says "module", a .ts file would be CommonJS, whose imports do not come through here.
  const path = found.url.replace(/[?#].*$/, '')
  return found.format === 'commonjs' && path.endsWith('.ts') ? { ...found, format: 'module' } : found
}
