// A process that trains a prepared run, from where the one before it came to, and is killed by its own hand: before the
// file operation whose number it is given, or by whoever started it. Only for the test of kills.

import fs from 'node:fs'
import { deserialize } from 'node:v8'
import { trainPrepared } from './preparedRun.ts'
import type { PreparedRun } from './preparedRun.ts'
import { tracedFiles } from './tracedFiles.ts'

const [prepared = '', out = '', at = ''] = process.argv.slice(2)

const { operations } = tracedFiles(at === '' ? Infinity : Number(at), () => process.kill(process.pid, 'SIGKILL'))
const run = deserialize(fs.readFileSync(prepared)) as PreparedRun
process.stdout.write('ready\n')
const observer = { stateSaved: (step: number) => void process.stdout.write(`saved ${step}\n`) }
await trainPrepared(run, out, { resume: true, threads: 1, files: operations, observer })
