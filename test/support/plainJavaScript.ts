// A module of ours and all it imports as JavaScript in another folder, for tests that start hundreds of processes: Node
// reads it without a loader, whose start takes seconds of every process. Only for tests.

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../../', import.meta.url))

const options: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2023,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
}

/**
 * Writes `entry` (a path in the repository) and the modules of ours that it reaches to `folder`, and links what they read
 * beside them: `assets`, files or folders by their paths in the repository. Returns the path of the script.
 */
export function writePlainJavaScript(folder: string, entry: string, assets: readonly string[]): string {
  const waiting = [path.normalize(entry)]
  const seen = new Set(waiting)
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const text = fs.readFileSync(path.join(root, file), 'utf8')
    const isTypeScript = file.endsWith('.ts')
    write(
      path.join(folder, scriptOf(file)),
      isTypeScript ? ts.transpileModule(text, { compilerOptions: options }).outputText : text,
    )
    for (const { fileName } of ts.preProcessFile(text, true, true).importedFiles) {
      if (!fileName.startsWith('.')) continue
      const imported = path.join(path.dirname(file), fileName)
      if (!seen.has(imported)) waiting.push(imported)
      seen.add(imported)
    }
  }
  for (const asset of ['package.json', 'node_modules', ...assets]) {
    fs.mkdirSync(path.dirname(path.join(folder, asset)), { recursive: true })
    fs.symlinkSync(path.join(root, asset), path.join(folder, asset))
  }
  return path.join(folder, scriptOf(path.normalize(entry)))
}

function scriptOf(file: string): string {
  return file.replace(/\.ts$/, '.js')
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}
