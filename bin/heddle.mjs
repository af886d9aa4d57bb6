#!/usr/bin/env node
// Starts the command line: the sources are TypeScript, which tsx reads. Written for any Node, so that an old one is told.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 20)) {
  process.stderr.write(`heddle needs Node 20.20 or later; this is ${process.versions.node}\n`)
  process.exit(1)
}
const { register } = await import('tsx/esm/api')
register()
const { main } = await import('./heddle.ts')
const { outliveReaders, reportError } = await import('./output.ts')
outliveReaders()
// What a recipe leaves running may fail after its file has been evaluated.
process.on('uncaughtException', (error) => process.exit(reportError(error, process.argv.includes('--json'))))
process.exitCode = await main(process.argv.slice(2))
