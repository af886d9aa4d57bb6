// Runs in the thread that resolves modules: `heddle` in a researcher's file is this package, wherever the file lies, and
// a TypeScript file is a module, whatever package.json stands above it. Knows nothing of recipes.

import { existsSync } from 'node:fs'

const shipped = new Map([
  ['heddle', new URL('../dsl/index.ts', import.meta.url).href],
  ['heddle/models', new URL('../models/index.ts', import.meta.url).href],
])
const isFile = /^(?:\.{1,2}\/|\/|file:)/
const isTypeScript = /\.m?ts$/

export async function resolve(specifier, context, nextResolve) {
  const own = isFile.test(specifier) && isTypeScript.test(specifier) ? fileOf(specifier, context.parentURL) : undefined
  // Without a package.json that says "module", a .ts file would be CommonJS, whose imports do not come through here.
  if (own !== undefined) return { url: own, format: 'module', shortCircuit: true }
  return nextResolve(shipped.get(specifier) ?? specifier, context)
}

function fileOf(specifier, parent) {
  const url = URL.canParse(specifier, parent) ? new URL(specifier, parent) : undefined
  return url?.protocol === 'file:' && existsSync(url) ? url.href : undefined
}
